// The matrix of tasks × runs: which run succeeded on which task.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;

  /** Name compared runs in their order: a pair by the roles of its two, more by their models, or ids where a model repeats. */
  function nameRuns(runs) {
    if (runs.length === 2) return ["baseline", "this run"];
    const models = new Set(runs.map((run) => run.model));
    return runs.map((run) => (models.size === runs.length ? run.model : E.shortenId(run.run_id, 24)));
  }

  /** One line for each task with its result in each run: won, lost, mixed or open; null where a run has no such task. */
  function listMatrixLines(tables) {
    const tasks = new Map();
    tables.forEach((table, r) => {
      for (const [task_id, rows] of table.attempts) {
        if (!tasks.has(task_id)) tasks.set(task_id, { task_id, domain: rows[0].domain, cells: tables.map(() => null) });
        const measured = rows.filter((row) => E.MEASURED.includes(row.outcome));
        const won = measured.filter((row) => row.outcome === "success").length;
        tasks.get(task_id).cells[r] = {
          rows,
          won,
          measured: measured.length,
          result: !measured.length ? "open" : won === measured.length ? "won" : won ? "mixed" : "lost",
        };
      }
    });
    return [...tasks.values()];
  }

  const listResults = (line) => line.cells.map((cell) => (cell ? cell.result : null));
  const isMeasuredInAll = (line) => listResults(line).every((one) => ["won", "lost", "mixed"].includes(one));
  /** The selections of tasks: [name, label, predicate]. */
  function listPicks(runs) {
    const count = runs.length;
    const names = nameRuns(runs);
    const found = [
      ["", "all", () => true],
      [
        "both-lost",
        count === 2 ? "both failed" : "all failed",
        (line) => isMeasuredInAll(line) && listResults(line).every((one) => one === "lost"),
      ],
      [
        "both-won",
        count === 2 ? "both succeeded" : "all succeeded",
        (line) => isMeasuredInAll(line) && listResults(line).every((one) => one === "won"),
      ],
    ];
    for (let r = 0; r < count; r++) {
      found.push([
        "only-lost-" + r,
        "only " + names[r] + " failed",
        (line) => isMeasuredInAll(line) && listResults(line).every((one, i) => (i === r ? one === "lost" : one !== "lost")),
      ]);
      if (count > 2)
        found.push([
          "only-won-" + r,
          "only " + names[r] + " succeeded",
          (line) => isMeasuredInAll(line) && listResults(line).every((one, i) => (i === r ? one === "won" : one !== "won")),
        ]);
    }
    found.push(["unmeasured", "not measured in each", (line) => !isMeasuredInAll(line)]);
    return found;
  }

  function selectMatrixTasks(tables, pick) {
    const fits = (listPicks(tables.map((table) => table.run)).find(([name]) => name === (pick || "")) || [null, null, () => true])[2];
    return listMatrixLines(tables)
      .filter(fits)
      .sort((a, b) => a.task_id.localeCompare(b.task_id, "en", { numeric: true }));
  }

  function renderCell(cell) {
    if (!cell) return el("span", { class: "unknown", title: "not in this run" }, E.NONE);
    if (cell.rows.length === 1) return E.createChip(cell.rows[0].outcome);
    const status =
      cell.result === "won"
        ? "success"
        : cell.result === "lost"
          ? "failure"
          : cell.result === "mixed"
            ? "infrastructure_error"
            : cell.rows[0].outcome;
    return el("span", { class: "chip s-" + status }, cell.won + " of " + cell.measured);
  }

  function describeVerdict(found) {
    const words = {
      better: "better",
      worse: "worse",
      no_significant_difference: "no significant difference",
      too_few_tasks: "too few common tasks",
    };
    return (
      words[found.verdict] +
      (found.delta === null
        ? ""
        : ": " +
          E.formatPoints(-found.delta) +
          " points (" +
          E.formatPoints(-found.ci_high) +
          " to " +
          E.formatPoints(-found.ci_low) +
          "), " +
          formatTest(found.p_value))
    );
  }
  const formatPValue = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  const formatTest = (p) => "p " + (p < 0.001 ? "" : "= ") + formatPValue(p);

  async function renderMatrixView(place) {
    const ids = [place.run, ...(place.with || [])].filter(Boolean);
    let runs = (ids.length ? ids.map(E.findRun) : E.getRuns()).filter((run, i, all) => run && all.indexOf(run) === i);
    if (runs.length === 1)
      runs = [
        ...runs,
        ...E.getRuns().filter((run) => run !== runs[0] && run.benchmark === runs[0].benchmark),
        ...E.getRuns().filter((run) => run !== runs[0] && run.benchmark !== runs[0].benchmark),
      ];
    runs = runs.slice(0, 8);
    const tables = await Promise.all(runs.map(E.loadTable));
    const all = listMatrixLines(tables);
    const want = { pick: place.pick || "", q: place.q || "" };
    const names = nameRuns(runs);
    const link = (line) => {
      const there = runs.filter((_, r) => line.cells[r]);
      return E.address.write({
        run: there[0].run_id,
        with: there.slice(1, 4).map((run) => run.run_id),
        task: line.task_id,
        pick: there.length === runs.length ? want.pick : "",
      });
    };
    const columns = [
      { key: "task", label: "task", width: "minmax(9rem, 1.2fr)" },
      { key: "domain", label: "domain", width: "8rem" },
      ...runs.map((run, r) => ({ key: "result", label: names[r], title: run.run_id, width: "minmax(3.5rem, 1fr)" })),
    ];
    const list = E.createVirtualTable({
      columns,
      label: "Tasks by runs",
      link,
      sorted: () => "",
      onsort: () => {},
      draw: (line) => [
        el("a", { class: "mono", href: link(line), title: line.task_id }, line.task_id),
        line.domain,
        ...line.cells.map(renderCell),
      ],
    });
    list.node.classList.add("matrix");
    const buttons = listPicks(runs).map(([name, label, fits]) => {
      const button = el(
        "button",
        { type: "button", onclick: () => change({ pick: name }) },
        label + " ",
        el("b", {}, E.formatCount(all.filter(fits).length)),
      );
      button.dataset.pick = name;
      return button;
    });
    const search = el("input", {
      type: "search",
      placeholder: "Search  /",
      "aria-label": "Search tasks",
      value: want.q,
      oninput: () => change({ q: search.value.trim() }),
    });
    const tally = el("p", { class: "tally", role: "status" });
    function redraw() {
      const terms = want.q.toLowerCase().split(/\s+/).filter(Boolean);
      const shown = selectMatrixTasks(tables, want.pick).filter((line) =>
        terms.every((term) => (line.task_id + " " + line.domain).toLowerCase().includes(term)),
      );
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.pick === want.pick));
      tally.textContent = E.formatQuantity(shown.length, "task");
      list.show(shown, "No task matches.");
      return shown;
    }
    function change(changes) {
      Object.assign(want, changes);
      E.address.update({ pick: want.pick, q: want.q });
      redraw();
    }
    redraw();
    const compared =
      runs.length === 2
        ? (await E.load("comparisons")).comparisons.find((one) => one.a === runs[0].run_id && one.b === runs[1].run_id)
        : null;
    const createRunLink = (run) => el("a", { class: "mono", href: E.address.write({ run: run.run_id }) }, run.run_id);
    const node = el(
      "main",
      { class: "page fill", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", {}, "Side by side"),
        compared ? el("span", { class: "verdict-word v-" + compared.verdict }, "This run against the baseline: " + describeVerdict(compared)) : null,
      ),
      el(
        "table",
        { class: "cast" },
        el(
          "tbody",
          {},
          runs.map((run, r) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, runs.length === 2 || names[r] === run.model ? names[r] : createRunLink(run)),
              el("td", {}, runs.length === 2 || names[r] === run.model ? createRunLink(run) : null),
              el("td", { class: "mono quiet" }, run.model),
              el("td", { class: "number" }, E.formatRate(run.success_rate, run.interval)),
              el(
                "td",
                {},
                runs.length > 2
                  ? el(
                      "a",
                      {
                        class: "button small",
                        title: "Remove",
                        "aria-label": "Remove " + run.run_id,
                        href: E.address.write({
                          view: "matrix",
                          run: runs.filter((one) => one !== run)[0].run_id,
                          with: runs
                            .filter((one) => one !== run)
                            .slice(1)
                            .map((one) => one.run_id),
                        }),
                      },
                      "✕",
                    )
                  : null,
              ),
            ),
          ),
        ),
      ),
      el(
        "section",
        { class: "tasks" },
        el(
          "div",
          { class: "filters" },
          search,
          el("span", { class: "buttons", role: "group", "aria-label": "Which tasks" }, buttons),
          el("span", { class: "grow" }),
          tally,
        ),
        list.node,
      ),
    );
    return {
      node,
      title: "side by side",
      destroy: list.destroy,
      key(event) {
        if (event.key === "/") {
          search.focus();
          return true;
        }
        if (event.key === "n" && list.rows().length) {
          location.hash = link(list.rows()[0]);
          return true;
        }
        return false;
      },
      update(next) {
        Object.assign(want, { pick: next.pick || "", q: next.q || "" });
        search.value = want.q;
        redraw();
      },
    };
  }

  Object.assign(E, { renderMatrixView, nameRuns, selectMatrixTasks, listMatrixLines, describeVerdict, formatPValue });
})();
