// Panel: who does what.

import { Fact, Rows, attribute, el, text } from "./dom.js";
import { ago, count, duration, exact } from "./format.js";
import { Segments } from "./charts.js";
import { State, WORKER_STATES, chip, meaning } from "./marks.js";
import { Table } from "./tables.js";
import { replayOf } from "./links.js";

const ROWS = 6;
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
        { name: "doing", label: "State" },
        { name: "task", label: "Task" },
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
      WORKER_STATES.map((state) => ({ state, number: numbers[state] })),
      (entry) => entry.state,
    );
    // those that are lost first; else by name, so that rows stay where they are while states change
    workers.sort((a, b) => (b.status === "lost") - (a.status === "lost") || byName.compare(a.worker_id, b.worker_id));
    const total = frame.workers.total_workers;
    text(this.hint, total > 0 ? count(total) : "");
    text(this.empty, total > 0 ? "" : "The run's log names no workers.");
    this.table.update(workers, (worker) => worker.worker_id, Math.max(total, workers.length));
  }

  tick() {}

  row(id) {
    const state = new State();
    const task = el("a", { class: "clip" });
    const none = new Fact();
    const done = el("span");
    const idle = new Fact();
    return {
      cells: [el("span", { class: "clip", title: id }, id), state.node, el("span", { class: "clip" }, task, none.node), done, idle.node],
      update: (worker) => {
        state.set(worker.status);
        attribute(state.node, "title", worker.last_seen ? `last heard ${ago(worker.last_seen, this.now)}, ${exact(worker.last_seen)}` : null);
        const current = worker.current_task;
        text(task, current ?? "");
        attribute(task, "href", current === null ? null : replayOf(this.frame, { task: current }));
        attribute(task, "title", current);
        if (current === null) none.set(null, "no task");
        none.node.hidden = current !== null;
        text(done, count(worker.tasks_completed));
        const share = worker.uptime_seconds > 0 && worker.idle_time_seconds !== null ? worker.idle_time_seconds / worker.uptime_seconds : null;
        idle.set(
          worker.idle_time_seconds === null ? null : duration(worker.idle_time_seconds),
          "not known",
          share === null ? null : `${Math.round(share * 100)} % of ${duration(worker.uptime_seconds)}`,
        );
      },
    };
  }
}

function legendEntry(state) {
  const number = el("b");
  const node = el("li", {}, chip(state), number, el("span", {}, meaning(state).word));
  return {
    node,
    update: ({ number: shown }) => {
      text(number, count(shown));
      node.classList.toggle("none", shown === 0);
    },
  };
}
