// The large numbers of a panel: a label, the value, a note below.

import { Fact, el, text } from "./dom.js";

export class Figure {
  constructor(label, { main = false } = {}) {
    this.label = el("dt", {}, label);
    this.fact = new Fact({ class: "number" });
    this.beside = el("span", { class: "beside" });
    this.note = el("dd", { class: "note" });
    this.node = el(
      "div",
      { class: main ? "figure main" : "figure" },
      this.label,
      el("dd", { class: "value" }, this.fact.node, " ", this.beside),
      this.note,
    );
  }

  /** `value` null: unknown, with `reason`. `beside` is smaller, behind the value; `note` is below. */
  set(value, { label, reason, beside = "", note = "", title = null, tone = null } = {}) {
    if (label !== undefined) text(this.label, label);
    this.fact.set(value, reason, title);
    text(this.beside, beside);
    text(this.note, note);
    this.note.className = tone === null ? "note" : `note say tone-${tone}`;
  }
}

/** A list of figures. */
export function figures(...items) {
  return el("dl", { class: "figures" }, ...items.map((item) => item.node));
}
