// Panel: success rate, steps and first actions.

import { formatQuantity, formatCount, formatInterval, formatMean, formatPercent, chooseRateDigits, unitOf } from "./format.js";
import { el, setText, setVisible } from "./dom.js";
import { Figure, createFigures } from "./figures.js";
import { RateChart } from "./charts.js";

export class PerformancePanel {
  constructor(section) {
    this.rate = new Figure("Success rate", { main: true });
    this.all = new Figure("All finished");
    this.steps = new Figure("Steps");
    this.first = new Figure("First action");
    this.unit = "task";
    this.chart = new RateChart((point) => `${formatPercent(point.y)} after ${formatQuantity(point.x, this.unit)}`);
    this.score = el("p", { class: "hint", hidden: true });
    section.append(createFigures(this.rate, this.all, this.steps, this.first), this.score, this.chart.node);
  }

  reset() {}

  update(frame) {
    const metrics = frame.metrics;
    const unit = (this.unit = unitOf(frame.current_job));
    const { success_rate: rate, success_rate_low: low, success_rate_high: high, success_rate_all: all } = metrics;
    const measured = metrics.measured_tasks;
    const expected = metrics.provisional ? (metrics.success_rate_estimate ?? rate) : rate;
    const known = expected !== null;
    const range = low === null || high === null ? "" : `${formatInterval(low, high)}, `;
    this.rate.set(known ? formatPercent(expected, chooseRateDigits(low, high)) : null, {
      reason: metrics.success_rate_reason ?? "no task has been measured yet",
      note: known ? `${range}n = ${formatCount(measured)}` : "nothing measured yet",
      title: known ? `successes of the ${formatQuantity(measured, unit)} that were measured, with the 95 % Wilson interval` : null,
    });
    this.all.set(all === null ? null : formatPercent(all), {
      reason: "no task has finished yet",
      note: "incl. errors",
      title: `successes of all finished ${unit}s, including infrastructure and evaluation errors and interrupted ones`,
    });
    const { mean_score: score, score_low: from, score_high: to, scorer } = metrics;
    setVisible(this.score, score !== null);
    if (score !== null) {
      const between = from === null || to === null ? "" : ` (${formatScore(from)} to ${formatScore(to)})`;
      setText(this.score, `Mean score ${formatScore(score)}${between}${scorer === null ? "" : `, that of ${scorer}`}`);
    }
    const episode = metrics.episode_success_metrics;
    const sides = [
      episode.avg_steps_to_success === null ? null : `✓ ${formatMean(episode.avg_steps_to_success)}`,
      episode.avg_steps_to_failure === null ? null : `✗ ${formatMean(episode.avg_steps_to_failure)}`,
    ].filter(Boolean);
    this.steps.set(metrics.avg_steps === null ? null : formatMean(metrics.avg_steps), {
      reason: "no task has been measured yet",
      note: sides.join(" "),
      title: sides.length > 0 ? "steps per measured task; ✓ of successes, ✗ of the others" : null,
    });
    const first = episode.first_action_accuracy;
    this.first.set(first === null ? null : formatPercent(first), {
      reason: "the runner does not report whether first actions were correct",
      note: first === null ? "not reported" : "correct",
      title: "share of correct first actions among those that the runner judged",
    });
    const points = metrics.success_rate_over_time.map((point) => ({ x: point.task_idx + 1, y: point.success_rate }));
    const end = points.at(-1);
    this.chart.update(points, low, high, {
      label: end ? `Success rate during the run: ${formatPercent(points[0].y)} at first, ${formatPercent(end.y)} after ${formatQuantity(end.x, unit)}` : "Success rate during the run",
      first: `success rate after each ${unit}`,
      last: end ? formatQuantity(end.x, unit) : "",
      empty: "The curve begins with the first measured task.",
    });
  }

  tick() {}
}

/** A score with three digits that count, on whatever scale it is. */
const formatScore = (score) => String(+score.toPrecision(3)).replace("-", "−");
