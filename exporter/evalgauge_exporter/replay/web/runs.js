// The table of all runs of the replay.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const STATES = { running: "running", completed: "success", aborted: "interrupted", stalled: "failure" };
  const createStateChip = (run) =>
    el(
      "span",
      { class: "chip s-" + STATES[run.state] },
      el(
        "span",
        { class: "mark", "aria-hidden": "true" },
        run.state === "completed" ? "■" : run.state === "running" ? "▶" : "‖",
      ),
      " " + run.state,
    );

  const picked = new Set(); // survives a new rendering of the list while a run is running

  function renderRunsView() {
    const runs = [...E.getRuns()].reverse(); // the newest first
    const compare = el("a", { class: "button", "aria-disabled": "true" }, "Compare");
    const note = el(
      "span",
      { class: "quiet" },
      runs.length > 1 ? "Select two to four runs to see them side by side." : "",
    );
    function setPicked(run, on) {
      if (on) picked.add(run.run_id);
      else picked.delete(run.run_id);
      updateCompareLink();
    }
    function updateCompareLink() {
      const ids = E.getRuns()
        .map((one) => one.run_id)
        .filter((id) => picked.has(id));
      const fits = ids.length >= 2 && ids.length <= 4;
      compare.setAttribute("aria-disabled", String(!fits));
      if (fits) compare.setAttribute("href", E.address.write({ view: "matrix", run: ids[0], with: ids.slice(1) }));
      else compare.removeAttribute("href");
    }
    const node = el(
      "main",
      { class: "page", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", {}, E.formatQuantity(runs.length, "run")),
        el("span", { class: "grow" }),
        note,
        runs.length > 1 ? compare : null,
        runs.length > 1 ? el("a", { class: "button", href: E.address.write({ view: "tasks" }) }, "All tasks") : null,
      ),
      el(
        "div",
        { class: "scroll-x" },
        el(
          "table",
          { class: "runs" },
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              runs.length > 1 ? el("th", { scope: "col" }, el("span", { class: "hidden" }, "select")) : null,
              ["run", "model", "benchmark", "state"].map((name) => el("th", { scope: "col" }, name)),
              ["tasks", "success", "", "of all", "steps", "took", "cost", "started"].map((name) =>
                el("th", { scope: "col", class: "number" }, name),
              ),
            ),
          ),
          el(
            "tbody",
            {},
            runs.map((run) =>
              el(
                "tr",
                {},
                runs.length > 1
                  ? el(
                      "td",
                      {},
                      el("input", {
                        type: "checkbox",
                        "aria-label": "Compare " + run.run_id,
                        checked: picked.has(run.run_id),
                        onchange: (event) => setPicked(run, event.target.checked),
                      }),
                    )
                  : null,
                el("td", {}, el("a", { class: "mono", href: E.address.write({ run: run.run_id }) }, run.run_id)),
                el("td", { class: "mono" }, run.model),
                el("td", {}, run.benchmark),
                el("td", {}, createStateChip(run)),
                el(
                  "td",
                  { class: "number", "data-label": "tasks" },
                  E.formatCount(run.finished) + " of " + E.formatCount(run.total),
                ),
                el(
                  "td",
                  { class: "number", "data-label": "success" },
                  el("b", {}, E.formatRate(run.success_rate, run.interval)),
                ),
                el("td", { class: "bar-cell" }, E.charts.drawRateBar(run.success_rate, run.interval)),
                el("td", { class: "number", "data-label": "of all" }, E.formatPercent(run.success_rate_all)),
                el("td", { class: "number", "data-label": "steps" }, E.formatDecimal(run.avg_steps)),
                el("td", { class: "number", "data-label": "took" }, E.formatDuration(run.elapsed_seconds)),
                el(
                  "td",
                  { class: "number", "data-label": "cost" },
                  E.createCost(run.cost_usd, run.unpriced_calls + run.unknown_usage_calls, run.calls > 0),
                ),
                el("td", { class: "number", title: E.formatTime(run.started_at) }, E.formatAgo(run.started_at)),
              ),
            ),
          ),
        ),
      ),
      runs.length
        ? null
        : el(
            "p",
            { class: "empty" },
            "This replay contains no run. Generate it again with the folder of a run: evalgauge replay RUN_DIR --out DIR",
          ),
    );
    updateCompareLink();
    return { node, title: "runs" };
  }

  Object.assign(E, { renderRunsView, createStateChip });
})();
