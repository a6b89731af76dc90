// A list of any length: only the rows in view are in the document.
"use strict";

(() => {
  const E = evalgauge;
  const PRINTED = 2000; // maximum number of rows of a printed page

  /**
   * Create a virtual table. `columns`: [{key, label, title, sort, number, width}]; `draw(row)` returns the contents of
   * the cells in their order, `link(row)` the address of a row, `groupLabel(row)` the content of a row that heads a
   * group, else null; `descendingFirst` are the sorts that begin with the largest. Returns {node, show(rows), reveal(position),
   * destroy()}.
   */
  function createVirtualTable({
    columns,
    draw,
    link,
    label,
    onsort,
    sorted,
    rowClass,
    groupLabel = null,
    descendingFirst = [],
  }) {
    let rows = [];
    let first = -1,
      last = -1,
      height = 0;
    const grid = columns.map((column) => column.width || "minmax(0, 1fr)").join(" ");
    const space = E.el("div", { class: "list-space", role: "presentation" });
    const view = E.el("div", { class: "list-view", role: "rowgroup", tabindex: "0" }, space);
    const head = E.el(
      "div",
      { class: "list-head", role: "rowgroup" },
      E.el("div", { class: "list-row", role: "row" }, columns.map(createHeading)),
    );
    const node = E.el(
      "div",
      { class: "list", role: "table", "aria-label": label, vars: { "--columns": grid } },
      head,
      view,
    );
    const empty = E.el("p", { class: "empty", hidden: true });
    node.append(empty);

    function createHeading(column) {
      const cell = E.el("div", {
        role: "columnheader",
        class: "c-" + column.key + (column.number ? " number" : ""),
        title: column.title,
      });
      if (!column.sort) cell.append(column.label);
      else {
        const by = () => (sorted() || "").replace(/^-/, "") === column.sort;
        const back = () => (sorted() || "").startsWith("-");
        const button = E.el(
          "button",
          {
            type: "button",
            class: "sorter",
            onclick: () => {
              const down = (descendingFirst || []).includes(column.sort);
              const [one, other] = down ? ["-" + column.sort, column.sort] : [column.sort, "-" + column.sort];
              onsort(!by() ? one : sorted() === one ? other : "");
              mark();
            },
          },
          column.label,
          E.el("span", { class: "arrow", "aria-hidden": "true" }),
        );
        cell.mark = () => {
          cell.setAttribute("aria-sort", by() ? (back() ? "descending" : "ascending") : "none");
          button.lastChild.textContent = by() ? (back() ? " ▾" : " ▴") : " ↕";
          button.lastChild.classList.toggle("off", !by());
        };
        cell.append(button);
        cell.mark();
      }
      return cell;
    }
    const mark = () => {
      for (const cell of head.firstChild.children) if (cell.mark) cell.mark();
    };

    function createRow(row, position) {
      const group = groupLabel?.(row);
      if (group)
        return E.el(
          "div",
          { class: "list-row list-group", role: "row", "aria-rowindex": String(position + 2), vars: { translate: "0 " + position * height + "px" } },
          E.el("div", { role: "cell", "aria-colspan": String(columns.length) }, group),
        );
      const cells = draw(row).map((content, i) =>
        E.el("div", { role: "cell", class: "c-" + columns[i].key + (columns[i].number ? " number" : "") }, content),
      );
      return E.el(
        "div",
        {
          class: "list-row" + (rowClass ? " " + rowClass(row) : ""),
          role: "row",
          "aria-rowindex": String(position + 2),
          vars: { translate: "0 " + position * height + "px" },
          onclick: (event) => follow(event, row),
        },
        cells,
      );
    }
    function follow(event, row) {
      if (event.target.closest("a, button, input") || String(getSelection())) return;
      location.href = link(row);
    }

    function drawRows(force) {
      if (node.classList.contains("printed")) return;
      const from = Math.max(0, Math.floor(view.scrollTop / height) - 8);
      const to = Math.min(rows.length, Math.ceil((view.scrollTop + view.clientHeight) / height) + 8);
      if (!force && from === first && to === last) return;
      const focused = view.contains(document.activeElement) ? document.activeElement.closest(".list-row") : null;
      const at = focused ? focused.getAttribute("aria-rowindex") : null;
      const kept = new Map();
      if (!force) for (const child of space.children) kept.set(Number(child.getAttribute("aria-rowindex")) - 2, child);
      const shown = [];
      for (let i = from; i < to; i++) shown.push(kept.get(i) || createRow(rows[i], i));
      first = from;
      last = to;
      space.replaceChildren(...shown);
      if (at) space.querySelector('[aria-rowindex="' + at + '"] a')?.focus({ preventScroll: true });
    }

    function measure() {
      const wanted = parseFloat(getComputedStyle(node).getPropertyValue("--row-height")) || 32;
      if (wanted !== height) {
        height = wanted;
        space.style.setProperty("height", rows.length * height + "px");
        drawRows(true);
      } else drawRows(false);
      if (revealed !== null) reveal(revealed);
    }

    let revealed = null;
    /** Scroll a row into the middle, as soon as the list has a size. */
    function reveal(position) {
      revealed = position;
      if (!height || !view.clientHeight) return;
      revealed = null;
      view.scrollTop = position * height - view.clientHeight / 2;
      drawRows(false);
    }

    function show(next, why) {
      rows = next;
      node.setAttribute("aria-rowcount", String(rows.length + 1));
      space.style.setProperty("height", rows.length * height + "px");
      empty.hidden = rows.length > 0;
      empty.textContent = why || "No task matches the filters.";
      if (view.scrollTop > rows.length * height) view.scrollTop = 0;
      if (height) drawRows(true);
    }

    let due = false;
    view.addEventListener(
      "scroll",
      () => {
        if (due) return;
        due = true;
        requestAnimationFrame(() => {
          due = false;
          drawRows(false);
        });
      },
      { passive: true },
    );
    view.addEventListener("keydown", (event) => {
      const row = document.activeElement.closest?.(".list-row");
      if (!row || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
      event.preventDefault();
      const position = Number(row.getAttribute("aria-rowindex")) - 2 + (event.key === "ArrowDown" ? 1 : -1);
      if (position < 0 || position >= rows.length) return;
      if (position * height < view.scrollTop) view.scrollTop = position * height;
      if ((position + 1) * height > view.scrollTop + view.clientHeight)
        view.scrollTop = (position + 1) * height - view.clientHeight;
      drawRows(false);
      space.querySelector('[aria-rowindex="' + (position + 2) + '"] a')?.focus({ preventScroll: true });
    });
    const watcher = new ResizeObserver(measure);
    watcher.observe(view);
    const drawForPrint = () => {
      node.classList.add("printed");
      space.replaceChildren(...rows.slice(0, PRINTED).map(createRow));
      first = last = -1;
    };
    const restoreAfterPrint = () => {
      node.classList.remove("printed");
      drawRows(true);
    };
    addEventListener("beforeprint", drawForPrint);
    addEventListener("afterprint", restoreAfterPrint);
    const destroy = () => {
      watcher.disconnect();
      removeEventListener("beforeprint", drawForPrint);
      removeEventListener("afterprint", restoreAfterPrint);
    };

    return { node, show, reveal, destroy, view, rows: () => rows };
  }

  Object.assign(E, { createVirtualTable });
})();
