// The view of one run: success, costs, failures and tasks. Also the view of all tasks.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;

  const renderStat = (name, value, note) =>
    el(
      "div",
      { class: "stat" },
      el("dt", {}, name),
      el("dd", {}, value),
      note ? el("dd", { class: "quiet" }, note) : null,
    );

  function renderSummary(run, table) {
    const repeated = E.unitOf(table.rows) === "attempt";
    const measured = E.MEASURED.reduce((sum, name) => sum + run.outcomes[name], 0);
    const uncosted = run.unpriced_calls + run.unknown_usage_calls;
    return el(
      "dl",
      { class: "stats" },
      renderStat(
        "success rate",
        el("span", { class: "big" }, E.formatPercent(run.success_rate)),
        run.interval
          ? Math.round(run.interval[0] * 100) +
              "–" +
              Math.round(run.interval[1] * 100) +
              " % at 95 %; " +
              run.outcomes.success +
              " of " +
              measured +
              " measured"
          : "nothing has been measured yet",
      ),
      renderStat(
        "of all finished",
        el("span", { class: "big" }, E.formatPercent(run.success_rate_all)),
        run.outcomes.success + " of " + run.finished,
      ),
      renderStat(
        "finished",
        el("span", { class: "big" }, E.formatCount(run.finished)),
        "of " +
          (repeated ? E.formatQuantity(run.total, "attempt") + " at " : "") +
          E.formatQuantity(repeated ? table.attempts.size : run.total, "task") +
          (run.elapsed_seconds
            ? (run.state === "running" ? ", so far in " : ", in ") + E.formatDuration(run.elapsed_seconds)
            : ""),
      ),
      renderStat(
        "model cost",
        el("span", { class: "big" }, E.createCost(run.cost_usd, uncosted, run.calls > 0)),
        run.calls
          ? E.formatQuantity(run.calls, "call") +
              (uncosted ? ", " + E.formatCount(uncosted) + " not priced" : "") +
              (run.cost_usd && run.outcomes.success
                ? "; " + (uncosted ? "≥ " : "") + E.formatMoney(run.cost_usd / run.outcomes.success) + " per success"
                : "")
          : null,
      ),
      renderStat(
        "tokens",
        el(
          "span",
          { class: "big" },
          run.tokens ? E.formatTokens(E.sumInputTokens(run.tokens)) : E.createUnknown("no model calls were recorded"),
        ),
        run.tokens
          ? "in; " +
              E.formatTokens(run.tokens[3]) +
              " out" +
              (run.tokens[1] ? "; " + E.formatPercent(run.tokens[1] / E.sumInputTokens(run.tokens)) + " of the input cached" : "")
          : null,
      ),
      renderStat("steps", el("span", { class: "big" }, E.formatDecimal(run.avg_steps)), "on average over measured tasks"),
    );
  }

  function renderDomains(run, filtered) {
    return el(
      "table",
      { class: "domains" },
      el("caption", {}, "Success by domain"),
      el(
        "tbody",
        {},
        run.domains.map((one) => {
          const measured = E.MEASURED.reduce((sum, name) => sum + (one.counts[name] || 0), 0);
          return el(
            "tr",
            {},
            el("th", { scope: "row" }, el("a", { href: filtered({ domain: one.domain, outcome: "" }) }, one.domain)),
            el("td", { class: "bar-cell" }, E.charts.drawRateBar(one.success_rate, one.interval)),
            el("td", { class: "number" }, E.formatRate(one.success_rate, one.interval)),
            el("td", { class: "number quiet" }, (one.counts.success || 0) + " of " + measured),
          );
        }),
      ),
    );
  }

  /** Render the largest clusters of failures; the analysis has all of them. */
  function renderCauses(run, table) {
    if (!table.clusters.length) return null;
    const most = 6;
    return el(
      "section",
      {},
      el("h2", {}, "What goes wrong"),
      el(
        "ul",
        { class: "causes" },
        table.clusters
          .slice(0, most)
          .map((one, i) =>
            el(
              "li",
              {},
              el(
                "a",
                {
                  class: "number",
                  href: E.address.write({ run: run.run_id, cluster: i }),
                  "aria-label": E.formatQuantity(one.count, E.unitOf(table.rows)) + ": " + one.label,
                },
                E.formatCount(one.count),
              ),
              el(
                "span",
                { class: "chip s-" + one.outcome, title: E.humanize(one.outcome) },
                el("span", { class: "mark" }, E.MARKS[one.outcome]),
                el("span", { class: "hidden" }, E.humanize(one.outcome)),
              ),
              el("span", { class: "label", title: one.label }, one.label),
            ),
          ),
      ),
      el(
        "p",
        {},
        el(
          "a",
          { href: E.address.write({ view: "analysis", run: run.run_id }) },
          table.clusters.length > most ? "All " + table.clusters.length + " kinds of failure" : "More in the analysis",
        ),
      ),
    );
  }

  async function renderRunView(place) {
    const run = E.findRun(place.run);
    const table = await E.loadTable(run);
    const filtered = (changes) => E.address.write({ run: run.run_id, with: place.with, ...changes });
    const tasks = E.createTaskList([table], place, (want) => E.address.update({ ...want }));
    const counts = {
      ...run.outcomes,
      ...Object.fromEntries(
        E.countBy(
          table.rows.filter((row) => row.outcome === "running" || row.outcome === "pending"),
          (row) => row.outcome,
        ),
      ),
    };
    const node = el(
      "main",
      { class: "page fill", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", { class: "mono" }, run.run_id),
        E.createStateChip(run),
        el(
          "span",
          { class: "quiet" },
          [run.model, run.agent, run.benchmark].filter((one) => one && one !== "unknown").join(" · "),
        ),
        el("span", { class: "grow" }),
        el(
          "span",
          { class: "quiet", title: E.formatTime(run.started_at) },
          run.started_at ? "started " + E.formatAgo(run.started_at) : "",
        ),
      ),
      E.getIndex().only_task
        ? el("p", { class: "notice" }, "This page contains one task of the run; the figures are those of the whole run.")
        : null,
      renderSummary(run, table),
      el(
        "div",
        { class: "split" },
        el(
          "div",
          { class: "stacked" },
          el(
            "section",
            {},
            el("h2", {}, "Outcomes"),
            table.rows.length
              ? E.charts.drawOutcomeBar(counts, (outcome) => filtered({ outcome, domain: "" }))
              : el("p", { class: "quiet" }, "No task has started yet."),
          ),
          renderCauses(run, table),
        ),
        run.domains.length ? el("div", { class: "capped", tabindex: "0", role: "region", "aria-label": "Domains" }, renderDomains(run, filtered)) : null,
      ),
      tasks.node,
    );
    return { node, title: run.run_id, key: tasks.key, destroy: tasks.destroy, update: tasks.update };
  }

  async function renderAllTasksView(place) {
    const tables = await Promise.all(E.getRuns().map(E.loadTable));
    const tasks = E.createTaskList(tables, place, (want) => E.address.update({ ...want }));
    const node = el(
      "main",
      { class: "page fill", id: "main" },
      el("div", { class: "bar-line" }, el("h1", {}, "All tasks of " + E.formatQuantity(tables.length, "run"))),
      tasks.node,
    );
    return { node, title: "all tasks", key: tasks.key, destroy: tasks.destroy, update: tasks.update };
  }

  Object.assign(E, { renderRunView, renderAllTasksView });
})();
