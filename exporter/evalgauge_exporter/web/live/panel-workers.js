// Panel: workers, their states and tasks.

import { Fact, Rows, setAttribute, el, setText } from "./dom.js";
import { formatAgo, formatCount, formatDuration, formatExact, formatPercent } from "./format.js";
import { Segments } from "./charts.js";
import { WORKER_STATES, State, createLegendEntry, describeStatus } from "./marks.js";
import { Table } from "./tables.js";
import { replayUrl } from "./links.js";

const ROWS = 5;
const byName = new Intl.Collator("en", { numeric: true });

export class WorkersPanel {
  constructor(section) {
    this.frame = null;
    this.hint = el("span", { class: "hint" });
    section.querySelector("header").append(this.hint);
    this.bar = new Segments(WORKER_STATES, { "aria-hidden": "true" });
    const legend = el("ul", { class: "legend", "aria-label": "Workers by state" });
    this.legend = new Rows(legend, createLegendEntry);
    this.table = new Table({
      name: "by-worker",
      caption: "Workers",
      columns: [
        { name: "worker", label: "Worker" },
        { name: "doing", label: "Doing" },
        { name: "done", label: "Done", numeric: true },
        { name: "idle", label: "Idle", numeric: true },
      ],
      limit: ROWS,
      row: (id) => this.createRow(id),
    });
    this.empty = el("p", { class: "say" });
    section.append(this.bar.node, legend, this.empty, this.table.node);
  }

  reset() {
    this.table.reset();
  }

  update(frame, clock) {
    this.frame = frame;
    this.now = clock.now();
    const workers = [...frame.workers.workers];
    const numbers = Object.fromEntries(WORKER_STATES.map((state) => [state, 0]));
    for (const worker of workers) numbers[worker.status] = (numbers[worker.status] ?? 0) + 1;
    this.bar.update(numbers);
    this.legend.update(
      WORKER_STATES.map((state) => ({ state, shown: formatCount(numbers[state]), none: numbers[state] === 0 })),
      (entry) => entry.state,
    );
    // lost ones first, else by name, so that rows do not move while states change
    workers.sort((a, b) => (b.status === "lost") - (a.status === "lost") || byName.compare(a.worker_id, b.worker_id));
    const total = frame.workers.total_workers;
    setText(this.hint, total > 0 ? formatCount(total) : "");
    const none = frame.current_job.status === "running" ? "No worker has reported yet." : "The log of the run names no workers.";
    setText(this.empty, total > 0 ? "" : none);
    this.table.update(workers, (worker) => worker.worker_id, Math.max(total, workers.length));
  }

  tick() {}

  createRow(id) {
    const state = new State("marked");
    const task = el("a", { class: "code" });
    const word = el("span", { class: "unknown" });
    const done = el("span");
    const idle = new Fact();
    state.word.className = "spoken";
    state.node.append(el("span", { class: "clip code", title: id }, id));
    return {
      cells: [state.node, el("span", { class: "clip" }, task, word), done, idle.node],
      update: (worker) => {
        const current = worker.current_task;
        const heard = worker.last_seen ? `last event ${formatAgo(worker.last_seen, this.now)}` : "";
        state.set(worker.status);
        setText(task, current ?? "");
        setAttribute(task, "href", current === null ? null : replayUrl(this.frame, { task: current }));
        setAttribute(task, "title", current);
        setText(word, current !== null ? "" : worker.status === "lost" && heard ? heard : describeStatus(worker.status).word);
        setAttribute(word, "title", worker.last_seen ? `${heard}, ${formatExact(worker.last_seen)}` : null);
        setText(done, formatCount(worker.tasks_completed));
        const known = worker.uptime_seconds > 0 && worker.idle_time_seconds !== null;
        idle.set(
          worker.idle_time_seconds === null ? null : formatDuration(worker.idle_time_seconds),
          "not known",
          known ? `${formatPercent(worker.idle_time_seconds / worker.uptime_seconds)} of ${formatDuration(worker.uptime_seconds)}` : null,
        );
      },
    };
  }
}
