// Panel: what the run costs, how fast, and what it will have cost at the end.

import { Fact, Rows, attribute, el, shown, text } from "./dom.js";
import { amount, clock as clockTime, count, counted, duration, exact, money, percent } from "./format.js";
import { Figure, figures } from "./figures.js";
import { Segments } from "./charts.js";
import { COMPONENTS, chip, meaning } from "./marks.js";
import { Table } from "./tables.js";

const ROWS = 3;
const UNKNOWN = {
  llm: "no model call has a known price",
  vm: "no machine with a known price",
  gpu: "no GPU machine",
};

export class CostsPanel {
  constructor(section) {
    this.total = new Figure("So far", { main: true });
    this.second = new Figure("At the end");
    this.rate = new Figure("Per hour now");
    this.success = new Figure("Per success");
    this.bar = new Segments(COMPONENTS, { "aria-hidden": "true" });
    const legend = el("ul", { class: "legend", "aria-label": "Costs by component" });
    this.legend = new Rows(legend, component);
    this.table = new Table({
      name: "spent",
      caption: "Costs by model and machine",
      columns: [
        { name: "what", label: "Model or machine" },
        { name: "used", label: "Used", numeric: true },
        { name: "cost", label: "Cost", numeric: true },
      ],
      limit: ROWS,
      row: spentRow,
    });
    this.gaps = el("p", { class: "say tone-infrastructure-error" });
    section.append(
      figures(this.total, this.second, this.rate, this.success),
      this.bar.node,
      legend,
      this.gaps,
      this.table.node,
    );
  }

  forget() {
    this.table.forget();
  }

  update(frame, clock) {
    const costs = frame.costs;
    const going = frame.current_job.status === "running";
    const budget = costs.budget_usd ?? null;
    const gaps = costs.unpriced_calls + costs.unknown_usage_calls + (costs.unpriced_machines ?? 0);
    const total = costs.total_cost_usd;
    const least = gaps > 0 ? "≥ " : "";
    this.total.set(total === null ? null : least + money(total), {
      label: going ? "So far" : "Total",
      reason: gaps > 0 ? "nothing of it has a known price" : "nothing that costs was recorded",
      note: total === null ? (gaps > 0 ? "no known price" : "nothing recorded") : budget === null ? "US dollars" : `${percent(total / budget)} of ${budgetOf(budget)}`,
      tone: budget !== null && total !== null && total > budget ? "failure" : null,
    });
    if (going) this.showCourse(costs, least, budget, clock.now());
    else this.showMeans(frame, least, budget);
    const each = costs.cost_per_success_usd;
    this.success.set(each === null ? null : least + money(each), { reason: "no success yet", note: each === null ? "" : "incl. failures" });
    const parts = Object.fromEntries(COMPONENTS.map((name) => [name, costs.by_component?.[name] ?? null]));
    this.bar.update(parts);
    this.legend.update(
      COMPONENTS.map((name) => ({ name, usd: parts[name] })),
      (entry) => entry.name,
    );
    const priceless = [
      costs.unpriced_calls > 0 ? counted(costs.unpriced_calls, "call") : null,
      costs.unpriced_machines > 0 ? counted(costs.unpriced_machines, "machine") : null,
    ].filter(Boolean);
    const missing = [
      priceless.length > 0 ? `${priceless.join(" and ")} without a known price` : null,
      costs.unknown_usage_calls > 0 ? `${counted(costs.unknown_usage_calls, "call")} that reported no tokens` : null,
    ].filter(Boolean);
    const remedy = priceless.length > 0 ? "Prices of your own go into prices.overrides." : "";
    const known = total !== null;
    text(this.gaps, missing.length > 0 ? `${known ? "Not in it" : "Not known"}: ${missing.join(", ")}. ${known ? "" : remedy}` : "");
    attribute(this.gaps, "title", remedy || null);
    shown(this.gaps, missing.length > 0);
    this.table.update(spent(costs), (row) => row.key);
  }

  tick() {}

