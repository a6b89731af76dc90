// The leaderboard of the exporter's page of runs: models, agents or tag values ranked, each compared with the best.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const MOST_VALUES = 30; // of a tag: each two are compared, which takes the server seconds
  const VERDICTS = {
    better: "better",
    worse: "worse",
    no_significant_difference: "no significant difference",
    too_few_tasks: "too few common tasks",
  };

  /** The part that holds the leaderboards by a grouping; its name is the grouping in hexadecimal, as it may be any text. */
  const partOf = (by) =>
    "leaderboard/" + Array.from(new TextEncoder().encode(by), (byte) => byte.toString(16).padStart(2, "0")).join("");

  const formatScore = (score) => String(+score.toFixed(3));
  const formatChange = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + formatScore(Math.abs(value));

  function createRate(row) {
    if (!E.isKnown(row.success_rate)) {
      const reasons = row.run_ids.map((id) => E.findRun(id)?.success_rate_reason).filter(Boolean);
      return E.createUnknown(reasons[0] || "nothing was measured");
    }
    const interval = E.isKnown(row.success_rate_low) ? [row.success_rate_low, row.success_rate_high] : null;
    return el("b", {}, E.formatRate(row.success_rate, interval));
  }

  function createScore(row) {
    if (!E.isKnown(row.mean_score)) return E.createUnknown("no scores");
    const range = E.isKnown(row.score_low) ? "95 % interval " + formatScore(row.score_low) + " to " + formatScore(row.score_high) : null;
    return el("span", { title: range }, formatScore(row.mean_score));
  }

  function whyNoCostPerSuccess(row) {
    if (!E.isKnown(row.cost_usd)) return "no cost is known";
    if (!row.cost_is_complete) return "some calls or machines have no known cost";
    return E.isKnown(row.success_rate) ? "nothing succeeded" : "no success rate is known";
  }

  function createCost(row) {
    if (!E.isKnown(row.cost_usd)) return E.createUnknown("no cost is known");
    if (row.cost_is_complete) return E.formatMoney(row.cost_usd);
    return el("span", { title: "plus calls or machines of unknown cost" }, "≥ " + E.formatMoney(row.cost_usd));
  }

  function createFront(row) {
    if (row.on_front) return el("b", { class: "on-front" }, el("span", { "aria-hidden": "true" }, "◆ "), "on the front");
    return E.isKnown(row.cost_per_success_usd) ? "" : E.createUnknown(whyNoCostPerSuccess(row));
  }

  /** The verdict on a row against the best one: on the success rate, or on the mean score where there are no rates. */
  function createVerdict(row, board) {
    const best = board.rows[0];
    if (row === best) return el("span", { class: "quiet" }, "the best");
    const pair = board.pairs.find((one) => one.baseline === best.name && one.candidate === row.name);
    if (!pair) return E.createUnknown("not compared");
    const rates = [row, best].every((one) => E.isKnown(one.success_rate));
    if (!rates && !pair.score_verdict) return E.createUnknown("no task was measured in both");
    const [verdict, p] = rates ? [pair.verdict, pair.p_value] : [pair.score_verdict, pair.score_p_value];
    const change = rates
      ? E.isKnown(pair.change)
        ? E.formatPoints(pair.change) + " points"
        : ""
      : E.isKnown(pair.score_change)
        ? formatChange(pair.score_change)
        : "";
    const range =
      rates && E.isKnown(pair.change_low) ? ", 95 % interval " + E.formatPoints(pair.change_low) + " to " + E.formatPoints(pair.change_high) : "";
    const title = "over " + E.formatQuantity(pair.paired_tasks, "common task") + range + ", p (Holm) " + E.formatPValue(p);
    return el("span", { title }, el("span", { class: "v-" + verdict }, VERDICTS[verdict] || E.humanize(verdict)), el("span", { class: "quiet" }, " " + change));
  }

  function createTable(board, label) {
    const columns = ["#", label, "success", "mean score", "cost", "per success", "tasks", "against the best", "Pareto front"];
    const titles = {
      success: "Mean over tasks, with its 95 % interval",
      cost: "Cost of model calls and machines",
      "per success": "Cost per success",
      tasks: "Tasks measured by any of the runs",
      "against the best": "Over the common tasks, corrected for the number of all pairs (Holm)",
      "Pareto front": "No other is at least as good and at most as expensive per success",
    };
    const isNumber = (at) => at !== 1 && at < 7;
    const row = (one) => [
      E.formatCount(one.rank),
      null,
      createRate(one),
      createScore(one),
      createCost(one),
      E.isKnown(one.cost_per_success_usd) ? E.formatMoney(one.cost_per_success_usd) : E.createUnknown(whyNoCostPerSuccess(one)),
      E.formatCount(one.tasks),
      createVerdict(one, board),
      createFront(one),
    ];
    return el(
      "div",
      { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Leaderboard of " + board.benchmark },
      el(
        "table",
        { class: "leaderboard" },
        el("caption", {}, board.benchmark, el("span", { class: "quiet" }, " " + E.formatQuantity(board.rows.length, label))),
        el(
          "thead",
          {},
          el("tr", {}, columns.map((name, at) => el("th", { scope: "col", class: isNumber(at) ? "number" : null, title: titles[name] }, name))),
        ),
        el(
          "tbody",
          {},
          board.rows.map((one) =>
            el(
              "tr",
              {},
              row(one).map((cell, at) =>
                at === 1
                  ? el("th", { scope: "row", class: "mono", title: one.name + ", " + E.formatQuantity(one.run_ids.length, "run") }, one.name)
                  : el("td", { class: isNumber(at) ? "number" : null }, cell),
              ),
            ),
          ),
        ),
      ),
    );
  }

  /** Create the foldable leaderboard. The fragment's `by` opens it and is its grouping, `board` its benchmark. */
  function createLeaderboard(place) {
    const runs = E.getRuns();
    const values = new Map(); // of each tag
    for (const run of runs)
      for (const [tag, value] of Object.entries(run.tags || {})) values.set(tag, (values.get(tag) || new Set()).add(value));
    const tags = [...values.keys()].filter((tag) => values.get(tag).size <= MOST_VALUES).sort();
    const groupings = [
      ["model", "model"],
      ...(runs.some((run) => run.agent) ? [["agent", "agent"]] : []),
      ...tags.map((tag) => ["tag:" + tag, "tag " + tag]),
    ];
    let by = "model",
      benchmark = "",
      turn = 0;
    const select = (label, onchange) => el("select", { "aria-label": label, onchange });
    const bySelect = select("Leaderboard by", (event) => change({ by: event.target.value }));
    const benchmarkSelect = select("Benchmark of the leaderboard", (event) => change({ by, board: event.target.value }));
    const holder = el("div", { class: "stacked" });
    const running = runs.filter((run) => run.state === "running").length;
    const panel = el(
      "details",
      { class: "leaderboards", ontoggle: followFold },
      el("summary", {}, el("h2", {}, "Leaderboard")),
      el(
        "div",
        { class: "filters" },
        bySelect,
        benchmarkSelect,
        el("span", { class: "quiet" }, "Finished runs only, with 95 % intervals" + (running ? "; " + E.formatQuantity(running, "run is", "runs are") + " still running" : "") + "."),
      ),
      holder,
    );
    const labelOf = () => groupings.find(([value]) => value === by)[1];

    function change(changes) {
      E.address.update(changes);
      read(E.address.current());
    }

    /** Write to the address whether the panel is open. */
    function followFold() {
      if (panel.open === Boolean(E.address.current().by)) return;
      change({ by: panel.open ? by : "", board: panel.open ? benchmark : "" });
    }

    /** Follow the address. */
    function read(from) {
      panel.open = Boolean(from.by);
      if (from.by) {
        by = groupings.some(([value]) => value === from.by) ? from.by : "model";
        benchmark = from.board || "";
        show();
      }
    }

    async function show() {
      const mine = ++turn;
      const setOptions = (node, options, chosen) =>
        node.replaceChildren(...options.map(([value, label]) => el("option", { value, selected: value === chosen }, E.shortenId(label))));
      setOptions(bySelect, groupings.map(([value, label]) => [value, "By " + label]), by);
      let found;
      try {
        found = (await E.load(partOf(by))).leaderboards;
      } catch {
        if (mine === turn) holder.replaceChildren(el("p", { class: "empty" }, "The leaderboard could not be loaded. Fold and unfold it to try again."));
        return;
      }
      if (mine !== turn) return; // another one was chosen in the meantime
      const names = found.map((board) => board.benchmark);
      if (!names.includes(benchmark)) benchmark = "";
      benchmarkSelect.hidden = names.length < 2;
      setOptions(benchmarkSelect, [["", "All benchmarks"], ...names.map((name) => [name, name])], benchmark);
      holder.replaceChildren(
        ...found.filter((board) => !benchmark || board.benchmark === benchmark).map((board) => createTable(board, labelOf())),
        ...(found.length ? [] : [el("p", { class: "empty" }, "No finished run has a " + labelOf() + ".")]),
      );
    }

    read(place);
    return { node: panel, read };
  }

  Object.assign(E, { createLeaderboard });
})();
