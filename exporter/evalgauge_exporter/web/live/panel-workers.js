// Panel: who does what.

import { Fact, Rows, attribute, el, text } from "./dom.js";
import { ago, count, duration, exact, percent } from "./format.js";
import { Segments } from "./charts.js";
import { WORKER_STATES, State, legendEntry, meaning } from "./marks.js";
import { Table } from "./tables.js";
import { replayOf } from "./links.js";

const ROWS = 5;
const byName = new Intl.Collator("en", { numeric: true });

export class WorkersPanel {
  constructor(section) {
    this.frame = null;
    this.hint = el("span", { class: "hint" });
    section.querySelector("header").append(this.hint);
    this.bar = new Segments(WORKER_STATES, { "aria-hidden": "true" });
    const legend = el("ul", { class: "legend", "aria-label": "Workers by state" });
    this.legend = new Rows(legend, legendEntry);
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
      row: (id) => this.row(id),
    });
    this.empty = el("p", { class: "say" });
    section.append(this.bar.node, legend, this.empty, this.table.node);
  }

  forget() {
    this.table.forget();
  }

  update(frame, clock) {
    this.frame = frame;
    this.now = clock.now();
    const workers = [...frame.workers.workers];
    const numbers = Object.fromEntries(WORKER_STATES.map((state) => [state, 0]));
    for (const worker of workers) numbers[worker.status] = (numbers[worker.status] ?? 0) + 1;
    this.bar.update(numbers);
    this.legend.update(
      WORKER_STATES.map((state) => ({ state, shown: count(numbers[state]), none: numbers[state] === 0 })),
      (entry) => entry.state,
    );
    // those that are lost first; else by name, so that rows stay where they are while states change
    workers.sort((a, b) => (b.status === "lost") - (a.status === "lost") || byName.compare(a.worker_id, b.worker_id));
    const total = frame.workers.total_workers;
    text(this.hint, total > 0 ? count(total) : "");
    const none = frame.current_job.status === "running" ? "No worker has been heard of yet." : "The run's log names no workers.";
    text(this.empty, total > 0 ? "" : none);
    this.table.update(workers, (worker) => worker.worker_id, Math.max(total, workers.length));
  }

  tick() {}

  row(id) {
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
        const heard = worker.last_seen ? `last heard ${ago(worker.last_seen, this.now)}` : "";
        state.set(worker.status);
        text(task, current ?? "");
        attribute(task, "href", current === null ? null : replayOf(this.frame, { task: current }));
        attribute(task, "title", current);
        text(word, current !== null ? "" : worker.status === "lost" && heard ? heard : meaning(worker.status).word);
        attribute(word, "title", worker.last_seen ? `${heard}, ${exact(worker.last_seen)}` : null);
        text(done, count(worker.tasks_completed));
        const known = worker.uptime_seconds > 0 && worker.idle_time_seconds !== null;
        idle.set(
          worker.idle_time_seconds === null ? null : duration(worker.idle_time_seconds),
          "not known",
          known ? `${percent(worker.idle_time_seconds / worker.uptime_seconds)} of ${duration(worker.uptime_seconds)}` : null,
        );
      },
    };
  }
}
