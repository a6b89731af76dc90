// A table whose rows are updated in place, a few of them shown and the rest on demand.

import { Rows, attribute, el, shown, text } from "./dom.js";
import { count } from "./format.js";

const MOST = 100; // rows that are ever drawn
let made = 0;

export class Table {
  /**
   * `caption`: for screen readers. `columns`: `[{name, label, numeric}]`. `limit`: rows at first.
   * `row(key)`: gives `{cells: [nodes], update(item), node?}`; the cells are in the order of the columns.
   */
  constructor({ name, caption, columns, limit, row }) {
    this.limit = limit;
    this.expanded = false;
    this.highest = 0;
    this.last = null;
    const id = `table-${(made += 1)}`;
    /** The heads by column name. */
    this.heads = Object.fromEntries(
      columns.map((column) => [
        column.name,
        el("th", { role: "columnheader", scope: "col", class: classOf(column) }, column.label),
      ]),
    );
    // the roles are said again because the rows are laid out as grids
    this.body = el("tbody", { role: "rowgroup", id });
    this.box = el(
      "div",
      { class: `table ${name}` },
      el(
        "table",
        { role: "table" },
        el("caption", { class: "spoken" }, caption),
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...Object.values(this.heads))),
        this.body,
      ),
    );
    this.more = el("button", { type: "button", class: "more", "aria-controls": id, "aria-expanded": "false" });
    this.more.addEventListener("click", () => {
      this.expanded = !this.expanded;
      this.redraw();
    });
    this.node = el("div", { class: "table-box" }, this.box, this.more);
    this.rows = new Rows(this.body, (key) => {
      const { cells, update } = row(key);
      const node = el(
        "tr",
        { role: "row" },
        ...cells.map((cell, index) => el("td", { role: "cell", class: classOf(columns[index]) }, cell)),
      );
      return { node, update: (item) => update(item, node) };
    });
    shown(this.more, false);
  }

  /** `total` is how many there are where `items` are only the first of them. */
  update(items, keyOf, total = items.length) {
    this.last = [items, keyOf, total];
    this.redraw();
  }

  /** Another run: the space that was kept for the rows of the one before is given back. */
  forget() {
    this.highest = 0;
    this.expanded = false;
    shown(this.more, false);
  }

  redraw() {
    const [items, keyOf, total] = this.last;
    const drawn = items.slice(0, this.expanded ? MOST : this.limit);
    this.rows.update(drawn, keyOf);
    const rest = total - drawn.length;
    const openable = items.length > this.limit;
    const label = this.expanded ? (rest > 0 ? `show fewer (${count(rest)} more are not shown)` : "show fewer") : `and ${count(rest)} more`;
    if (openable || rest > 0) {
      text(this.more, label);
      attribute(this.more, "aria-expanded", String(this.expanded));
      attribute(this.more, "disabled", !openable);
      shown(this.more, true);
    }
    // once it was there its place is kept, so that nothing below jumps when a task ends
    this.more.classList.toggle("away", !(openable || rest > 0));
    this.highest = Math.max(this.highest, Math.min(drawn.length, this.limit));
    this.box.style.setProperty("--rows", this.highest);
    this.box.classList.toggle("empty", this.highest === 0);
  }
}

function classOf(column) {
  return `${column.name}${column.numeric ? " numeric" : ""}`;
}
