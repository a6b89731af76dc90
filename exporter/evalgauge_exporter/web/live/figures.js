// The large figures of a panel: a label, a value, a note below.

import { Fact, el, setText } from "./dom.js";

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

  /** `value` null: unknown for `reason`. `beside` is smaller, after the value; `note` is below. */
  set(value, { label, reason, beside = "", note = "", title = null, tone = null } = {}) {
    if (label !== undefined) setText(this.label, label);
    this.fact.set(value, reason, title);
    setText(this.beside, beside);
    setText(this.note, note);
    this.note.className = tone === null ? "note" : `note say tone-${tone}`;
  }
}

/** Create a list of figures. */
export function createFigures(...items) {
  return el("dl", { class: "figures" }, ...items.map((item) => item.node));
}
