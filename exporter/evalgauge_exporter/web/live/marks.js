// Word, mark and colour of each status. One meaning has one colour, and never the colour alone.

import { setAttribute, el, setText } from "./dom.js";

const AS_TEXT = "\ufe0e"; // without it phones show a colour emoji

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
  stopped_billing: ["stopped, still billed", `■${AS_TEXT}`, "infrastructure-error"],
  deallocating: ["deallocating", "…", "evaluation-error"],
  deallocated: ["deallocated", `■${AS_TEXT}`, "pending"],
  unreadable: ["unreadable now", "⚠\ufe0e", "infrastructure-error"],
  not_known: ["unknown", "?", "pending"],
  llm: ["LLM calls", "", "llm"],
  vm: ["VMs", "", "vm"],
  gpu: ["GPUs", "", "gpu"],
};

/** Shorter words for narrow places. */
const SHORT = { infrastructure_error: "infra error", evaluation_error: "eval error" };

/** Create an entry of a legend: mark, number, word; one whose number is 0 is dimmed. */
export function createLegendEntry(status) {
  const number = el("b");
  const { word } = describeStatus(status);
  const node = el("li", { title: word }, createChip(status), number, el("span", {}, SHORT[status] ?? word));
  return {
    node,
    update: ({ shown, none }) => {
      setText(number, shown);
      node.classList.toggle("none", none);
    },
  };
}

/** The statuses of a task in display order. */
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
/** The states of a worker in display order. */
export const WORKER_STATES = ["busy", "idle", "starting", "lost", "stopped"];
/** The components of costs. */
export const COMPONENTS = ["llm", "vm", "gpu"];

/** `{word, mark, tone}` of a status; an unknown one is shown by its name. */
export function describeStatus(status) {
  const [word, mark, tone] = MEANINGS[status] ?? [String(status), "?", "pending"];
  return { word, mark, tone };
}

/** Create a small coloured square with the mark. Screen readers read the word next to it. */
export function createChip(status) {
  const { mark, tone } = describeStatus(status);
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
    const { word, mark, tone } = describeStatus(status);
    setText(this.mark, mark);
    setAttribute(this.mark, "class", `chip tone-${tone}`);
    setText(this.word, word);
  }
}
