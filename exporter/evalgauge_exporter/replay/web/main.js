// The view of an address, and the frame around it.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const REFRESH_MS = 10000;
  let view = null,
    shown = "",
    turn = 0;

  /** Render a view for something that does not exist, with similar names. */
  function renderMissing(text, near, back) {
    return {
      node: el(
        "main",
        { class: "page", id: "main" },
        el("h1", {}, "Not found"),
        el("p", {}, text),
        near.length
          ? el(
              "p",
              {},
              "Did you mean ",
              near.map(([name, href], i) => [i ? ", " : "", el("a", { class: "mono", href }, name)]),
              "?",
            )
          : null,
        el("p", {}, el("a", { class: "button", href: back }, "Back")),
      ),
      title: "not found",
    };
  }
  Object.assign(E, { renderMissing });

  function chooseView(place) {
    const runs = E.getRuns();
    const lost = [place.run, ...(place.with || [])].find((id) => id !== undefined && !E.findRun(id));
    if (lost !== undefined)
      return () =>
        renderMissing(
          "There is no run " + lost + " in this replay.",
          E.findSimilar(
            lost,
            runs.map((run) => run.run_id),
          ).map((id) => [id, E.address.write({ run: id })]),
          "#",
        );
    if (place.view === "tasks") return E.renderAllTasksView;
    if (place.view === "matrix") return E.renderMatrixView;
    if (place.run === undefined && !place.view) place.run = E.getServed()?.run;
    if (place.run === undefined) {
      const list = place.view === "runs" || E.getServed()?.list || (runs.length !== 1 && place.task === undefined);
      if (list || !runs.length) return E.renderRunsView;
      place.run = runs[runs.length - 1].run_id; // the newest
    }
    if (place.view === "analysis") return E.renderAnalysisView;
    if (place.view === "search") return E.renderSearchView;
    if (place.task === undefined) return place.with?.length ? E.renderMatrixView : E.renderRunView;
    return place.with?.length ? E.renderCompareView : E.renderTaskView;
  }

  /** A text that is equal for two addresses of one view; that view handles their differences itself. */
  function viewKey(place, make) {
    const fixed =
      make === E.renderTaskView || make === E.renderCompareView ? place : { view: place.view, run: place.run, with: place.with };
    return JSON.stringify([make.name, fixed.view, fixed.run, fixed.with, fixed.task, fixed.attempt, fixed.align, fixed.tab]);
  }

  const panelKey = (panel) => panel.firstElementChild.textContent.replace(/\d+/g, "#");
  /** Record what is open and focused in a view; returns a function that restores it in a new rendering. */
  function captureState(node) {
    const open = new Set([...node.querySelectorAll("details[open]")].map(panelKey));
    const focused = document.activeElement;
    const trail = [];
    for (let at = focused; at !== node && node.contains(at); at = at.parentElement)
      trail.unshift([...at.parentElement.children].indexOf(at));
    return (next) => {
      for (const panel of next.querySelectorAll("details")) panel.open = open.has(panelKey(panel));
      const there = node.contains(focused) ? trail.reduce((at, i) => at?.children[i], next) : null;
      // a link at the same place of a list may lead to another task now
      if (there && ["tagName", "href"].every((one) => there[one] === focused[one])) there.focus({ preventScroll: true });
    };
  }

  async function route(force) {
    const mine = ++turn;
    const place = E.address.current();
    const make = chooseView(place);
    const same = viewKey(place, make);
    if (!force && same === shown && view?.update) return view.update(place);
    let next;
    try {
      next = await make(place);
    } catch (error) {
      next = renderMissing(error.message, [], "#");
    }
    if (mine !== turn) {
      next.destroy?.();
      return;
    } // the address has changed in the meantime
    view?.destroy?.();
    const kept = force && view ? [scrollY, view.node.querySelector(".list-view")?.scrollTop || 0] : [0, 0];
    const handle = force && same === shown && view ? captureState(view.node) : null;
    view = next;
    shown = same;
    document.title = view.title + (E.getServed()?.list ? " – evalgauge" : " – evalgauge replay");
    markBody(place);
    document.getElementById("app").replaceChildren(renderHeader(place), view.node);
    view.mounted?.();
    view.node.tabIndex = -1; // a screen reader continues where the new view begins
    if (!force) view.node.focus({ preventScroll: true });
    handle?.(view.node);
    scrollTo(0, kept[0]);
    const list = view.node.querySelector(".list-view");
    if (list && kept[1]) list.scrollTop = kept[1];
  }
  const markBody = (place) => document.body.classList.toggle("in-task", place.task !== undefined);

  function renderHeader(place) {
    const run = place.run === undefined ? null : E.findRun(place.run);
    const many = E.getRuns().length > 1;
    const served = E.getServed();
    const tab = (label, href, on) => el("a", { href, "aria-current": on ? "page" : null }, label);
    const ids = place.with?.length ? { run: place.run, with: place.with } : { run: place.run };
    // from a task to the same task side by side with the newest other run of the benchmark
    const others = E.getRuns().filter((one) => run && one !== run && one.benchmark === run.benchmark);
    const besides = place.task === undefined ? [] : place.with?.length ? place.with : others.slice(-1).map((one) => one.run_id);
    const runTab = run && !place.view && !place.task && !place.with?.length;
    return el(
      "header",
      { class: "top" },
      el(
        "a",
        {
          class: "skip",
          href: "#main",
          onclick: (event) => {
            event.preventDefault();
            document.querySelector("#main a, #main button, #main input")?.focus();
          },
        },
        "Skip to the content",
      ),
      el(
        "a",
        { class: "home", href: served ? served.home : "#", title: served ? "Live page" : many ? "All runs" : "The run" },
        "evalgauge",
        served?.list ? null : el("span", { class: "quiet" }, " replay"),
      ),
      run || many || served
        ? el(
            "nav",
            { "aria-label": "Views" },
            served?.list ? [tab("Live", served.home, false), tab("Wall", served.home + "wall", false)] : null,
            served && !served.list
              ? tab("Runs", served.home + "runs/", false)
              : many
                ? tab("Runs", "#view=runs", !run && (!place.view || place.view === "runs"))
                : null,
            run
              ? [
                  tab(
                    "Tasks",
                    E.address.write({
                      run: place.run,
                      domain: place.domain,
                      outcome: place.outcome,
                      q: place.q,
                      cluster: place.cluster,
                      sort: place.sort,
                    }),
                    runTab,
                  ),
                  tab("Analysis", E.address.write({ view: "analysis", run: place.run }), place.view === "analysis"),
                  tab("Search", E.address.write({ view: "search", run: place.run }), place.view === "search"),
                ]
              : served?.list
                ? null
                : tab("All tasks", E.address.write({ view: "tasks" }), place.view === "tasks"),
            many && !served?.list
              ? tab(
                  "Side by side",
                  E.address.write(
                    besides.length ? { run: place.run, with: besides, task: place.task } : { view: "matrix", ...ids, pick: place.pick },
                  ),
                  place.view === "matrix" || (place.with?.length && !place.task && !place.view),
                )
              : null,
          )
        : null,
      run && place.task !== undefined
        ? el(
            "a",
            { class: "crumb quiet mono", title: run.run_id, "aria-label": run.run_id, href: E.address.write({ run: run.run_id }) },
            E.createId(run.run_id),
          )
        : null,
      el("span", { class: "grow" }),
      served && run
        ? el("a", { class: "button", href: served.home + "?run=" + encodeURIComponent(run.run_id) }, "Live")
        : null,
      el("button", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: E.toggleHelp }, "?"),
    );
  }

  function handleKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
      if (event.key === "?" && document.querySelector("dialog[open]")) E.toggleHelp();
      return;
    }
    const target = event.target;
    const typing = target.matches?.("input[type=search], textarea, select, input[type=text]");
    if (typing) {
      if (event.key === "Escape") target.blur();
      return;
    }
    // a focused button or link keeps space and enter; the arrow keys of a slider do what ours do
    if ((event.key === " " || event.key === "Enter") && target.matches?.("button, a, summary, input[type=checkbox]"))
      return;
    if (event.key === "?") {
      E.toggleHelp();
      event.preventDefault();
      return;
    }
    const place = E.address.current();
    if (event.key === "u" && place.task !== undefined) {
      location.hash = E.address.write(
        place.with?.length
          ? { view: "matrix", run: place.run, with: place.with, pick: place.pick }
          : { ...place, task: null, step: null, attempt: null },
      );
      return;
    }
    if (view?.key?.(event)) event.preventDefault();
  }

  const SCROLLING = ".instruction, .reasoning, .verdict p, details pre, .result pre, .panes, .strip-box, h1";
  /** Let the keyboard reach the boxes whose content is longer than they are, as it reaches anything else that scrolls. */
  function keepScrollableReachable() {
    const overflows = (node) => node.scrollHeight > node.clientHeight + 1 || node.scrollWidth > node.clientWidth + 1;
    const look = () => {
      due = 0;
      for (const node of document.querySelectorAll(SCROLLING)) {
        if (overflows(node)) node.tabIndex = 0;
        // a node that loses its tabindex loses the focus with it, and the next Tab would begin at the top of the page
        else if (node !== document.activeElement) node.removeAttribute("tabindex");
      }
    };
    let due = 0;
    const soon = () => (due ||= setTimeout(look, 100));
    new MutationObserver(soon).observe(document.getElementById("app"), { childList: true, subtree: true });
    addEventListener("resize", soon);
    addEventListener("toggle", soon, true);
  }

  /** While a run is running and the page comes from a server: check regularly for changes. */
  function follow() {
    if (!location.protocol.startsWith("http")) return;
    let behind = false; // the page shows less than the server has, because a check failed half way
    const look = async () => {
      if (
        document.hidden ||
        !(behind || E.getRuns().some((run) => run.state === "running")) ||
        view?.busy?.() ||
        document.activeElement?.matches("input:not([type=range], [type=checkbox]), select") ||
        (document.body.classList.contains("in-task") && !view?.hasChanged)
      )
        return;
      const before = new Map(E.getRuns().map((run) => [run.run_id, run.version]));
      try {
        E.forget((name) => name !== "index");
        await E.loadIndex();
        const alike = E.getRuns().length === before.size && E.getRuns().every((run) => before.get(run.run_id) === run.version);
        if (alike && !behind) return;
        behind = true;
        E.forget((name) => name === "index");
        if (!view?.hasChanged || (await view.hasChanged())) await route(true);
        behind = false;
      } catch {
        /* the server does not respond: the page stays as it is */
      }
    };
    setInterval(look, REFRESH_MS);
    document.addEventListener("visibilitychange", look);
  }

  async function start() {
    document.body.append(el("div", { id: "said", class: "hidden", "aria-live": "polite" }));
    try {
      await E.loadIndex();
    } catch (error) {
      document.getElementById("app").replaceChildren(renderMissing(error.message, [], "#").node);
      return;
    }
    const { only_task: task } = E.getIndex();
    if (task && !location.hash) {
      const tables = await Promise.all(E.getRuns().map(E.loadTable));
      const having = tables.filter((table) => table.attempts.has(task));
      const [run, ...others] = having.map((table) => table.run.run_id);
      history.replaceState(null, "", E.address.write({ run, task, with: others.slice(0, 3) }));
    }
    addEventListener("hashchange", () => route(false));
    addEventListener("keydown", handleKey);
    keepScrollableReachable();
    await route(true);
    follow();
  }
  start();
})();
