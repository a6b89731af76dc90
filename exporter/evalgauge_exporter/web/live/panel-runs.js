// Panel: this run beside those before it, and whether a difference means something.

import { Fact, attribute, el, text } from "./dom.js";
import { ago, count, counted, duration, exact, mean, money, percent, pointInterval, points } from "./format.js";
import { State } from "./marks.js";
import { Table } from "./tables.js";
import { pageOf } from "./links.js";

const ROWS = 5;
/** Mark, words and tone of each verdict. */
export const VERDICTS = {
  better: ["▲", "better", "success"],
  worse: ["▼", "worse", "failure"],
  no_significant_difference: ["=", "no significant difference", ""],
  too_few_tasks: ["", "too few tasks to tell", ""],
};

export class RunsPanel {
  /** `choose(runId)` is called where a run is picked. */
  constructor(section, choose) {
    this.choose = choose;
    this.frame = null;
    this.clock = null;
    this.table = new Table({
      name: "by-run",
      caption: "Recent runs, the newest first",
      columns: [
        { name: "which", label: "Model" },
        { name: "benchmark", label: "Benchmark" },
        { name: "begun", label: "Started" },
        { name: "doing", label: "State" },
        { name: "tasks", label: "Tasks", numeric: true },
        { name: "rate", label: "Success", numeric: true },
        { name: "steps", label: "Steps", numeric: true },
        { name: "cost", label: "Cost", numeric: true },
        { name: "took", label: "Took", numeric: true },
        { name: "change", label: "Success against its baseline" },
      ],
      limit: ROWS,
      row: (id) => this.row(id),
    });
    section.append(this.table.node);
  }

  forget() {}

  update(frame, clock) {
    this.frame = frame;
    this.clock = clock;
    this.table.update(frame.runs, (run) => run.run_id, Math.max(frame.runs.length, frame.all_run_ids?.length ?? 0));
  }

  tick(clock) {
    for (const row of this.table.rows.rows.values()) row.tick?.(clock);
  }

  row(id) {
    const model = el("a", { class: "clip", href: pageOf(id) });
    model.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.choose(id);
    });
    const benchmark = el("span", { class: "clip" });
    const begun = new Fact();
    const state = new State();
    const tasks = el("span");
    const rate = new Fact();
    const steps = new Fact();
    const cost = new Fact();
    const took = new Fact();
    const change = changeCell();
    let current = null;
    const tick = (clock) => {
      const now = clock.now();
      const { created_at: created } = current;
      begun.set(created === null ? null : ago(created, now), "not known", created === null ? null : exact(created));
      const going = current.state === "running" ? clock.sinceFrame() : 0;
      took.set(current.elapsed_seconds === null ? null : duration(current.elapsed_seconds + going), "not known");
    };
    return {
      cells: [model, benchmark, begun.node, state.node, tasks, rate.node, steps.node, cost.node, took.node, change.node],
      update: (run, node) => {
        current = run;
        attribute(node, "aria-current", run.run_id === this.frame.run_id ? "true" : null);
        text(model, run.model_id);
        attribute(model, "title", `${run.run_id}, read as ${run.source}`);
        text(benchmark, run.benchmark);
        state.set(run.state);
        text(tasks, run.finished_tasks === run.total_tasks ? count(run.total_tasks) : `${count(run.finished_tasks)} of ${count(run.total_tasks)}`);
        const all = run.success_rate_all;
        rate.set(run.success_rate === null ? null : percent(run.success_rate), "nothing was measured", all === null ? null : `${percent(all)} of all that ended`);
        steps.set(run.avg_steps === null ? null : mean(run.avg_steps), "nothing was measured");
        const gaps = run.unpriced_calls + run.unknown_usage_calls + run.unpriced_machines;
        const missing = gaps > 0 ? `${counted(gaps, "call or machine", "calls or machines")} of unknown cost not in it` : null;
        cost.set(run.cost_usd === null ? null : `${gaps > 0 ? "≥ " : ""}${money(run.cost_usd)}`, "no price is known", missing);
        change.set(run.comparison);
        tick(this.clock);
      },
      tick,
    };
  }
}

function changeCell() {
  const delta = new Fact({ class: "delta" });
  const range = el("span", { class: "range" });
  const verdict = el("span", { class: "verdict" });
  const node = el("span", { class: "change-line" }, delta.node, range, verdict);
  return {
    node,
    set(comparison) {
      if (comparison === null) {
        delta.set(null, "no earlier run of this benchmark to compare with");
        text(range, "");
        text(verdict, "");
        attribute(verdict, "class", "verdict");
        attribute(node, "title", null);
        return;
      }
      const { delta: difference, ci_low: low, ci_high: high, paired_tasks: pairs, p_value: p } = comparison;
      const [mark, words, tone] = VERDICTS[comparison.verdict] ?? ["", comparison.verdict, ""];
      delta.set(difference === null ? null : points(difference, low, high), "no task was measured in both");
      text(range, low === null || high === null ? "" : `(${pointInterval(low, high)})`);
      text(verdict, `${mark} ${words}`.trim());
      attribute(verdict, "class", tone ? `verdict tone-${tone}` : "verdict");
      const test = p === null ? "" : `, p ${p < 0.001 ? "< 0.001" : `= ${p.toPrecision(2)}`}`;
      const between = low === null || high === null ? "" : `, between ${pointInterval(low, high)} points`;
      attribute(node, "title", `against ${comparison.baseline_run_id} over ${count(pairs)} tasks that both measured${between}${test}`);
    },
  };
}
