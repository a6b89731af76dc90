// Panel: success by domain, worst first.

import { Fact, setAttribute, el, setText } from "./dom.js";
import { formatCount, formatInterval, formatMean, formatPercent, chooseRateDigits } from "./format.js";
import { RateBar } from "./charts.js";
import { Table } from "./tables.js";
import { replayUrl } from "./links.js";

const ROWS = 7;
const LARGE = 100; // tasks of a domain from which a percentage replaces two long numbers

export class DomainsPanel {
  constructor(section) {
    this.frame = null;
    this.section = section;
    this.large = false;
    this.hint = el("span", { class: "hint" });
    section.querySelector("header").append(this.hint);
    this.table = new Table({
      name: "by-domain",
      caption: "Success by domain, worst first",
      columns: [
        { name: "domain", label: "Domain" },
        { name: "bar", label: "Success rate" },
        { name: "rate", label: "", numeric: true },
        { name: "counts", label: "Successes", numeric: true },
        { name: "ended", label: "Finished", numeric: true },
      ],
      limit: ROWS,
      row: (name) => this.createRow(name),
    });
    this.table.heads.rate.append(el("span", { class: "spoken" }, "in percent"));
    section.append(this.table.node);
  }

  reset() {
    this.table.reset();
  }

  update(frame) {
    this.frame = frame;
    const domains = Object.entries(frame.domain_breakdown).map(([name, domain]) => ({ name, ...domain }));
    domains.sort(compareRates);
    setText(this.hint, domains.length > 1 ? "worst first" : "");
    this.large = domains.some((domain) => domain.total >= LARGE);
    this.section.classList.toggle("large", this.large);
    this.table.update(domains, (domain) => domain.name);
  }

  tick() {}

  createRow(name) {
    const link = el("a", { class: "clip" }, name === "" ? "unnamed" : name);
    const bar = new RateBar();
    const rate = new Fact();
    const counts = new Fact();
    const ended = el("span");
    return {
      cells: [link, bar.node, rate.node, counts.node, ended],
      update: (domain) => {
        const { rate_low: low = null, rate_high: high = null } = domain;
        setAttribute(link, "href", replayUrl(this.frame, { domain: name }));
        setAttribute(link, "title", domain.avg_steps === null ? name : `${name}: ${formatMean(domain.avg_steps)} steps on average`);
        bar.set(domain.rate, low, high);
        const range = low === null || high === null ? null : `95 % interval ${formatInterval(low, high)}`;
        rate.set(domain.rate === null ? null : formatPercent(domain.rate, chooseRateDigits(low, high)), "nothing was measured yet", range);
        counts.set(domain.measured > 0 ? `${formatCount(domain.success)} of ${formatCount(domain.measured)}` : null, "nothing was measured yet");
        const whole = `${formatCount(domain.finished)} of ${formatCount(domain.total)}`;
        setText(ended, this.large ? formatPercent(domain.finished / domain.total) : whole);
        setAttribute(ended, "title", `${whole} finished`);
      },
    };
  }
}

/** Compare domains for sorting: lowest rate first, for equal rates the one with more tasks; without a rate last. */
export function compareRates(a, b) {
  if ((a.rate === null) !== (b.rate === null)) return a.rate === null ? 1 : -1;
  return a.rate - b.rate || b.measured - a.measured || a.name.localeCompare(b.name);
}
