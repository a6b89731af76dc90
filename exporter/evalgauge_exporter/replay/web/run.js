// One run: how it went, what it cost, where it fails, and its tasks. Also the tasks of all runs.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;

  const stat = (name, value, note) =>
    el(
      "div",
      { class: "stat" },
      el("dt", {}, name),
      el("dd", {}, value),
      note ? el("p", { class: "quiet" }, note) : null,
    );

  function summary(run) {
    const measured = E.MEASURED.reduce((sum, name) => sum + run.outcomes[name], 0);
    const uncosted = run.unpriced_calls + run.unknown_usage_calls;
    return el(
      "dl",
      { class: "stats" },
      stat(
        "success rate",
        el("span", { class: "big" }, E.percent(run.success_rate)),
        run.interval
          ? Math.round(run.interval[0] * 100) +
              "–" +
              Math.round(run.interval[1] * 100) +
              " % at 95 %; " +
              run.outcomes.success +
              " of " +
              measured +
              " measured"
          : "nothing was measured yet",
      ),
      stat(
        "of all finished",
        el("span", { class: "big" }, E.percent(run.success_rate_all)),
        run.outcomes.success + " of " + run.finished,
      ),
      stat(
        "finished",
        el("span", { class: "big" }, E.count(run.finished)),
        "of " +
          E.plural(run.total, "task") +
          (run.elapsed_seconds
            ? (run.state === "running" ? ", so far in " : ", in ") + E.duration(run.elapsed_seconds)
            : ""),
      ),
      stat(
        "cost of model calls",
        el("span", { class: "big" }, E.cost(run.cost_usd, uncosted, run.calls > 0)),
        run.calls
          ? E.plural(run.calls, "call") +
              (uncosted ? ", " + E.count(uncosted) + " not priced" : "") +
              (run.cost_usd && run.outcomes.success
                ? "; " + (uncosted ? "≥ " : "") + E.money(run.cost_usd / run.outcomes.success) + " per success"
                : "")
          : null,
      ),
      stat(
        "tokens",
        el(
          "span",
          { class: "big" },
          run.tokens ? E.tokens(E.allInput(run.tokens)) : E.unknown("no model calls were recorded"),
        ),
        run.tokens
          ? "in; " +
              E.tokens(run.tokens[3]) +
              " out" +
              (run.tokens[1] ? "; " + E.percent(run.tokens[1] / E.allInput(run.tokens)) + " of the input cached" : "")
          : null,
      ),
      stat("steps", el("span", { class: "big" }, E.decimal(run.avg_steps)), "on average over measured tasks"),
    );
  }

  function domains(run, filtered) {
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
            el("td", { class: "bar-cell" }, E.charts.rateBar(one.success_rate, one.interval)),
            el("td", { class: "number" }, E.rate(one.success_rate, one.interval)),
            el("td", { class: "number quiet" }, (one.counts.success || 0) + " of " + measured),
          );
        }),
      ),
    );
  }

  /** The largest clusters of failures; the analysis has them all. */
  function causes(run, table) {
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
              el("a", { class: "number", href: E.address.write({ run: run.run_id, cluster: i }) }, E.count(one.count)),
              el(
                "span",
                { class: "chip s-" + one.outcome, title: E.words(one.outcome) },
                el("span", { class: "mark" }, E.MARKS[one.outcome]),
                el("span", { class: "hidden" }, E.words(one.outcome)),
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

  async function runView(place) {
    const run = E.runOf(place.run);
    const table = await E.tableOf(run);
    const filtered = (changes) => E.address.write({ run: run.run_id, with: place.with, ...changes });
    const tasks = E.taskList([table], place, (want) => E.address.note({ ...want }));
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
        E.stateChip(run),
        el(
          "span",
          { class: "quiet" },
          [run.model, run.agent, run.benchmark].filter((one) => one && one !== "unknown").join(" · "),
        ),
        el("span", { class: "grow" }),
        el(
          "span",
          { class: "quiet", title: E.time(run.started_at) },
          run.started_at ? "started " + E.ago(run.started_at) : "",
        ),
      ),
      E.index().only_task
        ? el("p", { class: "notice" }, "This page holds one task of the run; the figures are those of the whole run.")
        : null,
      summary(run),
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
              ? E.charts.outcomeBar(counts, (outcome) => filtered({ outcome, domain: "" }))
              : el("p", { class: "quiet" }, "No task has begun yet."),
          ),
          causes(run, table),
        ),
        run.domains.length ? el("div", { class: "capped" }, domains(run, filtered)) : null,
      ),
      tasks.node,
    );
    return { node, title: run.run_id, key: tasks.key, gone: tasks.gone, update: tasks.update };
  }

  async function allTasksView(place) {
    const tables = await Promise.all(E.runs().map(E.tableOf));
    const tasks = E.taskList(tables, place, (want) => E.address.note({ ...want }));
    const node = el(
      "main",
      { class: "page fill", id: "main" },
      el("div", { class: "bar-line" }, el("h1", {}, "All tasks of " + E.plural(tables.length, "run"))),
      tasks.node,
    );
    return { node, title: "all tasks", key: tasks.key, gone: tasks.gone, update: tasks.update };
  }

  Object.assign(E, { runView, allTasksView });
})();
