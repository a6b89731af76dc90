// Panel: where it fails, the worst domain first.

import { Fact, attribute, el, text } from "./dom.js";
import { count, interval, mean, percent, rateDigits } from "./format.js";
import { RateBar } from "./charts.js";
import { Table } from "./tables.js";
import { replayOf } from "./links.js";

const ROWS = 7;
const LARGE = 100; // tasks of a domain: from there on a share takes the place of two long numbers

export class DomainsPanel {
  constructor(section) {
    this.frame = null;
    this.section = section;
    this.large = false;
    this.hint = el("span", { class: "hint" });
    section.querySelector("header").append(this.hint);
    this.table = new Table({
      name: "by-domain",
      caption: "Success by domain, the worst first",
      columns: [
        { name: "domain", label: "Domain" },
        { name: "bar", label: "Success rate" },
        { name: "rate", label: "", numeric: true },
        { name: "counts", label: "Successes", numeric: true },
        { name: "ended", label: "Ended", numeric: true },
      ],
      limit: ROWS,
      row: (name) => this.row(name),
    });
    this.table.heads.rate.append(el("span", { class: "spoken" }, "in percent"));
    section.append(this.table.node);
  }

  forget() {
    this.table.forget();
  }

  update(frame) {
    this.frame = frame;
    const domains = Object.entries(frame.domain_breakdown).map(([name, domain]) => ({ name, ...domain }));
    domains.sort(worstFirst);
    text(this.hint, domains.length > 1 ? "worst first" : "");
    this.large = domains.some((domain) => domain.total >= LARGE);
    this.section.classList.toggle("large", this.large);
    this.table.update(domains, (domain) => domain.name);
  }

  tick() {}

  row(name) {
    const link = el("a", { class: "clip" }, name === "" ? "unnamed" : name);
    const bar = new RateBar();
    const rate = new Fact();
    const counts = new Fact();
    const ended = el("span");
    return {
      cells: [link, bar.node, rate.node, counts.node, ended],
      update: (domain) => {
        const { rate_low: low = null, rate_high: high = null } = domain;
        attribute(link, "href", replayOf(this.frame, { domain: name }));
        attribute(link, "title", domain.avg_steps === null ? name : `${name}: ${mean(domain.avg_steps)} steps on average`);
        bar.set(domain.rate, low, high);
        const range = low === null || high === null ? null : `95 % interval ${interval(low, high)}`;
        rate.set(domain.rate === null ? null : percent(domain.rate, rateDigits(low, high)), "nothing was measured yet", range);
        counts.set(domain.measured > 0 ? `${count(domain.success)} of ${count(domain.measured)}` : null, "nothing was measured yet");
        const whole = `${count(domain.finished)} of ${count(domain.total)}`;
        text(ended, this.large ? percent(domain.finished / domain.total) : whole);
        attribute(ended, "title", `${whole} tasks ended`);
      },
    };
  }
}

/** Lowest rate first, the better known one before where rates are equal; what has none last. */
export function worstFirst(a, b) {
  if ((a.rate === null) !== (b.rate === null)) return a.rate === null ? 1 : -1;
  return a.rate - b.rate || b.measured - a.measured || a.name.localeCompare(b.name);
}