  /** Where the costs of a run that goes on are heading. */
  showCourse(costs, least, budget, now) {
    const { projected_total_usd: end, budget_hit_at: hitAt, cost_per_hour_usd: perHour } = costs;
    const over = budget !== null && end !== null && end > budget;
    let note = end === null ? "" : "projected";
    if (hitAt && hitAt > now) note = `over at ${clockTime(hitAt, now)}`;
    else if (budget !== null && end !== null) note = `${over ? "over" : "within"} ${budgetOf(budget)}`;
    this.second.set(end === null ? null : `${least || "≈ "}${money(end)}`, {
      label: "At the end",
      reason: "a projection needs 3 tasks that ended and an estimate of the time left",
      note,
      title: hitAt ? `the budget is reached about ${exact(hitAt)}` : null,
      tone: over ? "failure" : null,
    });
    this.rate.set(perHour === null ? null : least + money(perHour), {
      label: "Per hour now",
      reason: "nothing that costs was recorded",
      note: perHour === null ? "" : "last minutes",
    });
  }

  /** What a run that is over cost on average. */
  showMeans(frame, least, budget) {
    const { total_cost_usd: total } = frame.costs;
    const ended = frame.current_job.completed_tasks;
    this.second.set(budget === null ? null : budgetOf(budget), {
      label: "Budget",
      reason: "no budget was set",
      note: budget === null ? "none set" : total !== null && total > budget ? "overrun" : "kept",
    });
    this.rate.set(total === null || ended === 0 ? null : least + money(total / ended), {
      label: "Per task",
      reason: "no task ended, or nothing that costs was recorded",
      note: "of all ended",
    });
  }
}

/** A budget is a round sum more often than not: `$60`. */
function budgetOf(usd) {
  return Number.isInteger(usd) ? `$${count(usd)}` : money(usd);
}

function component(name) {
  const cost = new Fact({ class: "strong" });
  const node = el("li", {}, chip(name), cost.node, el("span", {}, meaning(name).word));
  return {
    node,
    update: ({ usd }) => {
      cost.set(usd === null ? null : money(usd), UNKNOWN[name]);
      node.classList.toggle("none", usd === null);
    },
  };
}

/** Models and machines as rows of one table, the dearest first, those of unknown cost last. */
function spent(costs) {
  const rows = [];
  for (const [provider, calls] of Object.entries(costs.api_calls ?? {})) {
    for (const model of calls.models ?? [calls]) {
      rows.push({
        key: `llm ${provider} ${model.model}`,
        component: "llm",
        name: model.model,
        title: `${model.model} of ${provider}${model.requests ? `, ${counted(model.requests, "request")}` : ""}`,
        used: `${amount(model.input_tokens ?? 0)} in, ${amount(model.output_tokens ?? 0)} out`,
        usedTitle: `${count(model.input_tokens ?? 0)} tokens in, ${count(model.output_tokens ?? 0)} out`,
        usd: model.cost_usd,
      });
    }
  }
  const machines = new Map();
  for (const vm of costs.azure_vm?.vms ?? []) add(machines, "vm", vm);
  if (machines.size === 0 && costs.azure_vm && costs.azure_vm.cost_usd !== null) add(machines, "vm", costs.azure_vm);
  for (const gpu of Object.values(costs.gpu_time ?? {})) add(machines, "gpu", gpu);
  for (const machine of machines.values()) {
    rows.push({
      ...machine,
      name: `${machine.number > 1 ? `${count(machine.number)} × ` : ""}${machine.type}`,
      title: machine.rate === null ? machine.type : `${machine.type}, ${money(machine.rate)} per hour each`,
      used: machine.hours === null ? "" : duration(machine.hours * 3600),
      usedTitle: null,
    });
  }
  return rows.sort((a, b) => (b.usd ?? -1) - (a.usd ?? -1) || a.key.localeCompare(b.key));
}

function add(machines, component, machine) {
  const type = machine.instance_type ?? "size not known";
  const key = `${component} ${type}`;
  const sum = machines.get(key) ?? { key, component, type, number: 0, rate: machine.hourly_rate_usd ?? null, hours: null, usd: null };
  sum.number += 1;
  if (typeof machine.hours_elapsed === "number") sum.hours = (sum.hours ?? 0) + machine.hours_elapsed;
  if (typeof machine.cost_usd === "number") sum.usd = (sum.usd ?? 0) + machine.cost_usd;
  machines.set(key, sum);
}

function spentRow(key) {
  const name = el("span", { class: "clip" });
  const used = el("span");
  const cost = new Fact();
  const component = key.split(" ", 1)[0];
  const what = el("span", { class: "marked" }, chip(component), name);
  return {
    cells: [what, used, cost.node],
    update: (row) => {
      text(name, row.name);
      attribute(name, "title", row.title);
      text(used, row.used);
      attribute(used, "title", row.usedTitle);
      cost.set(row.usd === null || row.usd === undefined ? null : money(row.usd), "no price is known");
    },
  };
}
