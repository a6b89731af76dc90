// Panel: progress of the run, time left, running tasks.

import { Fact, Rows, setAttribute, el, setVisible, setText } from "./dom.js";
import { formatAgo, formatClock, formatCount, formatDuration, formatEstimate, formatEstimateRange, formatExact, formatPercent, formatQuantity, unitOf } from "./format.js";
import { Figure, createFigures } from "./figures.js";
import { Segments } from "./charts.js";
import { TASK_STATUSES, State, createLegendEntry } from "./marks.js";
import { Table } from "./tables.js";
import { replayUrl } from "./links.js";
import { splitId } from "./panel-runs.js";
import { Result } from "./result.js";

const ROWS = 6;

export class JobPanel {
  constructor(section) {
    this.frame = null;
    this.title = section.querySelector("h2");
    this.state = new State("pill");
    this.model = el("span", { class: "model" });
    this.benchmark = el("span", { class: "subject" });
    this.runId = el("code", { class: "run-id" }, el("span", { class: "clip" }), el("span"));
    const about = el("span", { class: "about" }, this.model, this.benchmark);
    section.querySelector("header").append(this.state.node, about, this.runId);

    this.tasks = new Figure("Tasks finished", { main: true });
    this.left = new Figure("Time left", { main: true });
    this.elapsed = new Figure("Elapsed");
    this.each = new Figure("Per task");
    this.say = el("p", { class: "say" });

    this.bar = new Segments(TASK_STATUSES, { class: "segments progress", role: "progressbar", "aria-valuemin": 0, "aria-labelledby": "job-title" });
    const legend = el("ul", { class: "legend", "aria-label": "Tasks by status" });
    this.legend = new Rows(legend, createLegendEntry);
    this.table = new Table({
      name: "current",
      caption: "Running tasks",
      columns: [
        { name: "task", label: "Running now" },
        { name: "instruction", label: "Instruction" },
        { name: "worker", label: "Worker" },
        { name: "step", label: "Step", numeric: true },
        { name: "time", label: "For", numeric: true },
      ],
      limit: ROWS,
      row: () => this.createRow(),
    });
    this.result = new Result();
    section.append(
      createFigures(this.tasks, this.left, this.elapsed, this.each),
      this.bar.node,
      legend,
      this.say,
      this.table.node,
      this.result.node,
    );
  }

  reset() {
    this.table.reset();
  }

  update(frame, clock) {
    this.frame = frame;
    const job = frame.current_job;
    this.state.set(job.status);
    setText(this.title, job.status === "running" ? "Current job" : "Run");
    setText(this.model, job.model_id);
    setText(this.benchmark, `on ${job.benchmark}${job.agent ? ` with ${job.agent}` : ""}`);
    splitId(job.run_id).forEach((part, index) => setText(this.runId.children[index], part));
    setAttribute(this.runId, "title", `run id ${job.run_id}, read as ${job.source}`);

    const { total_tasks: total, completed_tasks: finished } = job;
    const unit = unitOf(job);
    this.tasks.set(formatCount(finished), {
      label: unit === "task" ? "Tasks finished" : "Attempts finished",
      beside: total > 0 ? `of ${formatCount(total)}` : "",
      note: total > 0 ? formatPercent(finished / total) + (unit === "task" ? "" : `, ${job.attempts_planned} at each task`) : "the number of tasks is unknown",
    });
    this.each.set(job.avg_task_seconds === null ? null : formatDuration(job.avg_task_seconds), {
      reason: "no task has finished yet",
      note: "on average",
    });
    this.bar.update(job.statuses);
    setAttribute(this.bar.node, "aria-valuemax", total);
    setAttribute(this.bar.node, "aria-valuenow", finished);
    setAttribute(this.bar.node, "aria-valuetext", `${formatCount(finished)} of ${formatQuantity(total, unit)} finished`);
    this.legend.update(
      TASK_STATUSES.map((status) => ({ status, shown: formatCount(job.statuses[status] ?? 0), none: !job.statuses[status] })),
      (entry) => entry.status,
    );
    const running = job.statuses.running ?? job.current_tasks.length;
    setText(this.table.heads.task, `Running now: ${formatCount(running)}`);
    setVisible(this.table.node, job.status === "running");
    setVisible(this.result.node, job.status !== "running");
    if (job.status !== "running") this.result.update(frame);
    this.table.update(job.current_tasks, (task) => `${task.task_id} ${task.attempt}`, Math.max(running, job.current_tasks.length));
    this.tick(clock);
  }

