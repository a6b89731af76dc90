// Selection of the run. It is part of the URL, so that it can be shared and the browser's back button works.

import { Rows, setAttribute, el, setText } from "./dom.js";
import { formatCount, formatPercent } from "./format.js";
import { pageUrl } from "./links.js";
import { describeStatus } from "./marks.js";

/** The run that the URL names; null is the newest one. */
export function getSelectedRun() {
  return new URLSearchParams(location.search).get("run") || null;
}

const ALL = "\u0000"; // what no folder is named

export class RunSelector {
  constructor(select, onChoice) {
    this.select = select;
    this.onChoice = onChoice;
    select.replaceChildren();
    this.options = new Rows(select, createOption);
    this.items = [newestItem(null)];
    this.show();
    select.addEventListener("change", () => {
      if (select.value === ALL) location.assign("runs/");
      else this.choose(select.value || null);
    });
    window.addEventListener("popstate", () => this.follow());
  }

  /** Select a run, null for the newest. */
  choose(runId) {
    if (runId !== getSelectedRun()) history.pushState(null, "", pageUrl(runId));
    this.follow();
  }

  follow() {
    this.show();
    this.onChoice(getSelectedRun());
  }

  update(frame) {
    const known = new Map(frame.runs.map((run) => [run.run_id, run]));
    const ids = [...new Set([...(frame.all_run_ids ?? []), ...known.keys()])];
    const current = getSelectedRun() === null ? frame.run_id : null;
    this.items = [newestItem(current), ...ids.map((id) => ({ id, label: formatLabel(id, known.get(id)) }))];
    const total = frame.total_runs ?? ids.length;
    if (total > ids.length) this.items.push({ id: ALL, label: `all ${formatCount(total)} runs …` });
    this.show();
  }

  show() {
    const chosen = getSelectedRun() ?? "";
    const known = this.items.some((item) => item.id === chosen);
    this.options.update(known ? this.items : [...this.items, { id: chosen, label: chosen }], (item) => item.id);
    if (this.select.value !== chosen) this.select.value = chosen;
    setAttribute(this.select, "title", chosen || null);
  }
}

function newestItem(runId) {
  return { id: "", label: runId === null ? "newest run" : `newest: ${runId}` };
}

function createOption(id) {
  const node = el("option", { value: id });
  return { node, update: ({ label }) => setText(node, label) };
}

function formatLabel(id, run) {
  if (run === undefined) return id;
  const rate = run.success_rate === null ? "" : `, ${formatPercent(run.success_rate)}`;
  return `${id} (${run.model_id}${rate}, ${describeStatus(run.state).word})`;
}
