// The list of runs: search, filters, sorting, columns to choose, groups, and the choice of runs to compare.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const STATES = { running: "running", completed: "success", aborted: "interrupted", stalled: "failure" };
  const MOST = 4; // runs that are compared
  const STORED = "evalgauge-run-columns";
  const DAY = 86400;
  const PERIODS = [
    ["", "Any time", Infinity],
    ["1", "Last 24 h", DAY],
    ["7", "Last 7 days", 7 * DAY],
    ["30", "Last 30 days", 30 * DAY],
    ["90", "Last 90 days", 90 * DAY],
  ];

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

  /** Cut an id in the middle: its beginning and its end tell it apart. */
  function shortenId(id, length = 40) {
    if (id.length <= length) return id;
    const tail = Math.floor((length - 1) / 2);
    return id.slice(0, length - 1 - tail) + "…" + id.slice(-tail);
  }

  /** An id that is cut in its middle where there is no room for it. */
  function createId(id) {
    const tail = Math.min(14, Math.floor(id.length / 2));
    return el("span", { class: "id" }, el("span", { class: "id-head" }, id.slice(0, id.length - tail)), el("span", {}, id.slice(id.length - tail)));
  }

  const served = () => E.getIndex().served || null;
  /** The address of a run's tasks: within this site, or the run's own replay where the exporter lists the runs. */
  const runAddress = (run) =>
    served()?.list
      ? served().home + "replay/" + encodeURIComponent(run.run_id) + "/"
      : E.address.write({ run: run.run_id });
  /** The address of a run in the dashboards; null where none were configured. */
  const dashboardAddress = (run) => (/^https?:/.test(served()?.dashboard || "") ? served().dashboard + encodeURIComponent(run.run_id) : null);
  const createLink = (href, text, label) => (href ? [el("a", { href, "aria-label": label }, text), " "] : null);
  const liveAddress = (run) => served().home + "?run=" + encodeURIComponent(run.run_id);
  function compareAddress(ids) {
    const hash = E.address.write({ view: "matrix", run: ids[0], with: ids.slice(1) });
    if (!served()?.list) return hash;
    const others = ids.slice(1).map(encodeURIComponent).join(",");
    return served().home + "replay/" + encodeURIComponent(ids[0]) + "/with/" + others + "/" + hash;
  }

  const uncosted = (run) => run.unpriced_calls + run.unknown_usage_calls + (run.unpriced_machines || 0);
  const tagText = (run) =>
    Object.entries(run.tags || {})
      .map(([name, value]) => name + "=" + value)
      .join(", ");
  const COLUMNS = [
    { key: "run", label: "run", sort: "run", width: "minmax(10rem, 2fr)", always: true },
    { key: "model", label: "model", sort: "model", width: "minmax(7rem, 1.2fr)" },
    { key: "agent", label: "agent", sort: "agent", width: "minmax(6rem, .8fr)", off: true },
    { key: "benchmark", label: "benchmark", sort: "benchmark", width: "minmax(6rem, .8fr)" },
    { key: "state", label: "state", sort: "state", width: "7.5rem" },
    { key: "finished", label: "finished", sort: "finished", number: true, width: "6.5rem" },
    { key: "success", label: "success", sort: "success", number: true, width: "8.5rem" },
    { key: "all", label: "of all", title: "Successes of all finished attempts", sort: "all", number: true, width: "4.5rem", off: true },
    { key: "score", label: "mean score", sort: "score", number: true, width: "6rem", off: true },
    { key: "avg", label: "steps", sort: "avg", number: true, width: "4.5rem" },
    { key: "took", label: "took", sort: "took", number: true, width: "6rem" },
    { key: "spent", label: "model cost", title: "Cost of model calls", sort: "spent", number: true, width: "6.5rem" },
    { key: "tags", label: "tags", width: "minmax(6rem, 1fr)", off: true },
    { key: "source", label: "source", sort: "source", width: "6rem", off: true },
    { key: "started", label: "started", sort: "started", number: true, width: "7rem" },
  ];
  /** The columns; the exporter knows the machines of a run and so all of its cost, a site that of model calls. */
  const listColumns = () =>
    COLUMNS.map((column) =>
      column.key === "spent" && served()?.list
        ? { ...column, label: "cost", title: "Cost of model calls and machines" }
        : column,
    );
  const VALUES = {
    run: (run) => run.run_id,
    model: (run) => run.model,
    agent: (run) => run.agent || "",
    benchmark: (run) => run.benchmark,
    state: (run) => run.state,
    source: (run) => run.source,
    finished: (run) => run.finished,
    success: (run) => run.success_rate,
    all: (run) => run.success_rate_all,
    score: (run) => run.mean_score,
    avg: (run) => run.avg_steps,
    took: (run) => run.elapsed_seconds,
    spent: (run) => run.cost_usd,
    started: (run) => run.started_at,
  };
  const TEXTS = ["run", "model", "agent", "benchmark", "state", "source"];

  function sortRuns(runs, name) {
    const key = (name || "-started").replace(/^-/, "");
    const value = VALUES[key] || VALUES.started;
    const sign = (name || "-started").startsWith("-") ? -1 : 1;
    const known = (run) => (TEXTS.includes(key) ? true : E.isKnown(value(run)));
    return [...runs].sort((a, b) => {
      if (known(a) !== known(b)) return known(a) ? -1 : 1; // unknown values stay at the end
      if (!known(a)) return 0;
      return TEXTS.includes(key)
        ? sign * String(value(a)).localeCompare(String(value(b)), "en", { numeric: true })
        : sign * (value(a) - value(b));
    });
  }

  const groupOf = (run, group) => (group.startsWith("tag:") ? (run.tags || {})[group.slice(4)] ?? "no " + group.slice(4) : run[group]);

  function readColumns() {
    try {
      const stored = JSON.parse(localStorage.getItem(STORED));
      if (Array.isArray(stored)) return new Set(stored);
    } catch {
      /* no storage: the default columns */
    }
    return new Set(COLUMNS.filter((column) => !column.off).map((column) => column.key));
  }

  const picked = new Set(); // survives a new rendering of the list while a run is running

  function renderRunsView(place) {
    const runs = E.getRuns();
    const many = runs.length > 1;
    const want = {};
    const FILTERS = ["q", "model", "benchmark", "state", "tag", "since", "sort", "group"];
    const read = (from) => FILTERS.forEach((name) => (want[name] = from[name] || ""));
    read(place);
    const visible = readColumns();

    const compare = el("a", { class: "button", "aria-disabled": "true" }, "Compare");
    const note = el("span", { class: "quiet" });
    function setPicked(run, on) {
      if (on) picked.add(run.run_id);
      else picked.delete(run.run_id);
      updateCompareLink();
    }
    function updateCompareLink() {
      const ids = sortRuns(runs, "started")
        .map((run) => run.run_id)
        .filter((id) => picked.has(id));
      const fits = ids.length >= 2 && ids.length <= MOST;
      note.textContent = !many ? "" : ids.length ? ids.length + " selected" + (ids.length > MOST ? ", at most " + MOST : "") : "Select two to four runs to compare them.";
      compare.setAttribute("aria-disabled", String(!fits));
      if (fits) compare.setAttribute("href", compareAddress(ids));
      else compare.removeAttribute("href");
    }

    function drawCells(run) {
      const cells = {
        run: [
          el("a", { class: "mono", href: runAddress(run), title: "Replay of " + run.run_id, "aria-label": run.run_id }, createId(run.run_id)),
        ],
        links: served()?.list
          ? [
              createLink(liveAddress(run), "live", "Live page of " + run.run_id),
              createLink(dashboardAddress(run), "dashboards", "Dashboards of " + run.run_id),
            ]
          : null,
        model: el("span", { class: "mono", title: run.model }, run.model),
        agent: run.agent || "",
        benchmark: el("span", { title: run.benchmark }, run.benchmark),
        state: run.unreadable
          ? el("span", { class: "unreadable", title: run.unreadable }, "⚠ unreadable now")
          : createStateChip(run),
        finished: E.formatCount(run.finished) + " of " + E.formatCount(run.total),
        success: run.success_rate === null ? E.createUnknown(run.success_rate_reason || "nothing was measured") : el("b", {}, E.formatRate(run.success_rate, run.interval)),
        all: E.formatPercent(run.success_rate_all),
        score: E.isKnown(run.mean_score) ? el("span", run.scorer ? { title: "score of " + run.scorer } : {}, String(+run.mean_score.toFixed(3))) : E.createUnknown("no scores"),
        avg: E.formatDecimal(run.avg_steps),
        took: E.formatDuration(run.elapsed_seconds),
        spent: E.createCost(run.cost_usd, uncosted(run), run.calls > 0, Boolean(served()?.list)),
        tags: el("span", { class: "quiet", title: tagText(run) }, tagText(run)),
        source: run.source,
        started: el("span", { title: E.formatTime(run.started_at) }, E.formatAgo(run.started_at)),
        tick: el("input", {
          type: "checkbox",
          "aria-label": "Compare " + run.run_id,
          checked: picked.has(run.run_id),
          onchange: (event) => setPicked(run, event.target.checked),
        }),
      };
      return columns().map((column) => cells[column.key]);
    }
    const columns = () => [
      ...(many ? [{ key: "tick", label: el("span", { class: "hidden" }, "select"), width: "1.6rem" }] : []),
      ...listColumns().filter((column) => column.always || visible.has(column.key)),
      ...(served()?.list
        ? [{ key: "links", label: el("span", { class: "hidden" }, "views"), width: served().dashboard ? "8rem" : "2.6rem" }]
        : []),
    ];

    let list = null;
    const holder = el("div", { class: "runs-place" });
    function createList() {
      list?.destroy();
      list = E.createVirtualTable({
        columns: columns(),
        label: "Runs",
        sorted: () => want.sort,
        onsort: (name) => change({ sort: name }),
        descendingFirst: COLUMNS.filter((column) => column.number).map((column) => column.sort),
        link: (run) => runAddress(run),
        draw: drawCells,
        groupLabel: (row) => (row.group === undefined ? null : [el("b", {}, row.group), el("span", { class: "quiet" }, " " + E.formatQuantity(row.count, "run"))]),
        rowClass: (run) => (picked.has(run.run_id) ? "current" : ""),
      });
      list.node.classList.add("runs-list");
      holder.replaceChildren(list.node);
    }

    const search = el("input", {
      type: "search",
      placeholder: "Search  /",
      "aria-label": "Search runs: words of the id, model, agent, benchmark or tags",
      value: want.q,
      oninput: () => change({ q: search.value.trim() }),
    });
    const selects = {};
    function createSelect(name, label) {
      selects[name] = el("select", { "aria-label": label, onchange: (event) => change({ [name]: event.target.value }) });
      return selects[name];
    }
    const chooser = el(
      "details",
      {
        class: "chooser",
        onkeydown: (event) => {
          if (event.key !== "Escape") return;
          chooser.open = false;
          chooser.firstChild.focus();
        },
      },
      el("summary", { class: "button" }, "Columns"),
      el(
        "div",
        { class: "choices" },
        listColumns().filter((column) => !column.always).map((column) =>
          el(
            "label",
            {},
            el("input", {
              type: "checkbox",
              checked: visible.has(column.key),
              onchange: (event) => {
                if (event.target.checked) visible.add(column.key);
                else visible.delete(column.key);
                try {
                  localStorage.setItem(STORED, JSON.stringify([...visible]));
                } catch {
                  /* no storage: for this view alone */
                }
                createList();
                redraw();
              },
            }),
            " " + column.label,
          ),
        ),
      ),
    );
    const tally = el("p", { class: "tally", role: "status" });
    const clear = el("button", { type: "button", onclick: () => {
      search.value = "";
      change({ q: "", model: "", benchmark: "", state: "", tag: "", since: "" });
    } }, "Clear");

    const tags = [...new Set(runs.flatMap((run) => Object.keys(run.tags || {})))].sort();
    const texts = new Map(
      runs.map((run) => [run, [run.run_id, run.model, run.agent, run.benchmark, run.source, tagText(run)].join("\n").toLowerCase()]),
    );
    function matches(run, without) {
      const terms = want.q.toLowerCase().split(/\s+/).filter(Boolean);
      const period = PERIODS.find(([value]) => value === want.since) || PERIODS[0];
      return (
        terms.every((term) => texts.get(run).includes(term)) &&
        ["model", "benchmark", "state"].every((name) => name === without || !want[name] || run[name] === want[name]) &&
        (without === "tag" || !want.tag || tagText(run).split(", ").includes(want.tag)) &&
        (period[2] === Infinity || (run.started_at ?? 0) > E.getIndex().generated_at - period[2])
      );
    }
    function updateOptions(name, first, values) {
      const counts = E.countBy(values, (value) => value);
      if (want[name] && !counts.has(want[name])) counts.set(want[name], 0);
      const sorted = [...counts].sort((a, b) => (a[0] < b[0] ? -1 : 1));
      selects[name].hidden = sorted.length < 2 && !want[name];
      selects[name].replaceChildren(
        el("option", { value: "" }, first),
        ...sorted.map(([value, count]) => el("option", { value, selected: want[name] === value }, shortenId(value) + " (" + E.formatCount(count) + ")")),
      );
    }
    function redraw() {
      for (const [name, first] of [["model", "All models"], ["benchmark", "All benchmarks"], ["state", "All states"]])
        updateOptions(name, first, runs.filter((run) => matches(run, name)).map((run) => run[name]));
      updateOptions("tag", "All tags", runs.filter((run) => matches(run, "tag")).flatMap((run) => tagText(run).split(", ").filter(Boolean)));
      selects.since.replaceChildren(...PERIODS.map(([value, label]) => el("option", { value, selected: want.since === value }, label)));
      selects.group.replaceChildren(
        ...[["", "No groups"], ["model", "By model"], ["benchmark", "By benchmark"], ...tags.map((tag) => ["tag:" + tag, "By tag " + tag])].map(([value, label]) =>
          el("option", { value, selected: want.group === value }, label),
        ),
      );
      const found = sortRuns(runs.filter((run) => matches(run)), want.sort);
      let rows = found;
      if (want.group) {
        const groups = new Map();
        for (const run of found) {
          const name = groupOf(run, want.group);
          if (!groups.has(name)) groups.set(name, []);
          groups.get(name).push(run);
        }
        rows = [...groups].flatMap(([group, members]) => [{ group, count: members.length }, ...members]);
      }
      const filtered = found.length < runs.length;
      tally.textContent = filtered ? E.formatCount(found.length) + " of " + E.formatQuantity(runs.length, "run") : E.formatQuantity(runs.length, "run");
      clear.hidden = !filtered;
      list.show(
        rows,
        runs.length
          ? "No run matches the filters. Clear them to see all " + E.formatCount(runs.length) + "."
          : served()?.list
            ? "No runs yet. A run appears here as soon as it writes its first event."
            : "This replay contains no run. Generate it again with the folder of a run: evalgauge replay RUN_DIR --out DIR",
      );
    }
    function change(changes) {
      Object.assign(want, changes);
      E.address.update({ view: place.view, ...want });
      redraw();
    }
    const leaderboard = served()?.list && runs.length ? E.createLeaderboard(place) : null;
    const node = el(
      "main",
      { class: "page fill", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", {}, "Runs"),
        el("span", { class: "grow" }),
        note,
        many ? compare : null,
        many && !served()?.list ? el("a", { class: "button", href: E.address.write({ view: "tasks" }) }, "All tasks") : null,
      ),
      leaderboard?.node,
      el(
        "section",
        { class: "tasks", "aria-label": "Runs" },
        el(
          "div",
          { class: "filters" },
          search,
          createSelect("model", "Model"),
          createSelect("benchmark", "Benchmark"),
          createSelect("state", "State"),
          createSelect("tag", "Tag"),
          createSelect("since", "Started"),
          createSelect("group", "Group"),
          chooser,
          clear,
          el("span", { class: "grow" }),
          tally,
        ),
        holder,
      ),
    );
    createList();
    redraw();
    updateCompareLink();
    return {
      node,
      title: "runs",
      busy: () => chooser.open || document.activeElement === search,
      destroy: () => list.destroy(),
      update(next) {
        read(next);
        leaderboard?.read(next);
        search.value = want.q;
        redraw();
      },
      key(event) {
        if (event.key !== "/") return false;
        search.focus();
        search.select();
        return true;
      },
    };
  }

  Object.assign(E, { renderRunsView, createStateChip, createId, shortenId, getServed: served });
})();
