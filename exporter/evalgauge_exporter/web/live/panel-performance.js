// Panel: how well it goes.

import { counted, count, interval, mean, percent, rateDigits } from "./format.js";
import { Figure, figures } from "./figures.js";
import { RateChart } from "./charts.js";

export class PerformancePanel {
  constructor(section) {
    this.rate = new Figure("Success rate", { main: true });
    this.all = new Figure("Of all ended");
    this.steps = new Figure("Steps");
    this.first = new Figure("First action");
    this.chart = new RateChart((point) => `${percent(point.y)} after ${counted(point.x, "task")}`);
    section.append(figures(this.rate, this.all, this.steps, this.first), this.chart.node);
  }

  forget() {}

  update(frame) {
    const metrics = frame.metrics;
    const { success_rate: rate, success_rate_low: low, success_rate_high: high, success_rate_all: all } = metrics;
    const measured = metrics.measured_tasks;
    const known = rate !== null;
    const range = low === null || high === null ? "" : `${interval(low, high)}, `;
    this.rate.set(known ? percent(rate, rateDigits(low, high)) : null, {
      reason: "no task was measured yet",
      note: known ? `${range}n = ${count(measured)}` : "nothing measured yet",
      title: known ? `successes of the ${counted(measured, "task")} that were measured, with the 95 % Wilson interval` : null,
    });
    this.all.set(all === null ? null : percent(all), {
      reason: "no task ended yet",
      note: "errors too",
      title: "successes of all tasks that ended, infrastructure and evaluation errors and interrupted ones too",
    });
    const episode = metrics.episode_success_metrics;
    const sides = [
      episode.avg_steps_to_success === null ? null : `✓ ${mean(episode.avg_steps_to_success)}`,
      episode.avg_steps_to_failure === null ? null : `✗ ${mean(episode.avg_steps_to_failure)}`,
    ].filter(Boolean);
    this.steps.set(metrics.avg_steps === null ? null : mean(metrics.avg_steps), {
      reason: "no task was measured yet",
      note: sides.join(" "),
      title: sides.length > 0 ? "steps per measured task; ✓ of successes, ✗ of the others" : null,
    });
    const first = episode.first_action_accuracy;
    this.first.set(first === null ? null : percent(first), {
      reason: "the runner does not say whether first actions were right",
      note: first === null ? "not reported" : "right",
      title: "first actions that were right, of those that the runner judged",
    });
    const points = metrics.success_rate_over_time.map((point) => ({ x: point.task_idx + 1, y: point.success_rate }));
    const end = points.at(-1);
    this.chart.update(points, low, high, {
      label: end ? `Success rate over the course of the run: ${percent(points[0].y)} at first, ${percent(end.y)} after ${counted(end.x, "task")}` : "Success rate over the course of the run",
      first: "success rate after each task",
      last: end ? counted(end.x, "task") : "",
      empty: "The curve begins with the first task that is measured.",
    });
  }

  tick() {}
}
