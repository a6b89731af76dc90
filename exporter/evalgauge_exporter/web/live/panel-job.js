// Panel: how far the run is, how long it still takes, what is being worked on.

import { Fact, Rows, attribute, el, shown, text } from "./dom.js";
import { ago, clock as clockTime, count, duration, estimate, estimateRange, exact, percent } from "./format.js";
import { Figure, figures } from "./figures.js";
import { Segments } from "./charts.js";
import { TASK_STATUSES, State, legendEntry } from "./marks.js";
import { Table } from "./tables.js";
import { replayOf } from "./links.js";
import { Result } from "./result.js";

const ROWS = 6;

export class JobPanel {
  constructor(section) {
    this.frame = null;
    this.state = new State("pill");
    this.model = el("span", { class: "model" });
    this.benchmark = el("span", { class: "subject" });
    this.runId = el("code", { class: "run-id" });
    const about = el("span", { class: "about" }, this.model, this.benchmark);
    section.querySelector("header").append(this.state.node, about, this.runId);

    this.tasks = new Figure("Tasks ended", { main: true });
    this.left = new Figure("Time left", { main: true });
    this.elapsed = new Figure("Elapsed");
    this.each = new Figure("Per task");
    this.say = el("p", { class: "say" });

    this.bar = new Segments(TASK_STATUSES, { class: "segments progress", role: "progressbar", "aria-valuemin": 0, "aria-labelledby": "job-title" });
    const legend = el("ul", { class: "legend", "aria-label": "Tasks by status" });
    this.legend = new Rows(legend, legendEntry);
    this.table = new Table({
      name: "current",
      caption: "Tasks that run now",
      columns: [
        { name: "task", label: "Running now" },
        { name: "instruction", label: "Instruction" },
        { name: "worker", label: "Worker" },
        { name: "step", label: "Step", numeric: true },
        { name: "time", label: "For", numeric: true },
      ],
      limit: ROWS,
      row: () => this.row(),
    });
    this.result = new Result();
    section.append(
      figures(this.tasks, this.left, this.elapsed, this.each),
      this.bar.node,
      legend,
      this.say,
      this.table.node,
      this.result.node,
    );
  }

  forget() {
    this.table.forget();
  }

  update(frame, clock) {
    this.frame = frame;
    const job = frame.current_job;
    this.state.set(job.status);
    text(this.model, job.model_id);
    text(this.benchmark, `on ${job.benchmark}${job.agent ? ` with ${job.agent}` : ""}`);
    text(this.runId, job.run_id);
    attribute(this.runId, "title", `run id ${job.run_id}, read as ${job.source}`);

    const { total_tasks: total, completed_tasks: ended } = job;
    this.tasks.set(count(ended), {
      beside: total > 0 ? `of ${count(total)}` : "",
      note: total > 0 ? percent(ended / total) : "how many there are is not known",
    });
    this.each.set(job.avg_task_seconds === null ? null : duration(job.avg_task_seconds), {
      reason: "no task has ended yet",
      note: "on average",
    });
    this.bar.update(job.statuses);
    attribute(this.bar.node, "aria-valuemax", total);
    attribute(this.bar.node, "aria-valuenow", ended);
    attribute(this.bar.node, "aria-valuetext", `${count(ended)} of ${count(total)} tasks ended`);
    this.legend.update(
      TASK_STATUSES.map((status) => ({ status, shown: count(job.statuses[status] ?? 0), none: !job.statuses[status] })),
      (entry) => entry.status,
    );
    const running = job.statuses.running ?? job.current_tasks.length;
    text(this.table.heads.task, `Running now: ${count(running)}`);
    shown(this.table.node, job.status === "running");
    shown(this.result.node, job.status !== "running");
    if (job.status !== "running") this.result.update(frame);
    this.table.update(job.current_tasks, (task) => `${task.task_id} ${task.attempt}`, Math.max(running, job.current_tasks.length));
    this.tick(clock);
  }

