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
      height = 0,
      stop = 0; // the row that the Tab key reaches
    const grid = columns.map((column) => column.width || "minmax(0, 1fr)").join(" ");
    const space = E.el("div", { class: "list-space", role: "presentation" });
    const view = E.el("div", { class: "list-view", role: "rowgroup" }, space);
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
      const made = E.el(
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
      E.setReachable(made, position === stop);
      return made;
    }
    const positionOf = (node) => Number(node.getAttribute("aria-rowindex")) - 2;
    const findRow = (position) => space.querySelector('[aria-rowindex="' + (position + 2) + '"]');
    const isGroup = (position) => rows[position] !== undefined && Boolean(groupLabel?.(rows[position]));
    function setStop(position) {
      while (isGroup(position)) position += 1;
      if (position === stop) return;
      for (const [at, on] of [[stop, false], [position, true]]) {
        const row = findRow(at);
        if (row) E.setReachable(row, on);
      }
      stop = position;
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
      const [at, control] = focused ? [positionOf(focused), E.listControls(focused).indexOf(document.activeElement)] : [null, 0];
      const kept = new Map();
      if (!force) for (const child of space.children) kept.set(positionOf(child), child);
      // a row that is out of sight is none that Tab could reach
      if (at === null && (stop < from || stop >= to)) setStop(Math.ceil(view.scrollTop / height));
      const shown = [];
      for (let i = from; i < to; i++) shown.push(kept.get(i) || createRow(rows[i], i));
      first = from;
      last = to;
      space.replaceChildren(...shown);
      const row = at === null || focused.isConnected ? null : findRow(at);
      if (row) E.focusControl(row, control);
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
      setStop(position);
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
      if (stop >= rows.length || isGroup(stop)) setStop(0);
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
    view.addEventListener("focusin", (event) => setStop(positionOf(event.target.closest(".list-row"))));
    view.addEventListener("keydown", (event) => {
      const arrow = E.readArrow(event, view);
      if (!arrow) return;
      event.preventDefault();
      let position = positionOf(arrow.item) + arrow.by;
      while (isGroup(position)) position += arrow.by;
      if (position < 0 || position >= rows.length) return;
      if (position * height < view.scrollTop) view.scrollTop = position * height;
      if ((position + 1) * height > view.scrollTop + view.clientHeight)
        view.scrollTop = (position + 1) * height - view.clientHeight;
      drawRows(false);
      E.focusControl(findRow(position), arrow.at);
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
