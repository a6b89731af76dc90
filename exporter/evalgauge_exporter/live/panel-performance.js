// Panel: how well it goes.

import { counted, count, interval, mean, percent, rateDigits } from "./format.js";
import { Figure, figures } from "./figures.js";
import { RateChart } from "./charts.js";

export class PerformancePanel {
  constructor(section) {
    this.rate = new Figure("Success rate", { main: true });
    this.steps = new Figure("Steps per task");
    this.first = new Figure("First action right");
    this.chart = new RateChart((point) => `${percent(point.y)} after ${counted(point.x, "task")}`);
    section.append(figures(this.rate, this.steps, this.first), this.chart.node);
  }

  forget() {}

  update(frame) {
    const metrics = frame.metrics;
    const { success_rate: rate, success_rate_low: low, success_rate_high: high, success_rate_all: all } = metrics;
    const measured = metrics.measured_tasks;
    const known = rate !== null;
    this.rate.set(known ? percent(rate, rateDigits(low, high)) : null, {
      reason: "no task was measured yet",
      beside: known && low !== null && high !== null ? `(${interval(low, high)})` : "",
      note: known ? `of ${count(measured)} measured${all !== null ? `; ${percent(all)} of all ended` : ""}` : "no task was measured yet",
      title: known ? "successes of the tasks that were measured, with the 95 % Wilson interval" : null,
    });
    const episode = metrics.episode_success_metrics;
    const sides = [
      episode.avg_steps_to_success === null ? null : `✓ ${mean(episode.avg_steps_to_success)}`,
      episode.avg_steps_to_failure === null ? null : `✗ ${mean(episode.avg_steps_to_failure)}`,
    ].filter(Boolean);
    this.steps.set(metrics.avg_steps === null ? null : mean(metrics.avg_steps), {
      reason: "no task was measured yet",
      note: sides.join("  "),
      title: sides.length > 0 ? "✓ of successes, ✗ of failures" : null,
    });
    const first = episode.first_action_accuracy;
    this.first.set(first === null ? null : percent(first), {
      reason: "the runner does not say whether first actions were right",
      note: first === null ? "not reported" : "of those judged",
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
