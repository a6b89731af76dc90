// Panel: costs of the run so far, per hour, and projected to its end.

import { Fact, Rows, setAttribute, el, setVisible, setText } from "./dom.js";
import { formatAmount, formatClock, formatCount, formatQuantity, formatDuration, formatExact, formatMoney, formatPercent } from "./format.js";
import { Figure, createFigures } from "./figures.js";
import { Segments } from "./charts.js";
import { COMPONENTS, createChip, describeStatus } from "./marks.js";
import { Table } from "./tables.js";

const ROWS = 3;
const UNKNOWN = {
  llm: "no model call has a known price",
  vm: "no machine with a known price",
  gpu: "no GPU machine",
};

export class CostsPanel {
  constructor(section) {
    this.title = section.querySelector("h2");
    this.total = new Figure("So far", { main: true });
    this.second = new Figure("At the end");
    this.rate = new Figure("Per hour now");
    this.success = new Figure("Per success");
    this.bar = new Segments(COMPONENTS, { "aria-hidden": "true" });
    const legend = el("ul", { class: "legend", "aria-label": "Costs by component" });
    this.legend = new Rows(legend, createComponentEntry);
    this.table = new Table({
      name: "spent",
      caption: "Costs by model and machine",
      columns: [
        { name: "what", label: "Model or machine" },
        { name: "used", label: "Used", numeric: true },
        { name: "cost", label: "Cost", numeric: true },
      ],
      limit: ROWS,
      row: createExpenseRow,
    });
    this.gaps = el("p", { class: "say tone-infrastructure-error" });
    section.append(
      createFigures(this.total, this.second, this.rate, this.success),
      this.bar.node,
      legend,
      this.gaps,
      this.table.node,
    );
  }

  reset() {
    this.table.reset();
  }

  update(frame, clock) {
    const costs = frame.costs;
    const running = frame.current_job.status === "running";
    setText(this.title, running ? "Running costs" : "Costs");
    const budget = costs.budget_usd ?? null;
    const gaps = costs.unpriced_calls + costs.unknown_usage_calls + (costs.unpriced_machines ?? 0);
    const total = costs.total_cost_usd;
    const least = gaps > 0 ? "≥ " : "";
    this.total.set(total === null ? null : least + formatMoney(total), {
      label: running ? "So far" : "Total",
      reason: gaps > 0 ? "none of the calls and machines has a known price" : "no costs were recorded",
      note: total === null ? (gaps > 0 ? "no known price" : "nothing recorded") : budget === null ? "US dollars" : `${formatPercent(total / budget)} of ${formatBudget(budget)}`,
      tone: budget !== null && total !== null && total > budget ? "failure" : null,
    });
    if (running) this.showCourse(costs, least, budget, clock.now());
    else this.showMeans(frame, least, budget);
    const each = costs.cost_per_success_usd;
    this.success.set(each === null ? null : least + formatMoney(each), { reason: "no success yet", note: each === null ? "" : "incl. failures" });
    const parts = Object.fromEntries(COMPONENTS.map((name) => [name, costs.by_component?.[name] ?? null]));
    this.bar.update(parts);
    this.legend.update(
      COMPONENTS.map((name) => ({ name, usd: parts[name] })),
      (entry) => entry.name,
    );
    const unpriced = [
      costs.unpriced_calls > 0 ? formatQuantity(costs.unpriced_calls, "call") : null,
      costs.unpriced_machines > 0 ? formatQuantity(costs.unpriced_machines, "machine") : null,
    ].filter(Boolean);
    const missing = [
      unpriced.length > 0 ? `${unpriced.join(" and ")} without a known price` : null,
      costs.unknown_usage_calls > 0 ? `${formatQuantity(costs.unknown_usage_calls, "call")} that reported no tokens` : null,
    ].filter(Boolean);
    const remedy = unpriced.length > 0 ? "Add your own prices with prices.overrides." : "";
    const known = total !== null;
    setText(this.gaps, missing.length > 0 ? `${known ? "Not included" : "Unknown"}: ${missing.join(", ")}. ${known ? "" : remedy}` : "");
    setAttribute(this.gaps, "title", remedy || null);
    setVisible(this.gaps, missing.length > 0);
    this.table.update(listExpenses(costs), (row) => row.key);
  }

  tick() {}

