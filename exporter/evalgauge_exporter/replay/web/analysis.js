// The analysis of a run: clusters of failures, survival by step, mix of actions, hard tasks, comparison with a baseline.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const EXAMPLES = 3;

  function renderClusters(run, table) {
    if (!table.clusters.length)
      return el(
        "p",
        { class: "empty" },
        run.finished ? "No finished task was unsuccessful." : "No task has finished yet.",
      );
    const total = table.clusters.reduce((sum, one) => sum + one.count, 0);
    const examples = table.clusters.map(() => []);
    for (const row of table.rows) {
      if (row.cluster === null || examples[row.cluster].length >= EXAMPLES) continue;
      if (!examples[row.cluster].some((other) => other.task_id === row.task_id)) examples[row.cluster].push(row);
    }
    const most = Math.max(...table.clusters.map((one) => one.count));
    const unit = E.unitOf(table.rows);
    return el(
      "div",
      { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Table" },
      el(
        "table",
        { class: "clusters" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col", class: "number" }, unit + "s"),
            el("th", { scope: "col", class: "number" }, "share"),
            el("td", { class: "bar-cell" }),
            ["outcome", "what they have in common", "examples"].map((name) => el("th", { scope: "col" }, name)),
          ),
        ),
        el(
          "tbody",
          {},
          table.clusters.map((one, i) =>
            el(
              "tr",
              {},
              el(
                "td",
                { class: "number" },
                el(
                  "a",
                  {
                    href: E.address.write({ run: run.run_id, cluster: i }),
                    "aria-label": E.formatQuantity(one.count, unit) + ": " + one.label,
                  },
                  E.formatCount(one.count),
                ),
              ),
              el("td", { class: "number quiet" }, E.formatPercent(one.count / total)),
              el(
                "td",
                { class: "bar-cell" },
                el(
                  "div",
                  { class: "rate-bar", "aria-hidden": "true" },
                  el("span", { class: "fill s-" + one.outcome, vars: { width: (one.count / most) * 100 + "%" } }),
                ),
              ),
              el("td", {}, E.createChip(one.outcome)),
              el("td", {}, one.label),
              el(
                "td",
                {},
                examples[i].map((row, k) => [
                  k ? ", " : "",
                  el(
                    "a",
                    {
                      class: "mono",
                      href: E.address.write({
                        run: run.run_id,
                        task: row.task_id,
                        attempt: row.attempt > 1 ? row.attempt : null,
                        step: null,
                        cluster: i,
                      }),
                    },
                    row.task_id,
                  ),
                ]),
              ),
            ),
          ),
        ),
      ),
    );
  }

  function renderDifficulty(tables) {
    const lines = E.listMatrixLines(tables)
      .map((line) => {
        const won = line.cells.reduce((sum, cell) => sum + (cell ? cell.won : 0), 0),
          measured = line.cells.reduce((sum, cell) => sum + (cell ? cell.measured : 0), 0);
        return { ...line, won, measured, rate: measured ? won / measured : null };
      })
      .filter((line) => line.measured > 1);
    if (!lines.length)
      return el(
        "p",
        { class: "quiet" },
        "Difficulty requires tasks that were measured more than once: generate the replay with several runs or repeated attempts.",
      );
    const bands = [
      ["never solved", (rate) => rate === 0],
      ["below half", (rate) => rate > 0 && rate < 0.5],
      ["half or more", (rate) => rate >= 0.5 && rate < 1],
      ["always solved", (rate) => rate === 1],
    ].map(([label, fits]) => ({ label, lines: lines.filter((line) => fits(line.rate)) }));
    const most = Math.max(1, ...bands.map((band) => band.lines.length));
    const hardest = lines
      .filter((line) => line.rate < 1)
      .sort(
        (a, b) =>
          a.rate - b.rate || b.measured - a.measured || a.task_id.localeCompare(b.task_id, "en", { numeric: true }),
      )
      .slice(0, 12);
    const link = (line) => {
      const there = tables.filter((_, r) => line.cells[r]).map((table) => table.run.run_id);
      return E.address.write({ run: there[0], task: line.task_id, with: there.slice(1, 4) });
    };
    return el(
      "div",
      { class: "split" },
      el(
        "table",
        { class: "bands" },
        el("caption", {}, "Tasks by share of successes"),
        el(
          "tbody",
          {},
          bands.map((band) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, band.label),
              el(
                "td",
                { class: "bar-cell" },
                el(
                  "div",
                  { class: "rate-bar", "aria-hidden": "true" },
                  el("span", { class: "fill", vars: { width: (band.lines.length / most) * 100 + "%" } }),
                ),
              ),
              el("td", { class: "number" }, E.formatCount(band.lines.length)),
            ),
          ),
        ),
      ),
      el(
        "table",
        {},
        el("caption", {}, "Hardest tasks"),
        el(
          "tbody",
          {},
          hardest.map((line) =>
            el(
              "tr",
              {},
              el("td", {}, el("a", { class: "mono", href: link(line) }, line.task_id)),
              el("td", {}, line.domain),
              el("td", { class: "number" }, line.won + " of " + line.measured),
            ),
          ),
        ),
      ),
    );
  }

  async function renderAnalysisView(place) {
    const run = E.findRun(place.run);
    const [table, tables, found] = await Promise.all([
      E.loadTable(run),
      Promise.all(
        E.getRuns()
          .filter((one) => one.benchmark === run.benchmark)
          .slice(0, 12)
          .map(E.loadTable),
      ),
      E.load("comparisons"),
    ]);
    const failed = table.survival.reduce((sum, point) => sum + point[2], 0);
    const node = el(
      "main",
      { class: "page", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", { class: "mono" }, run.run_id),
        E.createStateChip(run),
        el("span", { class: "quiet" }, run.model),
      ),
      el("section", {}, el("h2", {}, "What goes wrong"), renderClusters(run, table)),
      el(
        "div",
        { class: "split wide" },
        el(
          "section",
          {},
          el("h2", {}, "When it goes wrong"),
          table.survival.length
            ? [
                el(
                  "p",
                  { class: "quiet" },
                  "Share of attempts that have not failed, by step (Kaplan–Meier estimate; successes are censored). " +
                    E.formatQuantity(failed, "failure") +
                    ".",
                ),
                E.charts.drawSurvival(table.survival),
                el(
                  "details",
                  {},
                  el("summary", {}, "As a table"),
                  el(
                    "table",
                    {},
                    el(
                      "thead",
                      {},
                      el(
                        "tr",
                        {},
                        ["after step", "still running", "failed", "not failed"].map((name) =>
                          el("th", { scope: "col", class: "number" }, name),
                        ),
                      ),
                    ),
                    el(
                      "tbody",
                      {},
                      table.survival.map(([step, atRisk, lost, share]) =>
                        el(
                          "tr",
                          {},
                          [E.formatCount(step), E.formatCount(atRisk), E.formatCount(lost), E.formatPercent(share)].map((text) =>
                            el("td", { class: "number" }, text),
                          ),
                        ),
                      ),
                    ),
                  ),
                ),
              ]
            : el("p", { class: "quiet" }, "No task has been measured yet."),
        ),
        el(
          "section",
          {},
          el("h2", {}, "Actions of failed attempts"),
          table.action_mix.length
            ? [
                el("p", { class: "quiet" }, "Each type of action as a share of all steps."),
                E.charts.drawMix(table.action_mix),
              ]
            : el("p", { class: "quiet" }, "No steps were recorded."),
        ),
      ),
      el("section", {}, el("h2", {}, "Against a baseline"), E.renderRegressions(run, found.comparisons, tables, place)),
      el("section", {}, el("h2", {}, "Hard tasks"), renderDifficulty(tables)),
    );
    return { node, title: "analysis of " + run.run_id };
  }

  Object.assign(E, { renderAnalysisView });
})();