  /** What changes with time alone. */
  tick(clock) {
    if (this.frame === null) return;
    const job = this.frame.current_job;
    const now = clock.now();
    const going = job.status === "running";
    const passed = going ? clock.sinceFrame() : 0;
    this.elapsed.set(job.elapsed_seconds === null ? null : duration(job.elapsed_seconds + passed), {
      label: going ? "Elapsed" : "Took",
      reason: "when it started is not known",
      note: job.started_at === null ? "" : `since ${clockTime(job.started_at, now)}`,
      title: job.started_at === null ? null : `started ${exact(job.started_at)}`,
    });
    if (going) this.showTimeLeft(job, passed, now);
    else this.showEnd(job, now);
    const sentence = sentenceFor(job, now);
    text(this.say, sentence.text);
    attribute(this.say, "class", sentence.tone ? `say tone-${sentence.tone}` : "say");
    for (const row of this.table.rows.rows.values()) row.tick?.(passed);
  }

  showTimeLeft(job, passed, now) {
    const bounds = job.eta;
    if (bounds === null) {
      this.left.set(null, { label: "Time left", reason: job.eta_reason ?? "no estimate yet", note: job.eta_reason ?? "no estimate yet" });
      return;
    }
    const [low, middle, high] = [bounds.p10, bounds.p50, bounds.p90].map((seconds) => Math.max(0, seconds - passed));
    const [left, range] = [estimate(middle), estimateRange(low, high)];
    this.left.set(left, {
      label: "Time left",
      beside: range === left ? "" : `(${range})`, // `2 min (2 min)` would say nothing
      note: `ends about ${clockTime(now + middle, now)}`,
      title: `8 of 10 times between ${range}; ${exact(now + middle)}`,
    });
  }

  showEnd(job, now) {
    const at = job.ended_at ?? job.last_progress_at;
    this.left.set(at === null ? null : ago(at, now), {
      label: job.ended_at === null ? "Last sign of life" : "Ended",
      reason: "when it ended is not known",
      note: at === null ? "" : `at ${clockTime(at, now)}`,
      title: at === null ? null : exact(at),
    });
  }

  row() {
    const task = el("a");
    const instruction = el("span", { class: "clip", dir: "auto" });
    const worker = new Fact();
    const step = new Fact();
    const time = new Fact();
    let current = null;
    const tick = (passed) => {
      const seconds = current.elapsed_seconds;
      time.set(seconds === null ? null : duration(seconds + passed), "when it started is not known");
    };
    const row = {
      cells: [task, instruction, worker.node, step.node, time.node],
      update: (item) => {
        current = item;
        text(task, item.attempt > 1 ? `${item.task_id} #${item.attempt}` : item.task_id);
        attribute(task, "href", replayOf(this.frame, { task: item.task_id }));
        attribute(task, "title", [item.task_id, item.domain].filter(Boolean).join(", "));
        text(instruction, item.instruction ?? "");
        attribute(instruction, "title", item.instruction);
        worker.set(item.worker_id, "the log names no worker", item.worker_id);
        const most = item.total_steps_estimate;
        step.set(item.step === null ? null : most && most >= item.step ? `${count(item.step)} of ${count(most)}` : count(item.step), "no step yet");
        tick(0);
      },
      tick,
    };
    return row;
  }
}

function sentenceFor(job, now) {
  const { statuses } = job;
  const left = (statuses.pending ?? 0) + (statuses.running ?? 0);
  const unmeasured = (statuses.infrastructure_error ?? 0) + (statuses.evaluation_error ?? 0);
  if (job.status === "stalled") {
    const silent = job.last_progress_at === null ? "" : ` for ${duration(now - job.last_progress_at)}`;
    return { text: `Stalled: nothing was heard${silent}. Open tasks count as interrupted until the runner writes again.`, tone: "failure" };
  }
  if (job.status === "aborted") {
    return { text: `Aborted with ${count(left)} of ${count(job.total_tasks)} tasks not done.`, tone: "interrupted" };
  }
  if (job.completed_tasks >= 10 && unmeasured / job.completed_tasks > 0.2) {
    return {
      text: `${percent(unmeasured / job.completed_tasks)} of what ended measured nothing: infrastructure or evaluation errors.`,
      tone: "infrastructure-error",
    };
  }
  if (job.status === "completed" && left > 0) return { text: `Completed with ${count(left)} tasks not done.`, tone: "interrupted" };
  return { text: "", tone: null };
}
