// The result of a finished run, in place of the running tasks.

import { setAttribute, el, setVisible, setText } from "./dom.js";
import { formatCount, formatQuantity, formatInterval, formatPercent, formatPointInterval, formatPoints, chooseRateDigits, unitOf } from "./format.js";
import { pageUrl, replayUrl } from "./links.js";
import { describeVerdict } from "./panel-runs.js";
import { compareRates } from "./panel-domains.js";

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
      change: [el("dt", {}, "Change of success"), el("dd", {}, this.change, " ", this.baseline)],
      worst: [el("dt", {}, "Weakest domain"), el("dd", {}, this.worst, " ", this.worstRate)],
      replay: [el("dt", {}, "What happened"), el("dd", {}, this.replay)],
    };
    this.node = el("dl", { class: "result", hidden: true }, ...Object.values(this.parts).flat());
  }

  update(frame) {
    const { success_rate: rate, success_rate_low: low, success_rate_high: high, measured_tasks: measured } = frame.metrics;
    const known = rate !== null;
    setText(
      this.success,
      known
        ? `${formatPercent(rate, chooseRateDigits(low, high))} of ${formatQuantity(measured, `measured ${unitOf(frame.current_job)}`)}${low === null || high === null ? "" : `, 95\u00a0% interval ${formatInterval(low, high)}`}`
        : "no task was measured",
    );
    const comparison = frame.runs.find((run) => run.run_id === frame.run_id)?.comparison ?? null;
    const compared = comparison !== null && comparison.delta !== null;
    this.show("change", compared);
    if (compared) {
      const { delta, ci_low: from, ci_high: to, paired_tasks: pairs } = comparison;
      const range = from === null || to === null ? "" : ` (${formatPointInterval(from, to)})`;
      const run = frame.runs.find((one) => one.run_id === frame.run_id);
      const [, verdict] = describeVerdict(comparison, run, frame);
      setText(this.change, `${formatPoints(delta, from, to)}${range} over ${formatQuantity(pairs, "task")}, ${verdict}:`);
      setText(this.baseline, comparison.baseline_run_id);
      setAttribute(this.baseline, "href", pageUrl(comparison.baseline_run_id));
    }
    const domains = Object.entries(frame.domain_breakdown).map(([name, domain]) => ({ name, ...domain }));
    const worst = domains.sort(compareRates)[0];
    const weak = domains.length > 1 && worst.rate !== null;
    this.show("worst", weak);
    if (weak) {
      setText(this.worst, worst.name);
      setAttribute(this.worst, "href", replayUrl(frame, { domain: worst.name }));
      setText(this.worstRate, `${formatPercent(worst.rate)}, ${formatCount(worst.success)} of ${formatCount(worst.measured)}`);
    }
    const replay = replayUrl(frame);
    this.show("replay", replay !== null);
    setAttribute(this.replay, "href", replay);
  }

  show(part, visible) {
    for (const node of this.parts[part]) setVisible(node, visible);
  }
}