  /** Update what changes with time alone. */
  tick(clock) {
    if (this.frame === null) return;
    const job = this.frame.current_job;
    const now = clock.now();
    const isRunning = job.status === "running";
    const passed = isRunning ? clock.sinceFrame() : 0;
    this.elapsed.set(job.elapsed_seconds === null ? null : formatDuration(job.elapsed_seconds + passed), {
      label: isRunning ? "Elapsed" : "Took",
      reason: "the start time is unknown",
      note: job.started_at === null ? "" : `since ${formatClock(job.started_at, now)}`,
      title: job.started_at === null ? null : `started ${formatExact(job.started_at)}`,
    });
    if (isRunning) this.showTimeLeft(job, passed, now);
    else this.showEnd(job, now);
    const sentence = describeState(job, now);
    setText(this.say, sentence.text);
    setAttribute(this.say, "class", sentence.tone ? `say tone-${sentence.tone}` : "say");
    for (const row of this.table.rows.rows.values()) row.tick?.(passed);
  }

  showTimeLeft(job, passed, now) {
    const bounds = job.eta;
    if (bounds === null) {
      this.left.set(null, { label: "Time left", reason: job.eta_reason ?? "no estimate yet", note: job.eta_reason ?? "no estimate yet" });
      return;
    }
    const [low, middle, high] = [bounds.p10, bounds.p50, bounds.p90].map((seconds) => Math.max(0, seconds - passed));
    const [left, range] = [formatEstimate(middle), formatEstimateRange(low, high)];
    this.left.set(left, {
      label: "Time left",
      beside: range === left ? "" : `(${range})`, // not `2 min (2 min)`
      note: `ends about ${formatClock(now + middle, now)}`,
      title: `8 of 10 times between ${range}; ${formatExact(now + middle)}`,
    });
  }

  showEnd(job, now) {
    const at = job.ended_at ?? job.last_progress_at;
    this.left.set(at === null ? null : formatAgo(at, now), {
      label: job.ended_at === null ? "Last event" : "Finished",
      reason: "the end time is unknown",
      note: at === null ? "" : `at ${formatClock(at, now)}`,
      title: at === null ? null : formatExact(at),
    });
  }

  createRow() {
    const task = el("a");
    const instruction = el("span", { class: "clip", dir: "auto" });
    const worker = new Fact();
    const step = new Fact();
    const time = new Fact();
    let current = null;
    const tick = (passed) => {
      const seconds = current.elapsed_seconds;
      time.set(seconds === null ? null : formatDuration(seconds + passed), "the start time is unknown");
    };
    const row = {
      cells: [task, instruction, worker.node, step.node, time.node],
      update: (item) => {
        current = item;
        setText(task, item.attempt > 1 ? `${item.task_id} #${item.attempt}` : item.task_id);
        setAttribute(task, "href", replayUrl(this.frame, { task: item.task_id }));
        setAttribute(task, "title", [item.task_id, item.domain].filter(Boolean).join(", "));
        setText(instruction, item.instruction ?? "");
        setAttribute(instruction, "title", item.instruction);
        worker.set(item.worker_id, "the log names no worker", item.worker_id);
        const most = item.total_steps_estimate;
        step.set(item.step === null ? null : most && most >= item.step ? `${formatCount(item.step)} of ${formatCount(most)}` : formatCount(item.step), "no step yet");
        tick(0);
      },
      tick,
    };
    return row;
  }
}

function describeState(job, now) {
  const { statuses } = job;
  const left = (statuses.pending ?? 0) + (statuses.running ?? 0);
  const unmeasured = (statuses.infrastructure_error ?? 0) + (statuses.evaluation_error ?? 0);
  if (job.unreadable) return { text: `The run can't be read at the moment: ${job.unreadable}. The numbers are older.`, tone: "infrastructure-error" };
  if (job.status === "stalled") {
    const silent = job.last_progress_at === null ? "" : ` for ${formatDuration(now - job.last_progress_at)}`;
    return { text: `Stalled: no event${silent}. Open ${unitOf(job)}s count as interrupted until the runner writes again.`, tone: "failure" };
  }
  if (job.status === "aborted") {
    return { text: `Aborted with ${formatCount(left)} of ${formatQuantity(job.total_tasks, unitOf(job))} not finished.`, tone: "interrupted" };
  }
  if (job.completed_tasks >= 10 && unmeasured / job.completed_tasks > 0.2) {
    return {
      text: `${formatPercent(unmeasured / job.completed_tasks)} of the finished ${unitOf(job)}s were not measured: infrastructure or evaluation errors.`,
      tone: "infrastructure-error",
    };
  }
  if (job.status === "completed" && left > 0) return { text: `Completed with ${formatQuantity(left, unitOf(job))} not finished.`, tone: "interrupted" };
  return { text: "", tone: null };
}