  /** Show where the costs of a running run are heading. */
  showCourse(costs, least, budget, now) {
    const { projected_total_usd: end, budget_hit_at: hitAt, cost_per_hour_usd: perHour } = costs;
    const over = budget !== null && end !== null && end > budget;
    let note = end === null ? "" : "projected";
    if (hitAt && hitAt > now) note = `budget at ${formatClock(hitAt, now)}`;
    else if (budget !== null && end !== null) note = `${over ? "over" : "within"} ${formatBudget(budget)}`;
    this.second.set(end === null ? null : `${least || "≈ "}${formatMoney(end)}`, {
      label: "At the end",
      reason: "a projection needs 3 finished tasks and an estimate of the time left",
      note,
      title: hitAt ? `the budget will be reached at about ${formatExact(hitAt)}` : null,
      tone: over ? "failure" : null,
    });
    this.rate.set(perHour === null ? null : least + formatMoney(perHour), {
      label: "Per hour now",
      reason: "no costs were recorded",
      note: perHour === null ? "" : "last minutes",
    });
  }

  /** Show the budget and the mean costs of a finished run. */
  showMeans(frame, least, budget) {
    const { total_cost_usd: total } = frame.costs;
    const finished = frame.current_job.completed_tasks;
    this.second.set(budget === null ? null : formatBudget(budget), {
      label: "Budget",
      reason: "no budget was set",
      note: budget === null ? "none set" : total !== null && total > budget ? "exceeded" : "not exceeded",
    });
    this.rate.set(total === null || finished === 0 ? null : least + formatMoney(total / finished), {
      label: "Per task",
      reason: "no task has finished, or no costs were recorded",
      note: "of all finished",
    });
  }
}

/** A budget as text; most are round sums: `$60`. */
function formatBudget(usd) {
  return Number.isInteger(usd) ? `$${formatCount(usd)}` : formatMoney(usd);
}

function createComponentEntry(name) {
  const cost = new Fact({ class: "strong" });
  const node = el("li", {}, createChip(name), cost.node, el("span", {}, describeStatus(name).word));
  return {
    node,
    update: ({ usd }) => {
      cost.set(usd === null ? null : formatMoney(usd), UNKNOWN[name]);
      node.classList.toggle("none", usd === null);
    },
  };
}

/** List models and machines as rows of one table, most expensive first, those of unknown cost last. */
function listExpenses(costs) {
  const rows = [];
  for (const [provider, calls] of Object.entries(costs.api_calls ?? {})) {
    for (const model of calls.models ?? [calls]) {
      rows.push({
        key: `llm ${provider} ${model.model}`,
        component: "llm",
        name: model.model,
        title: `${model.model} of ${provider}${model.requests ? `, ${formatQuantity(model.requests, "request")}` : ""}`,
        used: `${formatAmount(model.input_tokens ?? 0)} in, ${formatAmount(model.output_tokens ?? 0)} out`,
        usedTitle: `${formatCount(model.input_tokens ?? 0)} tokens in, ${formatCount(model.output_tokens ?? 0)} out`,
        usd: model.cost_usd,
      });
    }
  }
  const machines = new Map();
  for (const vm of costs.azure_vm?.vms ?? []) addMachine(machines, "vm", vm);
  if (machines.size === 0 && costs.azure_vm && costs.azure_vm.cost_usd !== null) addMachine(machines, "vm", costs.azure_vm);
  for (const gpu of Object.values(costs.gpu_time ?? {})) addMachine(machines, "gpu", gpu);
  for (const machine of machines.values()) {
    rows.push({
      ...machine,
      name: `${machine.number > 1 ? `${formatCount(machine.number)} × ` : ""}${machine.type}`,
      title: machine.rate === null ? machine.type : `${machine.type}, ${formatMoney(machine.rate)} per hour each`,
      used: machine.hours === null ? "" : formatDuration(machine.hours * 3600),
      usedTitle: null,
    });
  }
  return rows.sort((a, b) => (b.usd ?? -1) - (a.usd ?? -1) || a.key.localeCompare(b.key));
}

function addMachine(machines, component, machine) {
  const type = machine.instance_type ?? "unknown size";
  const key = `${component} ${type}`;
  const sum = machines.get(key) ?? { key, component, type, number: 0, rate: machine.hourly_rate_usd ?? null, hours: null, usd: null };
  sum.number += 1;
  if (typeof machine.hours_elapsed === "number") sum.hours = (sum.hours ?? 0) + machine.hours_elapsed;
  if (typeof machine.cost_usd === "number") sum.usd = (sum.usd ?? 0) + machine.cost_usd;
  machines.set(key, sum);
}

function createExpenseRow(key) {
  const name = el("span", { class: "clip" });
  const used = el("span");
  const cost = new Fact();
  const component = key.split(" ", 1)[0];
  const what = el("span", { class: "marked" }, createChip(component), name);
  return {
    cells: [what, used, cost.node],
    update: (row) => {
      setText(name, row.name);
      setAttribute(name, "title", row.title);
      setText(used, row.used);
      setAttribute(used, "title", row.usedTitle);
      cost.set(row.usd === null || row.usd === undefined ? null : formatMoney(row.usd), "no known price");
    },
  };
}
