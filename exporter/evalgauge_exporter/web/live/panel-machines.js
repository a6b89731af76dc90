// Panel: all known machines, those that are billed and unused first. It does not depend on the selected run.

import { Fact, Rows, setAttribute, el, setVisible, setText } from "./dom.js";
import { formatAgo, formatCount, formatQuantity, formatExact, formatMoney } from "./format.js";
import { pageUrl } from "./links.js";
import { State } from "./marks.js";
import { Table } from "./tables.js";

const ROWS = 5;
const REFRESH_MS = 30_000; // the exporter polls Azure for power states once a minute
const ANSWER_MS = 10_000;
const byName = new Intl.Collator("en", { numeric: true });

/** The state of a machine. One that is stopped but not deallocated is still billed. */
function describePower(machine) {
  if (machine.power_state === null) return machine.billing ? "running" : "not_known";
  return machine.power_state === "stopped" ? "stopped_billing" : machine.power_state;
}

/** The sort rank of a machine: billed and unused first, then the other billed ones, then the rest. */
function rank(machine) {
  return machine.billing ? (machine.run_ids.length === 0 ? 0 : 1) : 2;
}

const machineKey = (machine) => JSON.stringify([machine.instance_id, machine.name, machine.subscription_id, machine.resource_group]);
const sumHourlyRates = (machines) => machines.reduce((sum, machine) => sum + (machine.hourly_rate_usd ?? 0), 0);

export class MachinesPanel {
  constructor(section, choose) {
    this.section = section;
    this.choose = choose;
    this.hint = el("span", { class: "hint" });
    section.querySelector("header").append(this.hint);
    this.forgotten = el("p", { class: "say tone-infrastructure-error" });
    this.table = new Table({
      name: "by-machine",
      caption: "Machines",
      columns: [
        { name: "machine", label: "Machine" },
        { name: "size", label: "Size" },
        { name: "power", label: "State" },
        { name: "use", label: "Used by" },
        { name: "price", label: "Per hour", numeric: true },
        { name: "cost", label: "So far", numeric: true },
      ],
      limit: ROWS,
      row: (key) => this.createRow(key),
    });
    section.append(this.forgotten, this.table.node);
    this.asking = false;
    this.askedAt = -Infinity;
  }

  /** Fetch the machines unless that was done recently or the page is hidden. */
  async tick() {
    if (this.asking || document.hidden || performance.now() - this.askedAt < REFRESH_MS) return;
    this.asking = true;
    this.askedAt = performance.now();
    const machines = await this.ask();
    this.asking = false;
    if (machines !== null) this.update(machines);
  }

  /** Fetch the machines; null where the exporter does not respond, an empty list where it refuses. */
  async ask() {
    try {
      const answer = await fetch(new URL("api/vms", document.baseURI), {
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (answer.status === 401 || answer.status === 403) return [];
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the connection mark at the top shows that the exporter does not respond
    }
  }

  update(machines) {
    setVisible(this.section, machines.length > 0);
    machines.sort((a, b) => rank(a) - rank(b) || byName.compare(a.name, b.name));
    const billing = machines.filter((machine) => machine.billing);
    const unused = billing.filter((machine) => machine.run_ids.length === 0);
    const cost = (some) => {
      const priceless = some.filter((machine) => machine.hourly_rate_usd === null).length;
      return priceless === some.length ? "unknown price" : `${priceless > 0 ? "≥ " : ""}${formatMoney(sumHourlyRates(some))} per hour`;
    };
    setText(this.hint, `${formatCount(machines.length)}; ${billing.length > 0 ? `${formatCount(billing.length)} billing, ${cost(billing)}` : "none is billing"}`);
    const verb = unused.length === 1 ? "is" : "are";
    setText(this.forgotten, unused.length > 0 ? `${formatQuantity(unused.length, "machine")} ${verb} billed and used by no run: ${cost(unused)}` : "");
    this.table.update(machines, machineKey);
  }

  createRow(key) {
    const [, name, , group] = JSON.parse(key);
    const size = el("span", { class: "clip" });
    const power = new State("marked");
    const use = el("span", { class: "clip" });
    const runs = new Rows(use, (runId) => this.runLink(runId));
    const none = el("span");
    const price = new Fact();
    const cost = new Fact();
    return {
      cells: [el("span", { class: "clip code", title: group === null ? name : `${name} (${group})` }, name), size, power.node, el("span", { class: "clip" }, use, none), price.node, cost.node],
      update: (machine) => {
        setText(size, [machine.size, machine.location].filter(Boolean).join(", "));
        setAttribute(size, "title", size.textContent || null);
        power.set(describePower(machine));
        setAttribute(power.node, "title", machine.created_at === null ? null : `created ${formatAgo(Date.parse(machine.created_at) / 1000, Date.now() / 1000)}, ${formatExact(Date.parse(machine.created_at) / 1000)}`);
        runs.update(machine.run_ids.slice(0, 3), (runId) => runId);
        const rest = machine.run_ids.length - 3;
        setText(none, machine.run_ids.length === 0 ? "no run" : rest > 0 ? ` and ${formatCount(rest)} more` : "");
        none.className = machine.run_ids.length > 0 ? "" : machine.billing ? "say tone-infrastructure-error" : "unknown";
        price.set(machine.hourly_rate_usd === null ? null : formatMoney(machine.hourly_rate_usd), "no price is known", machine.priced_by === null ? null : `by ${machine.priced_by}`);
        const parts = [
          ["with a task", machine.cost_busy_usd],
          ["idle in a run", machine.cost_idle_usd],
          ["used by no run", machine.cost_unused_usd],
        ];
        cost.set(
          machine.cost_usd === null ? null : formatMoney(machine.cost_usd),
          "no price is known",
          parts.map(([word, usd]) => (usd === null ? null : `${formatMoney(usd)} ${word}`)).filter(Boolean).join(", "),
        );
      },
    };
  }

  runLink(runId) {
    const link = el("a", { class: "code", href: pageUrl(runId), title: runId }, runId);
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.choose(runId);
    });
    return { node: el("span", { class: "listed" }, link), update: () => {} };
  }
}
