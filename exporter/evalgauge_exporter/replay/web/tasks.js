// The list of tasks with filters, counts and exports, of one run or of all.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const COLUMNS = [
    { key: "outcome", label: "outcome", sort: "outcome", width: "11.5rem" },
    { key: "task", label: "task", sort: "task", width: "minmax(9rem, 1.1fr)" },
    { key: "domain", label: "domain", sort: "domain", width: "8rem" },
    { key: "why", label: "instruction or failure", width: "minmax(0, 2fr)" },
    { key: "steps", label: "steps", sort: "steps", number: true, width: "4.5rem" },
    { key: "time", label: "time", sort: "duration", number: true, width: "6.5rem" },
    { key: "tokens", label: "tokens", sort: "tokens", number: true, width: "5.5rem" },
    { key: "cost", label: "model cost", sort: "cost", number: true, width: "7rem" },
  ];
  const RUN_COLUMN = { key: "run", label: "run", sort: "run", width: "minmax(8rem, .8fr)" };

  /** Create the filters, counts, exports and the list; `tables` are those of one or more runs. */
  function createTaskList(tables, place, onchange) {
    const all = tables.flatMap((table) => table.rows);
    const many = tables.length > 1;
    const want = {
      q: place.q || "",
      domain: place.domain || "",
      outcome: place.outcome || "",
      model: place.model || "",
      cluster: many ? "" : place.cluster || "",
      sort: place.sort || "",
    };
    const repeats = all.some((row) => row.attempt > 1);
    const unit = E.unitOf(all);
    let shown = [];

    const search = el("input", {
      type: "search",
      placeholder: "Search  /",
      "aria-label": "Search tasks: words of the id, domain, instruction, error or reason",
      value: want.q,
    });
    const select = (name, label) =>
      el("select", { "aria-label": label, onchange: (event) => change({ [name]: event.target.value }) });
    const domain = select("domain", "Domain"),
      outcome = select("outcome", "Outcome"),
      model = select("model", "Model"),
      cluster = select("cluster", "Cluster");
    const tally = el("p", { class: "tally", role: "status" });
    const clear = el(
      "button",
      {
        type: "button",
        onclick: () => {
          search.value = "";
          change({ q: "", domain: "", outcome: "", model: "", cluster: "" });
        },
      },
      "Clear",
    );
    const columns = many ? [COLUMNS[0], COLUMNS[1], RUN_COLUMN, ...COLUMNS.slice(2)] : COLUMNS;
    const list = E.createVirtualTable({
      columns,
      label: "Tasks",
      sorted: () => want.sort,
      onsort: (name) => change({ sort: name }),
      link: rowAddress,
      draw: renderCells,
      rowClass: (row) => "is-" + row.outcome,
      descendingFirst: ["steps", "duration", "tokens", "cost"],
    });
    list.node.classList.add("tasks-list");
    list.node.classList.toggle("many", many);

    function rowAddress(row) {
      return E.address.write({
        run: row.run.run_id,
        task: row.task_id,
        attempt: row.attempt > 1 ? row.attempt : null,
        domain: want.domain,
        outcome: want.outcome,
        q: want.q,
        cluster: want.cluster,
        sort: want.sort,
        with: many ? null : place.with,
      });
    }
    function renderCells(row) {
      const failed = E.isUnsuccessful(row);
      const why = failed ? row.error || row.reason || row.instruction : row.instruction;
      const name = el(
        "a",
        { class: "mono", href: rowAddress(row), title: row.task_id },
        row.task_id,
        repeats ? el("span", { class: "quiet" }, " #" + row.attempt) : null,
      );
      const tokens = row.tokens ? (E.sumInputTokens(row.tokens) || 0) + (row.tokens[3] || 0) : null;
      const found = {
        outcome: E.createChip(row.outcome),
        task: name,
        domain: row.domain,
        why: el(
          "span",
          { class: failed && (row.error || row.reason) ? null : "quiet", title: [why, row.instruction].filter(Boolean).join("\n") || null },
          why || "",
          failed && row.instruction && why !== row.instruction ? el("span", { class: "quiet" }, " · " + row.instruction) : null,
        ),
        steps:
          row.outcome === "pending"
            ? ""
            : E.formatCount(row.steps) + (row.max_steps && row.steps >= row.max_steps ? " max" : ""),
        time: E.isKnown(row.duration_seconds) ? E.formatDuration(row.duration_seconds) : E.createUnknown("not recorded"),
        tokens: E.isKnown(tokens) ? E.formatTokens(tokens) : E.createUnknown("none reported"),
        cost: E.createCost(row.cost_usd, row.uncosted_calls, Boolean(row.uncosted_calls)),
        run: el("span", { class: "mono quiet", title: row.run.run_id }, E.createId(row.run.run_id)),
      };
      return columns.map((column) => found[column.key]);
    }

    function updateOptions(node, name, first, counts, labels) {
      const values = [...counts.keys()].filter((value) => value !== null);
      if (want[name] && !values.map(String).includes(want[name]) && want[name] !== "unsuccessful")
        values.push(want[name]);
      node.replaceChildren(
        el("option", { value: "" }, first),
        ...values.map((value) =>
          el(
            "option",
            { value: String(value), selected: want[name] === String(value) },
            (labels ? labels(value) : value) + " (" + E.formatCount(counts.get(value) || 0) + ")",
          ),
        ),
      );
    }
    function redraw() {
      shown = E.sortRows(E.filterRows(all, want), want.sort);
      const text = (a, b) => (a[0] < b[0] ? -1 : 1);
      updateOptions(
        domain,
        "domain",
        "All domains",
        new Map([...E.countBy(E.filterRows(all, want, "domain"), (row) => row.domain)].sort(text)),
      );
      const without = E.filterRows(all, want, "outcome");
      const byOutcome = E.countBy(without, (row) => row.outcome);
      updateOptions(
        outcome,
        "outcome",
        "All outcomes",
        new Map(E.STATUSES.filter((status) => byOutcome.has(status)).map((status) => [status, byOutcome.get(status)])),
        (status) => (E.MARKS[status] || "·") + " " + E.humanize(status),
      );
      const lost = without.filter(E.isUnsuccessful).length;
      outcome.children[0].after(
        el(
          "option",
          { value: "unsuccessful", selected: want.outcome === "unsuccessful" },
          "Not successful (" + E.formatCount(lost) + ")",
        ),
      );
      const models = E.countBy(E.filterRows(all, want, "model"), (row) => row.run.model);
      updateOptions(model, "model", "All models", models);
      model.hidden = new Set(tables.map((table) => table.run.model)).size < 2;
      const clusters = many ? [] : tables[0].clusters;
      cluster.hidden = !clusters.length;
      const inClusters = E.countBy(E.filterRows(all, want, "cluster"), (row) => row.cluster);
      updateOptions(
        cluster,
        "cluster",
        "All failures",
        new Map(clusters.map((_, i) => [i, inClusters.get(i) || 0])),
        // a link may be older than the clusters
        (i) =>
          clusters[i] ? E.humanize(clusters[i].outcome) + ": " + clusters[i].label.slice(0, 60) : "no such failures",
      );
      const { won, measured, rate } = E.computeSuccessRate(shown);
      const hidden = tables.reduce((sum, table) => sum + Math.max(0, table.run.total - table.run.listed), 0);
      const filtered = Boolean(want.q || want.domain || want.outcome || want.model || want.cluster);
      tally.textContent =
        (filtered ? E.formatCount(shown.length) + " of " : "") +
        E.formatQuantity(all.length, unit) +
        (measured ? "; " + won + " of " + measured + " measured succeeded, " + E.formatPercent(rate) : "") +
        (hidden && !filtered ? "; " + E.formatCount(hidden) + " more not started" : "");
      clear.hidden = !filtered;
      const none = all.length
        ? "No " + unit + " matches the filters. Clear them to see all " + E.formatCount(all.length) + "."
        : "No task has started yet. Tasks appear here when the replay is generated again.";
      list.show(shown, none);
    }
    function change(changes) {
      Object.assign(want, changes);
      onchange(want);
      redraw();
    }
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ q: search.value.trim() }), 80);
    });
    const node = el(
      "section",
      { class: "tasks", "aria-label": "Tasks" },
      el(
        "div",
        { class: "filters" },
        search,
        outcome,
        domain,
        model,
        cluster,
        clear,
        el("span", { class: "grow" }),
        tally,
        E.createExportButtons(
          () => shown,
          () => (many ? "tasks" : tables[0].run.run_id),
        ),
      ),
      list.node,
    );
    redraw();
    return {
      node,
      destroy: list.destroy,
      update(next) {
        Object.assign(want, {
          q: next.q || "",
          domain: next.domain || "",
          outcome: next.outcome || "",
          model: next.model || "",
          cluster: next.cluster || "",
          sort: next.sort || "",
        });
        search.value = want.q;
        redraw();
      },
      key(event) {
        if (event.key === "/") {
          search.focus();
          search.select();
          return true;
        }
        if (event.key === "f") {
          const row = shown.find(E.isUnsuccessful);
          if (row) location.hash = rowAddress(row);
          return true;
        }
        if (event.key === "n" && shown.length) {
          location.hash = rowAddress(shown[0]);
          return true;
        }
        return false;
      },
    };
  }

  Object.assign(E, { createTaskList });
})();
