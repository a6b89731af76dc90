// All runs of the replay, side by side in a table.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const STATES = { running: "running", completed: "success", aborted: "interrupted", stalled: "failure" };
  const stateChip = (run) =>
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

  const picked = new Set(); // kept when the list is drawn again because a run goes on

  function runsView() {
    const runs = [...E.runs()].reverse(); // the newest first
    const compare = el("a", { class: "button", "aria-disabled": "true" }, "Compare");
    const note = el(
      "span",
      { class: "quiet" },
      runs.length > 1 ? "Pick two to four runs to see them side by side." : "",
    );
    function pick(run, on) {
      if (on) picked.add(run.run_id);
      else picked.delete(run.run_id);
      offer();
    }
    function offer() {
      const ids = E.runs()
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
        el("h1", {}, E.plural(runs.length, "run")),
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
              runs.length > 1 ? el("th", { scope: "col" }, el("span", { class: "hidden" }, "pick")) : null,
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
                        onchange: (event) => pick(run, event.target.checked),
                      }),
                    )
                  : null,
                el("td", {}, el("a", { class: "mono", href: E.address.write({ run: run.run_id }) }, run.run_id)),
                el("td", { class: "mono" }, run.model),
                el("td", {}, run.benchmark),
                el("td", {}, stateChip(run)),
                el(
                  "td",
                  { class: "number", "data-label": "tasks" },
                  E.count(run.finished) + " of " + E.count(run.total),
                ),
                el(
                  "td",
                  { class: "number", "data-label": "success" },
                  el("b", {}, E.rate(run.success_rate, run.interval)),
                ),
                el("td", { class: "bar-cell" }, E.charts.rateBar(run.success_rate, run.interval)),
                el("td", { class: "number", "data-label": "of all" }, E.percent(run.success_rate_all)),
                el("td", { class: "number", "data-label": "steps" }, E.decimal(run.avg_steps)),
                el("td", { class: "number", "data-label": "took" }, E.duration(run.elapsed_seconds)),
                el(
                  "td",
                  { class: "number", "data-label": "cost" },
                  E.cost(run.cost_usd, run.unpriced_calls + run.unknown_usage_calls, run.calls > 0),
                ),
                el("td", { class: "number", title: E.time(run.started_at) }, E.ago(run.started_at)),
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
            "This replay holds no run. Make it again with the folder of a run: evalgauge replay RUN_DIR --out DIR",
          ),
    );
    offer();
    return { node, title: "runs" };
  }

  Object.assign(E, { runsView, stateChip });
})();
