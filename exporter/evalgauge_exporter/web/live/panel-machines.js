// Panel: every machine that is known, those that bill and that no run uses first. It is there whatever run is shown.

import { Fact, Rows, attribute, el, shown, text } from "./dom.js";
import { ago, count, counted, exact, money } from "./format.js";
import { pageOf } from "./links.js";
import { State } from "./marks.js";
import { Table } from "./tables.js";

const ROWS = 5;
const FRESH_MS = 30_000; // Azure is asked for power states once a minute
const ANSWER_MS = 10_000;
const byName = new Intl.Collator("en", { numeric: true });

/** What a machine's state is called here. One that is stopped and not deallocated goes on billing. */
function stateOf(machine) {
  if (machine.power_state === null) return machine.billing ? "running" : "not_known";
  return machine.power_state === "stopped" ? "stopped_billing" : machine.power_state;
}

/** Forgotten ones first, then those that cost money, then the rest. */
function rank(machine) {
  return machine.billing ? (machine.run_ids.length === 0 ? 0 : 1) : 2;
}

const keyOf = (machine) => JSON.stringify([machine.name, machine.subscription_id, machine.resource_group]);
const perHour = (machines) => machines.reduce((sum, machine) => sum + (machine.hourly_rate_usd ?? 0), 0);

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
      row: (key) => this.row(key),
    });
    section.append(this.forgotten, this.table.node);
    this.asking = false;
    this.askedAt = -Infinity;
  }

  /** Ask for the machines where that was not done lately and somebody looks. */
  async tick() {
    if (this.asking || document.hidden || performance.now() - this.askedAt < FRESH_MS) return;
    this.asking = true;
    this.askedAt = performance.now();
    const machines = await this.ask();
    this.asking = false;
    if (machines !== null) this.update(machines);
  }

  /** The machines as of now; null where the exporter does not say, and none where it will not. */
  async ask() {
    try {
      const answer = await fetch(new URL("api/vms", document.baseURI), {
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (answer.status === 401 || answer.status === 403) return [];
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the mark at the top says that the exporter does not answer
    }
  }

  update(machines) {
    shown(this.section, machines.length > 0);
    machines.sort((a, b) => rank(a) - rank(b) || byName.compare(a.name, b.name));
    const billing = machines.filter((machine) => machine.billing);
    const unused = billing.filter((machine) => machine.run_ids.length === 0);
    const cost = (some) => {
      const priceless = some.filter((machine) => machine.hourly_rate_usd === null).length;
      return priceless === some.length ? "price not known" : `${priceless > 0 ? "≥ " : ""}${money(perHour(some))} per hour`;
    };
    text(this.hint, `${count(machines.length)}; ${billing.length > 0 ? `${count(billing.length)} billing, ${cost(billing)}` : "none is billing"}`);
    const verb = unused.length === 1 ? "is" : "are";
    text(this.forgotten, unused.length > 0 ? `${counted(unused.length, "machine")} ${verb} paid for and used by no run: ${cost(unused)}` : "");
    this.table.update(machines, keyOf);
  }

  row(key) {
    const [name, , group] = JSON.parse(key);
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
        text(size, [machine.size, machine.location].filter(Boolean).join(", "));
        attribute(size, "title", size.textContent || null);
        power.set(stateOf(machine));
        attribute(power.node, "title", machine.created_at === null ? null : `made ${ago(Date.parse(machine.created_at) / 1000, Date.now() / 1000)}, ${exact(Date.parse(machine.created_at) / 1000)}`);
        runs.update(machine.run_ids.slice(0, 3), (runId) => runId);
        const rest = machine.run_ids.length - 3;
        text(none, machine.run_ids.length === 0 ? "no run" : rest > 0 ? ` and ${count(rest)} more` : "");
        none.className = machine.run_ids.length > 0 ? "" : machine.billing ? "say tone-infrastructure-error" : "unknown";
        price.set(machine.hourly_rate_usd === null ? null : money(machine.hourly_rate_usd), "no price is known", machine.priced_by === null ? null : `by ${machine.priced_by}`);
        const parts = [
          ["with a task", machine.cost_busy_usd],
          ["idle in a run", machine.cost_idle_usd],
          ["used by no run", machine.cost_unused_usd],
        ];
        cost.set(
          machine.cost_usd === null ? null : money(machine.cost_usd),
          "no price is known",
          parts.map(([word, usd]) => (usd === null ? null : `${money(usd)} ${word}`)).filter(Boolean).join(", "),
        );
      },
    };
  }

  runLink(runId) {
    const link = el("a", { class: "code", href: pageOf(runId), title: runId }, runId);
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.choose(runId);
    });
    return { node: el("span", { class: "listed" }, link), update: () => {} };
  }
}
