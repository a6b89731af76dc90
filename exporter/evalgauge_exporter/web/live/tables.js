// A table whose rows are updated in place; a few of them are shown, the rest on demand.

import { Rows, setAttribute, el, setVisible, setText } from "./dom.js";
import { formatCount } from "./format.js";

const MOST = 100; // maximum number of rows shown
let tables = 0;

export class Table {
  /**
   * `caption`: for screen readers. `columns`: `[{name, label, numeric}]`. `limit`: rows at first.
   * `row(key)` returns `{cells: [nodes], update(item), node?}`; the cells are in the order of the columns.
   */
  constructor({ name, caption, columns, limit, row }) {
    this.limit = limit;
    this.expanded = false;
    this.highest = 0;
    this.last = null;
    const id = `table-${(tables += 1)}`;
    /** The header cells by column name. */
    this.heads = Object.fromEntries(
      columns.map((column) => [
        column.name,
        el("th", { role: "columnheader", scope: "col", class: columnClass(column) }, column.label),
      ]),
    );
    // explicit roles, because the rows are laid out as grids
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
        ...cells.map((cell, index) => el("td", { role: "cell", class: columnClass(columns[index]) }, cell)),
      );
      return { node, update: (item) => update(item, node) };
    });
    setVisible(this.more, false);
  }

  /** `total` is the number of items where `items` holds only the first of them. */
  update(items, keyOf, total = items.length) {
    this.last = [items, keyOf, total];
    this.redraw();
  }

  /** Collapse the table and release the reserved space, because another run is shown. */
  reset() {
    this.highest = 0;
    this.expanded = false;
    setVisible(this.more, false);
  }

  redraw() {
    const [items, keyOf, total] = this.last;
    const visible = items.slice(0, this.expanded ? MOST : this.limit);
    this.rows.update(visible, keyOf);
    const rest = total - visible.length;
    const openable = items.length > this.limit;
    const label = this.expanded ? (rest > 0 ? `show fewer (${formatCount(rest)} more are not shown)` : "show fewer") : `and ${formatCount(rest)} more`;
    if (openable || rest > 0) {
      setText(this.more, label);
      setAttribute(this.more, "aria-expanded", String(this.expanded));
      setAttribute(this.more, "disabled", !openable);
      setVisible(this.more, true);
    }
    // once shown its space stays reserved, so that nothing below moves when a task finishes
    this.more.classList.toggle("away", !(openable || rest > 0));
    this.highest = Math.max(this.highest, Math.min(visible.length, this.limit));
    this.box.style.setProperty("--rows", this.highest);
    this.box.classList.toggle("empty", this.highest === 0);
  }
}

function columnClass(column) {
  return `${column.name}${column.numeric ? " numeric" : ""}`;
}
