// What each state is called, marked and coloured. One meaning, one colour, and never the colour alone.

import { attribute, el, text } from "./dom.js";

const AS_TEXT = "\ufe0e"; // phones would draw a picture in colours of its own otherwise

const MEANINGS = {
  success: ["success", "✓", "success"],
  failure: ["failure", "✗", "failure"],
  agent_error: ["agent error", "!", "agent-error"],
  infrastructure_error: ["infrastructure error", `⚡${AS_TEXT}`, "infrastructure-error"],
  evaluation_error: ["evaluation error", "?", "evaluation-error"],
  interrupted: ["interrupted", "‖", "interrupted"],
  running: ["running", `▶${AS_TEXT}`, "running"],
  pending: ["pending", "·", "pending"],
  completed: ["completed", "✓", "success"],
  aborted: ["aborted", "‖", "interrupted"],
  stalled: ["stalled", "✗", "failure"],
  starting: ["starting", "…", "evaluation-error"],
  idle: ["idle", "‖", "interrupted"],
  busy: ["busy", `▶${AS_TEXT}`, "running"],
  stopped: ["stopped", `■${AS_TEXT}`, "pending"],
  lost: ["lost", "✗", "failure"],
  stopping: ["stopping", "…", "evaluation-error"],
  stopped_billing: ["stopped, still paid", `■${AS_TEXT}`, "infrastructure-error"],
  deallocating: ["deallocating", "…", "evaluation-error"],
  deallocated: ["deallocated", `■${AS_TEXT}`, "pending"],
  not_known: ["not known", "?", "pending"],
  llm: ["LLM calls", "", "llm"],
  vm: ["VMs", "", "vm"],
  gpu: ["GPUs", "", "gpu"],
};

/** Shorter words for where there is little room. */
const SHORT = { infrastructure_error: "infra error", evaluation_error: "eval error" };

/** An entry of a legend: mark, number, word; one without any of it stands back. */
export function legendEntry(status) {
  const number = el("b");
  const { word } = meaning(status);
  const node = el("li", { title: word }, chip(status), number, el("span", {}, SHORT[status] ?? word));
  return {
    node,
    update: ({ shown, none }) => {
      text(number, shown);
      node.classList.toggle("none", none);
    },
  };
}

/** The statuses of a task in the order in which they are drawn. */
export const TASK_STATUSES = [
  "success",
  "failure",
  "agent_error",
  "infrastructure_error",
  "evaluation_error",
  "interrupted",
  "running",
  "pending",
];
/** The states of a worker in the order in which they are drawn. */
export const WORKER_STATES = ["busy", "idle", "starting", "lost", "stopped"];
/** What costs money. */
export const COMPONENTS = ["llm", "vm", "gpu"];

/** `{word, mark, tone}` of a status; one that is not known here is shown by its own name. */
export function meaning(status) {
  const [word, mark, tone] = MEANINGS[status] ?? [String(status), "?", "pending"];
  return { word, mark, tone };
}

/** A small coloured square with the mark. Screen readers get the word that stands beside it. */
export function chip(status) {
  const { mark, tone } = meaning(status);
  return el("span", { class: `chip tone-${tone}`, "aria-hidden": "true" }, mark);
}

/** The mark and the word of a state that changes. */
export class State {
  constructor(className = "state") {
    this.mark = el("span", { class: "chip", "aria-hidden": "true" });
    this.word = el("span");
    this.node = el("span", { class: className }, this.mark, this.word);
  }

  set(status) {
    const { word, mark, tone } = meaning(status);
    text(this.mark, mark);
    attribute(this.mark, "class", `chip tone-${tone}`);
    text(this.word, word);
  }
}
