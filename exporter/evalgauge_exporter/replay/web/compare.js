// Two to four runs on one task side by side: their aligned steps, with the first divergence marked.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const MOST = 4;

  /** Load the runs and their rows of this task; null for a run without it. */
  async function loadRuns(place) {
    const ids = [place.run, ...(place.with || [])].filter((id, i, all) => all.indexOf(id) === i).slice(0, MOST);
    const found = ids.map(E.findRun);
    const lost = ids.find((_, i) => !found[i]);
    if (lost !== undefined) return { lost };
    const runs = found.filter((run, i) => found.indexOf(run) === i);
    const tables = await Promise.all(runs.map(E.loadTable));
    const rows = tables.map((table) => {
      const attempts = table.attempts.get(place.task) || [];
      return attempts.find((one) => String(one.attempt) === (place.attempt || "1")) || attempts[0] || null;
    });
    const contents = await Promise.all(rows.map((row) => (row ? E.loadAttempt(row) : null)));
    return { runs, tables, rows, contents };
  }

  function renderStrip(columns, runs, names, roles, diverged, onpick) {
    const cells = runs.map(() => []);
    const heads = [];
    columns.forEach((column, c) => {
      const standing = E.align.classifyColumn(column, runs);
      heads.push(
        c === diverged
          ? el("th", { scope: "col", class: "diverged" }, el("span", { title: "the first divergence" }, "≠"))
          : el("td", {}),
      );
      column.forEach((position, r) => {
        const step = position === null ? null : runs[r][position];
        const text = step
          ? names[r] +
            ", step " +
            (position + 1) +
            ": " +
            E.actions.describe(step.action || {}, 60) +
            (standing[r] === "same" ? "" : r ? ", unlike " + (runs.length === 2 ? "the baseline" : names[0]) : "")
          : names[r] + ": no such step";
        cells[r].push(
          el(
            "td",
            { class: "cell " + standing[r] },
            el(
              "button",
              { type: "button", title: text, tabindex: "-1", "aria-label": text, onclick: () => onpick(c) },
              step ? E.actions.getSign(step.action) : "",
            ),
          ),
        );
      });
    });
    return el(
      "div",
      { class: "strip-box", role: "region", "aria-label": "Steps of all runs" },
      el(
        "table",
        { class: "strip" },
        el("thead", {}, el("tr", {}, el("td", {}), heads)),
        el(
          "tbody",
          {},
          runs.map((_, r) =>
            el("tr", {}, el("th", { scope: "row", title: names[r] }, roles[r]), cells[r]),
          ),
        ),
      ),
    );
  }

  /** Render the instruction; where it differs between runs, as with another seed, that of each run. */
  function renderInstructions(contents, row, roles) {
    const texts = contents.map((content) => content?.instruction || null);
    const different = [...new Set(texts.filter(Boolean))];
    if (different.length < 2)
      return el("p", { class: "instruction" }, different[0] || row.instruction || "No instruction was recorded.");
    return el(
      "p",
      { class: "instruction" },
      el("b", {}, "Different instructions. "),
      texts.map((one, r) => [el("b", {}, roles[r] + ": "), one || E.NONE, " "]),
    );
  }

  async function renderCompareView(place) {
    const found = await loadRuns(place);
    if (found.lost !== undefined)
      return E.renderMissing(
        "There is no run " + found.lost + " in this replay.",
        E.findSimilar(
          found.lost,
          E.getRuns().map((run) => run.run_id),
        ).map((id) => [id, E.address.write({ run: id })]),
        "#",
      );
    const { runs, tables, rows, contents } = found;
    if (!rows.some(Boolean))
      return E.renderMissing(
        "None of these runs has the task " + place.task + ".",
        E.findSimilar(place.task, [...tables[0].attempts.keys()]).map((task) => [task, E.address.write({ ...place, task })]),
        E.address.write({ view: "matrix", run: runs[0].run_id, with: runs.slice(1).map((run) => run.run_id) }),
      );
    const steps = contents.map((content) => (content ? content.steps : []));
    const mode = place.align === "index" ? "index" : "actions";
    const columns = E.align.alignRuns(steps, mode);
    const diverged = E.align.findDivergence(columns, steps);
    const names = runs.map((run) =>
      runs.every((one) => one.model !== run.model || one === run) ? run.model : run.run_id,
    );
    const roles = E.nameRuns(runs);
    const reference = runs.length === 2 ? "the baseline" : roles[0];
    const order = await orderTasks(runs, tables, place);

    const panes = runs.map((run, r) => {
      const row = rows[r];
      const stage = E.createStage("Screenshot of " + run.run_id);
      const words = el("div", { class: "pane-words" });
      const facts = row
        ? [
            E.formatQuantity(row.steps, "step"),
            E.isKnown(row.duration_seconds) ? E.formatDuration(row.duration_seconds) : null,
            E.isKnown(row.cost_usd) ? (row.uncosted_calls ? "≥ " : "") + E.formatMoney(row.cost_usd) : null,
          ]
            .filter(Boolean)
            .join(" · ")
        : "";
      const why = row && E.isUnsuccessful(row) ? row.error || row.reason : null;
      const node = el(
        "section",
        { class: "pane", "aria-label": run.run_id },
        el(
          "header",
          {},
          roles[r] === names[r] ? null : el("b", { class: "role" }, roles[r]),
          el(
            "div",
            { class: "pane-name" },
            el(
              "a",
              {
                class: "mono",
                title: run.run_id,
                href: row ? E.address.write({ run: run.run_id, task: place.task, attempt: place.attempt }) : null,
              },
              names[r],
            ),
            el(
              "div",
              { class: "quiet" },
              row ? E.createChip(row.outcome) : "not in this run",
              " ",
              facts,
              why ? el("span", { title: why }, " · " + why) : null,
            ),
          ),
        ),
        stage.node,
        words,
      );
      return { node, stage, words };
    });

    const play = E.createPlayer({
      length: () => columns.length,
      tick: (c) => ({ class: c === diverged ? "bad" : "" }),
      preview: (c) => {
        const r = columns[c].findIndex((position) => position !== null);
        const step = steps[r][columns[c][r]];
        return {
          url: step.thumbnail || step.screenshot,
          title:
            roles[r] + " " + (columns[c][r] + 1) + ": " + E.actions.describe(step.action || {}, 40),
        };
      },
      onmove: draw,
      extra: [
        el(
          "button",
          {
            type: "button",
            class: "trouble-button",
            disabled: diverged === null,
            title: "First divergence (d)",
            onclick: goToDivergence,
          },
          "≠ divergence",
        ),
      ],
    });
    function draw(c) {
      if (!columns.length) {
        panes.forEach((pane) => pane.stage.show(null));
        return;
      }
      const standing = E.align.classifyColumn(columns[c], steps);
      panes.forEach((pane, r) => {
        const position = columns[c][r];
        const before = findLast(c, r);
        pane.node.classList.toggle("differs", standing[r] === "differs" || standing[r] === "extra");
        if (position === null) {
          const over = before === steps[r].length - 1;
          // the screen at this moment is the one before the run's next step
          pane.stage.show(steps[r][findLater(c, r) ?? before] || null, {
            gap: !rows[r]
              ? "This run has not started the task."
              : over
                ? isRunning(r)
                  ? "Still running: this is its last step so far."
                  : "Finished: " + E.humanize(rows[r].outcome) + "."
                : "No matching step. The screenshot is that of its next step.",
          });
          const following = findLater(c, r);
          pane.words.replaceChildren(
            el("p", { class: "quiet" }, !rows[r] ? "" : over ? "After its last step." : "It " + describeNext(c, r) + "."),
            following === null
              ? ""
              : E.renderStepDetails(steps[r][following], {
                  brief: true,
                  title: "Its next step: " + (following + 1) + " of " + steps[r].length,
                }),
          );
          return;
        }
        E.preload(steps[r], position);
        pane.stage.show(steps[r][position]);
        const how =
          standing[r] === "differs"
            ? "another action than " + reference
            : standing[r] === "extra"
              ? "a step that " + reference + " does not have"
              : null;
        pane.words.replaceChildren(
          E.renderStepDetails(steps[r][position], {
            brief: true,
            title: el(
              "span",
              {},
              "Step " + (position + 1) + " of " + steps[r].length,
              how ? el("span", { class: "differs-word" }, " ≠ " + how) : null,
            ),
          }),
        );
      });
      const inRow = box.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
      for (const cell of box.querySelectorAll(".here")) {
        cell.classList.remove("here");
        E.setReachable(cell, false);
      }
      // the Tab key reaches the current column alone; the arrow keys lead to the others
      for (const line of box.querySelectorAll("tbody tr")) {
        line.children[c + 1].classList.add("here");
        E.setReachable(line.children[c + 1], true);
        if (line === inRow) E.focusControl(line.children[c + 1], 0);
      }
      scrollToColumn();
      const first = columns[c][0];
      E.address.update({
        step: first === null ? lastStep(c) : steps[0][first].step_idx,
        column: first === null ? c : null,
      });
      E.announce("Column " + (c + 1) + " of " + columns.length + (c === diverged ? ", the first divergence" : ""));
    }
    /** Scroll the current column into view. */
    function scrollToColumn() {
      const cell = box.querySelector("td.here");
      if (cell) box.scrollLeft = cell.offsetLeft - box.clientWidth / 2;
    }
    const isRunning = (r) => ["pending", "running"].includes(rows[r].outcome);
    const lastStep = (c) => {
      const before = findLast(c, 0);
      return before === null ? null : steps[0][before].step_idx;
    };
    function findLast(c, r) {
      for (let i = c; i >= 0; i--) if (columns[i][r] !== null) return columns[i][r];
      return null;
    }
    /** Describe what a run does after a column in which it has no step. */
    function describeNext(c, r) {
      const position = findLater(c, r);
      if (position === null) return isRunning(r) ? "no further step yet" : "finished";
      return "continues with step " + (position + 1) + ", " + E.actions.describe(steps[r][position].action || {}, 60);
    }
    function findLater(c, r) {
      return columns.slice(c).find((column) => column[r] !== null)?.[r] ?? null;
    }
    /** Describe where and how the runs diverge. */
    function describeDivergence() {
      if (diverged === null)
        return steps.some((one) => one.length) ? "All runs do the same to the end." : "No steps were recorded.";
      const column = columns[diverged];
      const does = (position, r) =>
        !rows[r]
          ? "task not started"
          : position === null
            ? describeNext(diverged, r)
            : E.actions.describe(steps[r][position].action || {}, 60);
      return [
        "They diverge at step " + (column.find((position) => position !== null) + 1) + ". ",
        column.map((position, r) => [el("b", {}, roles[r] + ": "), does(position, r), ". "]),
      ];
    }
    function goToDivergence() {
      if (diverged !== null) play.move(diverged);
    }
    function findStart(at) {
      if (at.column !== undefined && Number(at.column) < columns.length) return Number(at.column);
      if (at.step === undefined) return diverged ?? 0; // by default at the divergence
      const position = steps[0].findIndex((step) => String(step.step_idx) === at.step);
      return Math.max(
        0,
        columns.findIndex((column) => column[0] === position),
      );
    }
    const to = (changes) =>
      E.address.write({
        run: runs[0].run_id,
        with: runs.slice(1).map((run) => run.run_id),
        task: place.task,
        attempt: place.attempt,
        align: place.align,
        pick: place.pick,
        ...changes,
      });
    const renderModeLink = (value, label, title) =>
      el(
        "a",
        {
          class: "button",
          href: to({ align: value === "index" ? "index" : null, step: place.step }),
          "aria-current": mode === value ? "true" : null,
          title,
        },
        label,
      );
    const link = (task, label, title) =>
      task
        ? el("a", { class: "button", href: to({ task }), title }, label)
        : el("span", { class: "button", "aria-disabled": "true" }, label);
    const free = E.getRuns().filter((run) => !runs.includes(run));
    const add =
      free.length && runs.length < MOST
        ? el(
            "select",
            {
              "aria-label": "Add a run",
              onchange: (event) => {
                location.hash = to({ with: [...runs.slice(1).map((run) => run.run_id), event.target.value] });
              },
            },
            el("option", { value: "" }, "Add a run …"),
            free.map((run) => el("option", { value: run.run_id }, run.run_id)),
          )
        : null;
    const box = renderStrip(columns, steps, names, roles, diverged, (c) => play.move(c));
    const row = rows.find(Boolean);
    const node = el(
      "main",
      { class: "page compare-page", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", { class: "mono" }, place.task),
        el("span", { class: "tag" }, row.domain),
        el("span", { class: "grow" }),
        add,
        el(
          "span",
          { class: "buttons", role: "group", "aria-label": "Alignment" },
          renderModeLink("actions", "By actions", "Align by what the steps do (i)"),
          renderModeLink("index", "By number", "Align by the steps' numbers (i)"),
        ),
        el("span", { class: "quiet" }, order.at + 1 + " of " + E.formatCount(order.tasks.length)),
        el(
          "span",
          { class: "buttons" },
          link(order.tasks[order.at - 1], "‹ p", "Previous task (p)"),
          link(order.tasks[order.at + 1], "n ›", "Next task (n)"),
        ),
      ),
      renderInstructions(contents, row, roles),
      el("p", { class: "parting quiet" }, describeDivergence()),
      play.node,
      box,
      el(
        "div",
        { class: "panes", vars: { "--panes": String(runs.length) } },
        panes.map((pane) => pane.node),
      ),
    );
    play.reset(findStart(place));
    return {
      node,
      title: place.task,
      mounted: scrollToColumn,
      destroy() {
        play.stop();
        panes.forEach((pane) => pane.stage.destroy());
      },
      update(next) {
        const at = findStart(next);
        if (at !== play.position) play.move(at);
      },
      key(event) {
        if (play.key(event)) return true;
        if (event.key === "d" || event.key === "f") goToDivergence();
        else if (event.key === "z") panes.forEach((pane) => pane.stage.zoom());
        else if (event.key === "i") location.hash = to({ align: mode === "index" ? null : "index" });
        else if (event.key === "n" && order.tasks[order.at + 1])
          location.hash = to({ task: order.tasks[order.at + 1] });
        else if (event.key === "p" && order.tasks[order.at - 1])
          location.hash = to({ task: order.tasks[order.at - 1] });
        else return false;
        return true;
      },
    };
  }

  /** The tasks of the matrix that led here, in its order. */
  async function orderTasks(runs, tables, place) {
    const tasks = E.selectMatrixTasks(tables, place.pick).map((line) => line.task_id);
    const at = tasks.indexOf(place.task);
    if (at >= 0) return { tasks, at };
    const all = E.selectMatrixTasks(tables).map((line) => line.task_id);
    return { tasks: all, at: all.indexOf(place.task) };
  }

  Object.assign(E, { renderCompareView });
})();
