// The comparison of a run with its baseline: verdicts in total and by domain, and the tasks lost and won.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;

  function renderRegressions(run, all, tables, place) {
    const baselines = all.filter((one) => one.b === run.run_id);
    if (!baselines.length)
      return el("p", { class: "quiet" }, "A comparison requires another run of the same benchmark in this replay.");
    const chosen =
      baselines.find((one) => one.a === place.with?.[0]) ||
      baselines.find((one) => one.a === run.baseline) ||
      [...baselines].sort((x, y) => y.paired - x.paired)[0];
    const pick = el(
      "select",
      {
        "aria-label": "Baseline",
        onchange: (event) => {
          location.hash = E.address.write({ ...place, with: [event.target.value] });
        },
      },
      baselines.map((one) => el("option", { value: one.a, selected: one === chosen }, one.a)),
    );
    const table = tables.find((one) => one.run.run_id === chosen.a),
      mine = tables.find((one) => one.run === run);
    const lost = table
      ? E.listMatrixLines([table, mine]).filter(
          (line) => line.cells[0]?.result === "won" && line.cells[1]?.result === "lost",
        )
      : [];
    const won = table
      ? E.listMatrixLines([table, mine]).filter(
          (line) => line.cells[0]?.result === "lost" && line.cells[1]?.result === "won",
        )
      : [];
    const links = (lines) =>
      lines
        .slice(0, 12)
        .map((line, i) => [
          i ? ", " : "",
          el(
            "a",
            { class: "mono", href: E.address.write({ run: chosen.a, with: [run.run_id], task: line.task_id }) },
            line.task_id,
          ),
        ]);
    const row = (name, one, strong) =>
      el(
        "tr",
        { class: strong ? "strong" : null },
        el("th", { scope: "row" }, name),
        el("td", { class: "number" }, E.formatCount(one.paired)),
        el("td", { class: "number" }, E.formatPercent(one.rate_a)),
        el("td", { class: "number" }, E.formatPercent(one.rate_b)),
        el(
          "td",
          { class: "number" },
          one.delta === null
            ? E.NONE
            : E.formatPoints(-one.delta) + " (" + E.formatPoints(-one.ci_high) + " to " + E.formatPoints(-one.ci_low) + ")",
        ),
        el(
          "td",
          { class: "bar-cell" },
          E.charts.drawDelta(
            one.delta === null ? null : -one.delta,
            one.ci_high === null ? null : -one.ci_high,
            one.ci_low === null ? null : -one.ci_low,
          ),
        ),
        el("td", { class: "number" }, E.formatPValue(one.p_value)),
        el("td", { class: "v-" + one.verdict }, E.humanize(one.verdict)),
      );
    return el(
      "div",
      {},
      el(
        "p",
        {},
        "Baseline: ",
        pick,
        " This run against it: ",
        el("b", { class: "verdict-word v-" + chosen.verdict }, E.describeVerdict(chosen)),
        " ",
        el(
          "span",
          { class: "quiet" },
          "(" +
            chosen.test +
            (chosen.finished ? "" : "; a run is still running, so the p-value is anytime-valid") +
            "; " +
            chosen.only_a +
            " tasks succeeded only in the baseline, " +
            chosen.only_b +
            " only in this run" +
            (chosen.noise_floor === null
              ? ""
              : "; repeats of one run differ by up to " + (chosen.noise_floor * 100).toFixed(1) + " points") +
            ")",
        ),
      ),
      el(
        "div",
        { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Comparison with the baseline" },
        el(
          "table",
          { class: "regressions" },
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              el("th", { scope: "col" }, "domain"),
              ["pairs", "baseline", "this run", "change, points"].map((name) => el("th", { scope: "col", class: "number" }, name)),
              el("td", {}),
              el("th", { scope: "col", class: "number", title: "Of domains: corrected for their number (Holm)" }, "p (Holm)"),
              el("th", { scope: "col" }, "verdict"),
            ),
          ),
          el(
            "tbody",
            {},
            row("all", chosen, true),
            chosen.domains.map((one) => row(one.domain, one)),
          ),
        ),
      ),
      lost.length
        ? el("p", {}, el("b", {}, "Lost (" + lost.length + "): "), links(lost), lost.length > 12 ? " …" : "")
        : null,
      won.length
        ? el("p", {}, el("b", {}, "Won (" + won.length + "): "), links(won), won.length > 12 ? " …" : "")
        : null,
      el(
        "p",
        {},
        el(
          "a",
          { class: "button", href: E.address.write({ view: "matrix", run: chosen.a, with: [run.run_id] }) },
          "All tasks side by side",
        ),
      ),
    );
  }

  Object.assign(E, { renderRegressions });
})();
