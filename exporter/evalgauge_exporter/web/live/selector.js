// Which run is shown. The choice is in the address, so that it can be shared and goes back with the browser's own button.

import { Rows, attribute, el, text } from "./dom.js";
import { percent } from "./format.js";
import { pageOf } from "./links.js";
import { meaning } from "./marks.js";

/** The run that the address names; null is the newest one. */
export function chosenRun() {
  return new URLSearchParams(location.search).get("run") || null;
}

export class RunSelector {
  constructor(select, onChoice) {
    this.select = select;
    this.onChoice = onChoice;
    select.replaceChildren();
    this.options = new Rows(select, option);
    this.items = [newest(null)];
    this.show();
    select.addEventListener("change", () => this.choose(select.value || null));
    window.addEventListener("popstate", () => this.follow());
  }

  /** Pick a run, null for the newest. */
  choose(runId) {
    if (runId !== chosenRun()) history.pushState(null, "", pageOf(runId));
    this.follow();
  }

  follow() {
    this.show();
    this.onChoice(chosenRun());
  }

  update(frame) {
    const known = new Map(frame.runs.map((run) => [run.run_id, run]));
    const ids = [...new Set([...(frame.all_run_ids ?? []), ...known.keys()])];
    const current = chosenRun() === null ? frame.run_id : null;
    this.items = [newest(current), ...ids.map((id) => ({ id, label: label(id, known.get(id)) }))];
    this.show();
  }

  show() {
    const chosen = chosenRun() ?? "";
    const known = this.items.some((item) => item.id === chosen);
    this.options.update(known ? this.items : [...this.items, { id: chosen, label: chosen }], (item) => item.id);
    if (this.select.value !== chosen) this.select.value = chosen;
    attribute(this.select, "title", chosen || null);
  }
}

function newest(runId) {
  return { id: "", label: runId === null ? "newest run" : `newest: ${runId}` };
}

function option(id) {
  const node = el("option", { value: id });
  return { node, update: ({ label }) => text(node, label) };
}

function label(id, run) {
  if (run === undefined) return id;
  const rate = run.success_rate === null ? "" : `, ${percent(run.success_rate)}`;
  return `${id} (${run.model_id}${rate}, ${meaning(run.state).word})`;
}
