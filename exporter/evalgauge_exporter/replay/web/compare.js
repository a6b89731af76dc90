// Two to four runs on one task, in step: columns of what they did, aligned, with the first divergence marked.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const MOST = 4;

  /** The rows of the runs on this task; a run without it has null. */
  async function cast(place) {
    const ids = [place.run, ...(place.with || [])].filter((id, i, all) => all.indexOf(id) === i).slice(0, MOST);
    const found = ids.map(E.runOf);
    const lost = ids.find((_, i) => !found[i]);
    if (lost !== undefined) return { lost };
    const runs = found.filter((run, i) => found.indexOf(run) === i);
    const tables = await Promise.all(runs.map(E.tableOf));
    const rows = tables.map((table) => {
      const attempts = table.attempts.get(place.task) || [];
      return attempts.find((one) => String(one.attempt) === (place.attempt || "1")) || attempts[0] || null;
    });
    const contents = await Promise.all(rows.map((row) => (row ? E.attemptOf(row) : null)));
    return { runs, tables, rows, contents };
  }

  function strip(columns, runs, names, diverged, onpick) {
    const cells = runs.map(() => []);
    const heads = [];
    columns.forEach((column, c) => {
      const standing = E.align.standing(column, runs);
      heads.push(
        el(
          "th",
          { scope: "col", class: c === diverged ? "diverged" : null },
          c === diverged ? el("span", { title: "the first divergence" }, "≠") : "",
        ),
      );
      column.forEach((position, r) => {
        const step = position === null ? null : runs[r][position];
        const text = step
          ? names[r] +
            ", step " +
            (position + 1) +
            ": " +
            E.actions.describe(step.action || {}, 60) +
            (standing[r] === "same" ? "" : r ? ", not as the first run" : "")
          : names[r] + ": no such step";
        cells[r].push(
          el(
            "td",
            { class: "cell " + standing[r] },
            el(
              "button",
              { type: "button", title: text, "aria-label": text, onclick: () => onpick(c) },
              step ? E.actions.signOf(step.action) : "",
            ),
          ),
        );
      });
    });
    return el(
      "div",
      { class: "strip-box" },
      el(
        "table",
        { class: "strip" },
        el("thead", {}, el("tr", {}, el("td", {}), heads)),
        el(
          "tbody",
          {},
          runs.map((_, r) =>
            el("tr", {}, el("th", { scope: "row", title: names[r] }, String.fromCharCode(65 + r)), cells[r]),
          ),
        ),
      ),
    );
  }

  /** What the runs were told; where that differs, as it does with another seed, what each was told. */
  function instructions(contents, row) {
    const told = contents.map((content) => content?.instruction || null);
    const different = [...new Set(told.filter(Boolean))];
    if (different.length < 2)
      return el("p", { class: "instruction" }, different[0] || row.instruction || "No instruction was recorded.");
    return el(
      "p",
      { class: "instruction" },
      el("b", {}, "Told different things. "),
      told.map((one, r) => [el("b", {}, String.fromCharCode(65 + r) + ": "), one || E.NONE, " "]),
    );
  }

  async function compareView(place) {
    const found = await cast(place);
    if (found.lost !== undefined)
      return E.missing(
        "There is no run " + found.lost + " in this replay.",
        E.near(
          found.lost,
          E.runs().map((run) => run.run_id),
        ).map((id) => [id, E.address.write({ run: id })]),
        "#",
      );
    const { runs, tables, rows, contents } = found;
    if (!rows.some(Boolean))
      return E.missing(
        "None of these runs has the task " + place.task + ".",
        E.near(place.task, [...tables[0].attempts.keys()]).map((task) => [task, E.address.write({ ...place, task })]),
        E.address.write({ view: "matrix", run: runs[0].run_id, with: runs.slice(1).map((run) => run.run_id) }),
      );
    const steps = contents.map((content) => (content ? content.steps : []));
    const mode = place.align === "index" ? "index" : "actions";
    const columns = E.align.columns(steps, mode);
    const diverged = E.align.firstDivergence(columns, steps);
    const names = runs.map((run) =>
      runs.every((one) => one.model !== run.model || one === run) ? run.model : run.run_id,
    );
    const order = await pairing(runs, tables, place);

    const panes = runs.map((run, r) => {
      const row = rows[r];
      const stage = E.stage("Screenshot of " + run.run_id);
      const words = el("div", { class: "pane-words" });
      const facts = row
        ? [
            E.plural(row.steps, "step"),
            E.known(row.duration_seconds) ? E.duration(row.duration_seconds) : null,
            E.known(row.cost_usd) ? E.money(row.cost_usd) : null,
          ]
            .filter(Boolean)
            .join(" · ")
        : "";
      const why = row && E.unsuccessful(row) ? row.error || row.reason : null;
      const node = el(
        "section",
        { class: "pane", "aria-label": run.run_id },
        el(
          "header",
          {},
          el("b", { class: "letter" }, String.fromCharCode(65 + r)),
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
              row ? E.chip(row.outcome) : "not in this run",
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

    const play = E.player({
      length: () => columns.length,
      tick: (c) => ({ class: c === diverged ? "bad" : "" }),
      preview: (c) => {
        const r = columns[c].findIndex((position) => position !== null);
        const step = steps[r][columns[c][r]];
        return {
          url: step.thumbnail || step.screenshot,
          title:
            String.fromCharCode(65 + r) + " " + (columns[c][r] + 1) + ": " + E.actions.describe(step.action || {}, 40),
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
            onclick: diverge,
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
      const standing = E.align.standing(columns[c], steps);
      panes.forEach((pane, r) => {
        const position = columns[c][r];
        const before = lastBefore(c, r);
        pane.node.classList.toggle("differs", standing[r] === "differs" || standing[r] === "extra");
        if (position === null) {
          const over = before === steps[r].length - 1;
          // the screen as it is at this moment is the one before the run's next step
          pane.stage.show(steps[r][later(c, r) ?? before] || null, {
            gap: !rows[r]
              ? "This run has not done the task."
              : over
                ? goesOn(r)
                  ? "Goes on: this is as far as it has come."
                  : "Has ended: " + E.words(rows[r].outcome) + "."
                : "No such step in this run.",
          });
          pane.words.replaceChildren(
            el("p", { class: "quiet" }, !rows[r] ? "" : over ? "After its last step." : "It " + next(c, r) + "."),
          );
          return;
        }
        E.preload(steps[r], position);
        pane.stage.show(steps[r][position]);
        const how =
          standing[r] === "differs"
            ? "another action than A"
            : standing[r] === "extra"
              ? "a step that A does not have"
              : null;
        pane.words.replaceChildren(
          E.stepDetails(steps[r][position], {
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
      for (const cell of box.querySelectorAll(".here")) cell.classList.remove("here");
      for (const line of box.querySelectorAll("tbody tr")) line.children[c + 1].classList.add("here");
      follow();
      const first = columns[c][0];
      E.address.note({
        step: first === null ? lastStep(c) : steps[0][first].step_idx,
        column: first === null ? c : null,
      });
      E.announce("Column " + (c + 1) + " of " + columns.length + (c === diverged ? ", the first divergence" : ""));
    }
    /** Keep the column in sight. */
    function follow() {
      const cell = box.querySelector("td.here");
      if (cell) box.scrollLeft = cell.offsetLeft - box.clientWidth / 2;
    }
    const goesOn = (r) => ["pending", "running"].includes(rows[r].outcome);
    const lastStep = (c) => {
      const before = lastBefore(c, 0);
      return before === null ? null : steps[0][before].step_idx;
    };
    function lastBefore(c, r) {
      for (let i = c; i >= 0; i--) if (columns[i][r] !== null) return columns[i][r];
      return null;
    }
    /** What a run does after a column in which it does nothing. */
    function next(c, r) {
      const position = later(c, r);
      if (position === null) return goesOn(r) ? "has come no further yet" : "has ended";
      return "goes on with step " + (position + 1) + ", " + E.actions.describe(steps[r][position].action || {}, 60);
    }
    function later(c, r) {
      return columns.slice(c).find((column) => column[r] !== null)?.[r] ?? null;
    }
    /** Where and how the runs part, in a sentence. */
    function parting() {
      if (diverged === null)
        return steps.some((one) => one.length) ? "All do the same to the end." : "No steps were recorded.";
      const column = columns[diverged];
      const does = (position, r) =>
        !rows[r]
          ? "has not done the task"
          : position === null
            ? next(diverged, r)
            : E.actions.describe(steps[r][position].action || {}, 60);
      return [
        "They part at step " + (column.find((position) => position !== null) + 1) + ". ",
        column.map((position, r) => [el("b", {}, String.fromCharCode(65 + r) + ": "), does(position, r), ". "]),
      ];
    }
    function diverge() {
      if (diverged !== null) play.move(diverged);
    }
    function start(at) {
      if (at.column !== undefined && Number(at.column) < columns.length) return Number(at.column);
      if (at.step === undefined) return diverged ?? 0; // where they part is what one came for
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
    const turn = (value, label, title) =>
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
    const free = E.runs().filter((run) => !runs.includes(run));
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
    const box = strip(columns, steps, names, diverged, (c) => play.move(c));
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
          turn("actions", "By actions", "Align by what the steps do"),
          turn("index", "By number", "Align by the steps' numbers (i)"),
        ),
        el("span", { class: "quiet" }, order.at + 1 + " of " + E.count(order.tasks.length)),
        el(
          "span",
          { class: "buttons" },
          link(order.tasks[order.at - 1], "‹ p", "Task before (p)"),
          link(order.tasks[order.at + 1], "n ›", "Next task (n)"),
        ),
      ),
      instructions(contents, row),
      el("p", { class: "parting quiet" }, parting()),
      play.node,
      box,
      el(
        "div",
        { class: "panes", vars: { "--panes": String(runs.length) } },
        panes.map((pane) => pane.node),
      ),
    );
    play.reset(start(place));
    return {
      node,
      title: place.task,
      placed: follow,
      gone() {
        play.stop();
        panes.forEach((pane) => pane.stage.gone());
      },
      update(next) {
        const at = start(next);
        if (at !== play.position) play.move(at);
      },
      key(event) {
        if (play.key(event)) return true;
        if (event.key === "d" || event.key === "f") diverge();
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

  /** The tasks of the matrix that this one came from, in its order. */
  async function pairing(runs, tables, place) {
    const tasks = E.matrixTasks(tables, place.pick).map((line) => line.task_id);
    const at = tasks.indexOf(place.task);
    if (at >= 0) return { tasks, at };
    const all = E.matrixTasks(tables).map((line) => line.task_id);
    return { tasks: all, at: all.indexOf(place.task) };
  }

  Object.assign(E, { compareView });
})();
