// What came of a run that is over, in the place of the tasks that run.

import { attribute, el, shown, text } from "./dom.js";
import { count, counted, interval, percent, pointInterval, points, rateDigits } from "./format.js";
import { pageOf, replayOf } from "./links.js";
import { VERDICTS } from "./panel-runs.js";
import { worstFirst } from "./panel-domains.js";

export class Result {
  constructor() {
    this.success = el("dd");
    this.change = el("span");
    this.baseline = el("a");
    this.worst = el("a");
    this.worstRate = el("span");
    this.replay = el("a", {}, "step by step in the replay");
    this.parts = {
      success: [el("dt", {}, "Success"), this.success],
      change: [el("dt", {}, "Against its baseline"), el("dd", {}, this.change, " ", this.baseline)],
      worst: [el("dt", {}, "Weakest domain"), el("dd", {}, this.worst, " ", this.worstRate)],
      replay: [el("dt", {}, "What happened"), el("dd", {}, this.replay)],
    };
    this.node = el("dl", { class: "result", hidden: true }, ...Object.values(this.parts).flat());
  }

  update(frame) {
    const { success_rate: rate, success_rate_low: low, success_rate_high: high, measured_tasks: measured } = frame.metrics;
    const known = rate !== null;
    text(
      this.success,
      known
        ? `${percent(rate, rateDigits(low, high))} of ${counted(measured, "measured task")}${low === null || high === null ? "" : `, 95\u00a0% interval ${interval(low, high)}`}`
        : "no task was measured",
    );
    const comparison = frame.runs.find((run) => run.run_id === frame.run_id)?.comparison ?? null;
    const compared = comparison !== null && comparison.delta !== null;
    this.show("change", compared);
    if (compared) {
      const { delta, ci_low: from, ci_high: to, paired_tasks: pairs } = comparison;
      const range = from === null || to === null ? "" : ` (${pointInterval(from, to)})`;
      const [, verdict] = VERDICTS[comparison.verdict] ?? ["", comparison.verdict];
      text(this.change, `${points(delta, from, to)}${range} over ${counted(pairs, "task")}, ${verdict}:`);
      text(this.baseline, comparison.baseline_run_id);
      attribute(this.baseline, "href", pageOf(comparison.baseline_run_id));
    }
    const domains = Object.entries(frame.domain_breakdown).map(([name, domain]) => ({ name, ...domain }));
    const worst = domains.sort(worstFirst)[0];
    const weak = domains.length > 1 && worst.rate !== null;
    this.show("worst", weak);
    if (weak) {
      text(this.worst, worst.name);
      attribute(this.worst, "href", replayOf(frame, { domain: worst.name }));
      text(this.worstRate, `${percent(worst.rate)}, ${count(worst.success)} of ${count(worst.measured)}`);
    }
    const replay = replayOf(frame);
    this.show("replay", replay !== null);
    attribute(this.replay, "href", replay);
  }

  show(part, visible) {
    for (const node of this.parts[part]) shown(node, visible);
  }
}
