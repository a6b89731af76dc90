// Panel: this run and the earlier ones, with the difference to their baselines and its significance.

import { Fact, setAttribute, el, setText } from "./dom.js";
import { formatAgo, formatCount, formatQuantity, formatDuration, formatExact, formatMean, formatMoney, formatPercent, formatPointInterval, formatPoints } from "./format.js";
import { State } from "./marks.js";
import { Table } from "./tables.js";
import { pageUrl } from "./links.js";

const ROWS = 5;
/** Mark, words and tone of each verdict. */
export const VERDICTS = {
  better: ["▲", "better", "success"],
  worse: ["▼", "worse", "failure"],
  no_significant_difference: ["=", "no significant difference", ""],
  too_few_tasks: ["", "too few tasks", ""],
};

export class RunsPanel {
  /** `choose(runId)` is called when a run is selected. */
  constructor(section, choose) {
    this.choose = choose;
    this.frame = null;
    this.clock = null;
    this.table = new Table({
      name: "by-run",
      caption: "Recent runs, newest first",
      columns: [
        { name: "which", label: "Run" },
        { name: "benchmark", label: "Benchmark" },
        { name: "begun", label: "Started" },
        { name: "doing", label: "State" },
        { name: "tasks", label: "Finished", numeric: true },
        { name: "rate", label: "Success", numeric: true },
        { name: "steps", label: "Steps", numeric: true },
        { name: "cost", label: "Cost", numeric: true },
        { name: "took", label: "Took", numeric: true },
        { name: "change", label: "Change of success" },
      ],
      limit: ROWS,
      row: (id) => this.createRow(id),
    });
    section.append(this.table.node);
  }

  reset() {}

  update(frame, clock) {
    this.frame = frame;
    this.clock = clock;
    this.table.update(frame.runs, (run) => run.run_id, Math.max(frame.runs.length, frame.total_runs ?? 0));
  }

  tick(clock) {
    for (const row of this.table.rows.rows.values()) row.tick?.(clock);
  }

  createRow(id) {
    const name = el("span");
    const [head, tail] = splitId(id, 10);
    const model = el("a", { class: "run-link", href: pageUrl(id) }, name, el("span", { class: "clip unknown" }, head), el("span", { class: "unknown" }, tail));
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
    const change = createChangeCell();
    let current = null;
    const tick = (clock) => {
      const now = clock.now();
      const { created_at: created } = current;
      begun.set(created === null ? null : formatAgo(created, now), "not known", created === null ? null : formatExact(created));
      const running = current.state === "running" ? clock.sinceFrame() : 0;
      took.set(current.elapsed_seconds === null ? null : formatDuration(current.elapsed_seconds + running), "not known");
    };
    return {
      cells: [model, benchmark, begun.node, state.node, tasks, rate.node, steps.node, cost.node, took.node, change.node],
      update: (run, node) => {
        current = run;
        setAttribute(node, "aria-current", run.run_id === this.frame.run_id ? "true" : null);
        setText(name, run.model_id === "unknown" ? "" : run.model_id);
        setAttribute(model, "title", `${run.run_id}, read as ${run.source}`);
        setAttribute(model, "aria-label", run.model_id === "unknown" ? run.run_id : `${run.model_id} ${run.run_id}`);
        setText(benchmark, run.benchmark);
        state.set(run.unreadable ? "unreadable" : run.state);
        setAttribute(state.node, "title", run.unreadable ? `${run.state}; ${run.unreadable}. The numbers are older.` : null);
        setText(tasks, run.finished_tasks === run.total_tasks ? formatCount(run.total_tasks) : `${formatCount(run.finished_tasks)} of ${formatCount(run.total_tasks)}`);
        const all = run.success_rate_all;
        const expected = run.provisional ? (run.success_rate_estimate ?? run.success_rate) : run.success_rate;
        rate.set(expected === null ? null : formatPercent(expected), run.success_rate_reason ?? "nothing was measured", all === null ? null : `${formatPercent(all)} of all finished`);
        steps.set(run.avg_steps === null ? null : formatMean(run.avg_steps), "nothing was measured");
        const gaps = run.unpriced_calls + run.unknown_usage_calls + run.unpriced_machines;
        const missing = gaps > 0 ? `${formatQuantity(gaps, "call or machine", "calls or machines")} of unknown cost not included` : null;
        cost.set(run.cost_usd === null ? null : `${gaps > 0 ? "≥ " : ""}${formatMoney(run.cost_usd)}`, "no price is known", missing);
        change.set(run.comparison, run, this.frame);
        tick(this.clock);
      },
      tick,
    };
  }
}

/** Mark, words and tone of a comparison. Against another or an unknown model it is a difference and no verdict. */
export function describeVerdict(comparison, run, frame) {
  const baseline = frame.runs.find((other) => other.run_id === comparison.baseline_run_id);
  const verdict = VERDICTS[comparison.verdict] ?? ["", comparison.verdict, ""];
  if (run.model_id !== "unknown" && (baseline === undefined || baseline.model_id === run.model_id)) return verdict;
  const other = baseline === undefined || baseline.model_id === "unknown" ? "an earlier run" : baseline.model_id;
  return ["", `against ${other}`, ""];
}

/** The two parts of an id between which it is cut where there is no room: its beginning and its end tell it apart. */
export function splitId(id, longest = 14) {
  const tail = Math.min(longest, Math.floor(id.length / 2));
  return [id.slice(0, id.length - tail), id.slice(id.length - tail)];
}

function createChangeCell() {
  const delta = new Fact({ class: "delta" });
  const range = el("span", { class: "range" });
  const verdict = el("span", { class: "verdict" });
  const node = el("span", { class: "change-line" }, delta.node, range, verdict);
  return {
    node,
    set(comparison, run, frame) {
      if (comparison === null) {
        delta.set(null, "no earlier run of this benchmark to compare with");
        setText(range, "");
        setText(verdict, "");
        setAttribute(verdict, "class", "verdict");
        setAttribute(node, "title", null);
        return;
      }
      const { delta: difference, ci_low: low, ci_high: high, paired_tasks: pairs, p_value: p } = comparison;
      const [mark, words, tone] = describeVerdict(comparison, run, frame);
      delta.set(difference === null ? null : formatPoints(difference, low, high), "no task was measured in both");
      setText(range, low === null || high === null ? "" : `(${formatPointInterval(low, high)})`);
      setText(verdict, `${mark} ${words}`.trim());
      setAttribute(verdict, "class", tone ? `verdict tone-${tone}` : "verdict");
      const test = p === null ? "" : `, p ${p < 0.001 ? "< 0.001" : `= ${p.toPrecision(2)}`}`;
      const between = low === null || high === null ? "" : `, between ${formatPointInterval(low, high)} points`;
      setAttribute(node, "title", `against ${comparison.baseline_run_id} over ${formatCount(pairs)} tasks measured in both${between}${test}`);
    },
  };
}
