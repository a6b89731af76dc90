// The view of one task: its screenshots step by step, its actions and reasoning, and its result.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  let marking = true; // survives a new rendering while the task is running
  const MOST_ELSEWHERE = 8; // newest other runs whose result on the task is shown

  /** The previous and the next task in the list that led here. */
  function findNeighbours(table, place, row) {
    const rows = E.sortRows(E.filterRows(table.rows, place), place.sort);
    let at = rows.indexOf(row);
    const list = at < 0 ? table.rows : rows;
    if (at < 0) at = table.rows.indexOf(row);
    return { before: list[at - 1], after: list[at + 1], at, list, count: list.length, filtered: list !== table.rows };
  }

  /** Describe the first sign of trouble, checked in the order of the replay's generator. */
  function describeTrouble(step) {
    if (E.actions.getKind(step.action) === "error") return "the agent reports an error";
    if (step.correct === false) return "the first action is wrong";
    if ((step.calls || []).some((call) => call.status === "error")) return "a model call failed";
    return "a loop begins";
  }

  /** The position after which no action changed the screen; null where the last but one did. */
  function findStuckStep(steps) {
    let from = steps.length - 1; // there is no screenshot after the last step
    while (from > 0 && steps[from - 1].changed === false) from--;
    return steps.length - 1 - from > 1 ? from : null;
  }

  /** Render target, answer and scores, where they were recorded. */
  function renderResult(content) {
    const texts = [
      ["Target", content.target],
      ["Answer", content.answer],
    ].filter(([, text]) => text !== undefined && text !== null);
    const scores = Object.entries(content.scores || {});
    if (!texts.length && scores.length < 2) return null;
    return el(
      "section",
      { class: "result", "aria-label": "Target, answer and scores" },
      texts.map(([name, text]) => [el("h2", { class: "small" }, name), text === "" ? el("p", { class: "quiet" }, "empty") : E.foldText(text)]),
      scores.length
        ? [el("h2", { class: "small" }, "Scores"), E.renderFacts(scores.map(([name, score]) => [name, String(+score.toFixed(4))]))]
        : null,
    );
  }

  /** Render the outcome and its reasons; `onstep(i)` shows a step, `elsewhere` is the last line. */
  function renderVerdict(row, content, onstep, elsewhere) {
    const limit = row.max_steps && row.steps >= row.max_steps;
    const steps = content ? content.steps : [];
    const last = steps.length ? steps[steps.length - 1] : null;
    const terminal = last && ["done", "error"].includes(E.actions.getKind(last.action)) ? last : null;
    const stepLink = (i) =>
      el("button", { type: "button", class: "plain", onclick: () => onstep(i) }, "step " + (i + 1));
    const failed = E.isUnsuccessful(row);
    const says = [];
    if (row.error) says.push(el("p", { class: "error-text" }, el("b", {}, "Error: "), row.error));
    if (row.reason && row.reason !== row.error) says.push(el("p", {}, el("b", {}, "Evaluator: "), row.reason));
    if (terminal)
      says.push(
        el(
          "p",
          {},
          el("b", {}, "Agent: "),
          "ended the task with “" + E.actions.getType(terminal.action) + "”",
          E.actions.getText(terminal.action) ? ": " + E.actions.getText(terminal.action) : "",
          failed && steps.length === 1 ? " as its first action" : "",
          row.outcome === "failure" && E.actions.getKind(terminal.action) === "done"
            ? ", but the evaluator disagrees"
            : "",
        ),
      );
    if (limit) says.push(el("p", {}, el("b", {}, "Step limit: "), "reached after " + E.formatQuantity(row.steps, "step")));
    if (content?.loop)
      says.push(
        el(
          "p",
          {},
          el("b", {}, "Loop: "),
          "from ",
          stepLink(content.loop.start),
          " the same " +
            (content.loop.period === 1 ? "action" : content.loop.period + " actions") +
            " " +
            content.loop.rounds +
            " times",
        ),
      );
    const stuck = failed ? findStuckStep(steps) : null;
    if (stuck !== null)
      says.push(el("p", {}, el("b", {}, "Screen: "), "unchanged from ", stepLink(stuck), " on"));
    const trouble = content?.trouble ?? null;
    if (failed && trouble !== null && trouble !== content.loop?.start && steps[trouble] !== terminal)
      says.push(
        el("p", {}, el("b", {}, "First sign of trouble: "), stepLink(trouble), ", " + describeTrouble(steps[trouble])),
      );
    if (!says.length)
      says.push(
        el(
          "p",
          { class: "quiet" },
          row.outcome === "pending"
            ? "The task has not started."
            : row.outcome === "running"
              ? "The task is running."
              : "Neither an error nor a reason was recorded.",
        ),
      );
    return el(
      "section",
      { class: "verdict is-" + row.outcome, "aria-label": "Result" },
      el(
        "div",
        { class: "bar-line" },
        E.createChip(row.outcome),
        E.isKnown(row.score) ? el("span", { class: "quiet" }, "score " + +row.score.toFixed(3)) : null,
      ),
      says,
      elsewhere,
    );
  }

  function listEvents(content) {
    const begin = content.started_at ?? content.steps[0]?.ts ?? 0;
    const lines = [];
    const add = (ts, level, text, step) => lines.push({ ts, level, text, step });
    if (content.started_at !== null)
      add(
        content.started_at,
        "info",
        "started" + (content.worker ? " on worker " + content.worker : "") + ", attempt " + content.attempt,
      );
    const call = (one, step) =>
      add(
        one.ts,
        one.status === "ok" ? "info" : one.status === "retry" ? "warning" : "error",
        "model call " +
          one.status +
          ": " +
          (one.model || "unknown model") +
          (one.tokens
            ? ", " + E.formatTokens(E.sumInputTokens(one.tokens)) + " in, " + E.formatTokens(one.tokens[3]) + " out"
            : ", no tokens reported") +
          (E.isKnown(one.usd) ? ", " + E.formatMoney(one.usd) : ""),
        step,
      );
    content.steps.forEach((step, i) => {
      for (const one of step.calls || []) call(one, i);
      add(
        step.ts,
        E.actions.getKind(step.action) === "error" ? "error" : "info",
        "step " + (i + 1) + ": " + E.actions.describe(step.action || {}, 120),
        i,
      );
    });
    for (const one of content.calls) call(one);
    for (const [ts, level, message] of content.lines || []) {
      const during = content.steps.findLastIndex((step) => step.ts <= ts);
      add(ts, level === "critical" ? "error" : level, message, during < 0 ? undefined : during);
    }
    if (content.finished_at !== null) {
      if (content.error) add(content.finished_at, "error", content.error);
      add(
        content.finished_at,
        content.outcome === "success" ? "success" : content.outcome === "failure" ? "warning" : "error",
        "finished: " + E.humanize(content.outcome) + (E.isKnown(content.score) ? ", score " + +content.score.toFixed(3) : ""),
      );
    }
    return { begin, lines: lines.sort((a, b) => a.ts - b.ts) };
  }

  const LEVELS = { info: "", success: "✓", warning: "⚠", error: "✗" };
  function renderLog(content, onstep) {
    const { begin, lines } = listEvents(content);
    const level = el(
      "select",
      { "aria-label": "Level", onchange: draw },
      [
        ["", "all events"],
        ["bad", "warnings and errors"],
      ].map(([value, label]) => el("option", { value }, label)),
    );
    const body = el("ol", { class: "log", tabindex: "0", "aria-label": "Log" });
    function draw() {
      const found = lines.filter((line) => !level.value || line.level === "warning" || line.level === "error");
      body.replaceChildren(
        ...(found.length ? found : [null]).map((line) =>
          line
            ? el(
                "li",
                { class: "level-" + line.level },
                el("span", { class: "mark", "aria-hidden": "true" }, LEVELS[line.level]),
                el("time", {}, "+" + E.formatDuration(Math.max(0, line.ts - begin))),
                line.step === undefined
                  ? el("span", {}, line.text)
                  : el("button", { type: "button", class: "plain", onclick: () => onstep(line.step) }, line.text),
              )
            : el("li", { class: "quiet" }, "No such events."),
        ),
      );
    }
    // thousands of lines are rendered only when the log is opened
    const toggled = (event) => event.target.open && !body.firstChild && draw();
    return el(
      "details",
      { class: "log-panel", ontoggle: toggled },
      el("summary", {}, "Log (" + lines.length + ")"),
      level,
      body,
    );
  }

  async function renderTaskView(place) {
    const run = E.findRun(place.run);
    const table = await E.loadTable(run);
    const attempts = table.attempts.get(place.task) || [];
    const row = attempts.find((one) => String(one.attempt) === (place.attempt || "1")) || attempts[0];
    if (!row)
      return E.renderMissing(
        "The run " + run.run_id + " has no task " + place.task + ".",
        E.findSimilar(place.task, [...table.attempts.keys()]).map((task) => [
          task,
          E.address.write({ run: run.run_id, task }),
        ]),
        E.address.write({ run: run.run_id }),
      );
    const content = await E.loadAttempt(row);
    const steps = content ? content.steps : [];
    const around = findNeighbours(table, place, row);
    const to = (other) =>
      E.address.write({
        ...place,
        with: place.with,
        run: run.run_id,
        task: other.task_id,
        attempt: other.attempt > 1 ? other.attempt : null,
        step: null,
        view: null,
      });

    const hasScreens = steps.some((step) => step.screenshot || step.missing);
    const asTranscript = !hasScreens || place.tab === "transcript";
    const transcript = content && asTranscript ? E.createTranscript(content, (i) => play.move(i)) : null;
    const toTab = (tab, step) => E.address.write({ ...place, run: run.run_id, task: row.task_id, tab, step });
    const hereStep = () => steps[play.position]?.step_idx;
    const tabs = el(
      "span",
      { class: "buttons", role: "group", "aria-label": "Show" },
      [
        [null, "Screenshots"],
        ["transcript", "Transcript"],
      ].map(([tab, label]) =>
        el(
          "a",
          {
            class: "button small",
            "aria-current": asTranscript === Boolean(tab) ? "true" : null,
            href: toTab(tab, place.step),
            onclick: (event) => event.currentTarget.setAttribute("href", toTab(tab, hereStep())),
          },
          label,
        ),
      ),
    );
    const stage = E.createStage("Screenshot");
    const marked = el("input", {
      type: "checkbox",
      checked: marking,
      onchange: () => setMarking(marked.checked),
    });
    function setMarking(on) {
      marking = marked.checked = on;
      stage.mark(on);
    }
    stage.mark(marking);
    const panel = el("div", { class: "step-panel", "aria-live": "off" });
    const list = el(
      "ol",
      { class: "step-list", "aria-label": "Steps" },
      steps.map((step, i) =>
        el(
          "li",
          {},
          el(
            "button",
            { type: "button", onclick: () => play.move(i) },
            el("span", { class: "n" }, String(i + 1)),
            el("span", { class: "sign", "aria-hidden": "true" }, E.actions.getSign(step.action)),
            el("span", { class: "text" }, E.actions.describe(step.action || {}, 60)),
            content.trouble === i ? el("span", { class: "trouble", title: "the first sign of trouble" }, "!") : null,
          ),
        ),
      ),
    );
    const roving = E.rove(list);
    const play = E.createPlayer({
      length: () => steps.length,
      tick: (i) => ({
        class: (i === content.trouble ? "bad " : "") + (i === steps.length - 1 && E.isUnsuccessful(row) ? "end-bad" : ""),
        title: null,
      }),
      preview: (i) => ({
        url: steps[i].thumbnail || steps[i].screenshot,
        title: i + 1 + ": " + E.actions.describe(steps[i].action || {}, 40),
      }),
      onmove: draw,
      extra: [
        el("label", { class: "quiet marks-label", title: "Show what the action did (m)" }, marked, " marks"),
        el(
          "button",
          {
            type: "button",
            class: "trouble-button",
            title: "First sign of trouble (f)",
            disabled: !steps.length,
            onclick: goToTrouble,
          },
          "! trouble",
        ),
      ],
    });

    function draw(position) {
      const step = steps[position];
      stage.show(step || null);
      transcript?.select(position);
      if (!step) {
        panel.replaceChildren(
          el(
            "p",
            { class: "quiet" },
            row.outcome === "pending"
              ? "The task has not started."
              : "No steps of this attempt were recorded, only its result.",
          ),
        );
        return;
      }
      E.preload(steps, position);
      const last = position === steps.length - 1 && row.outcome !== "running";
      panel.replaceChildren(
        E.renderStepDetails(step, { title: "Step " + (position + 1) + " of " + steps.length + (last ? ", the last" : "") }),
      );
      for (const [i, item] of [...list.children].entries()) {
        const here = i === position;
        item.firstChild.toggleAttribute("aria-current", here);
        if (here) item.firstChild.setAttribute("aria-current", "step");
        if (here) roving.choose(item);
      }
      scrollToStep();
      E.address.update({ step: step.step_idx, attempt: row.attempt > 1 ? row.attempt : null });
      E.announce("Step " + (position + 1) + " of " + steps.length + ": " + E.actions.describe(step.action || {}));
    }
    /** Scroll the current step into view. */
    function scrollToStep() {
      const item = list.children[play.position];
      if (item && list.scrollHeight > list.clientHeight) list.scrollTop = item.offsetTop - list.clientHeight / 2;
    }
    function goToTrouble() {
      if (steps.length) play.move(content.trouble ?? steps.length - 1);
    }
    /** The position for an address without a step: a failed task opens at its first sign of trouble, else at its end. */
    const opening = E.isUnsuccessful(row) ? (content?.trouble ?? Math.max(0, steps.length - 1)) : 0;
    function findStart(at) {
      const wanted = at.step === undefined ? opening : steps.findIndex((step) => String(step.step_idx) === at.step);
      return wanted < 0 ? steps.length - 1 : wanted;
    }

    const others = E.getRuns().filter((one) => one !== run);
    const compare = others.length
      ? el(
          "select",
          {
            "aria-label": "Compare with a run",
            onchange: (event) => {
              location.hash = E.address.write({
                ...place,
                run: run.run_id,
                task: row.task_id,
                with: [event.target.value],
              });
            },
          },
          el("option", { value: "" }, "Compare with …"),
          others.map((one) => el("option", { value: one.run_id }, one.run_id)),
        )
      : null;
    const elsewhere = el("p", { class: "elsewhere", hidden: true });
    /** Show the results of other runs on this task, with links to a comparison with those that succeeded. */
    async function showOtherRuns() {
      const alike = others.filter((one) => one.benchmark === run.benchmark).slice(-MOST_ELSEWHERE);
      const found = [];
      for (const one of alike) {
        const tries = (await E.loadTable(one)).attempts.get(row.task_id) || [];
        const best = tries.find((other) => other.outcome === "success") || tries[0];
        if (!best) continue;
        found.push(best);
        const option = [...compare.options].find((other) => other.value === one.run_id);
        option.textContent = E.MARKS[best.outcome] + " " + one.run_id;
      }
      const won = found.filter((other) => other.outcome === "success");
      if (!found.length || !E.isUnsuccessful(row)) return;
      const renderOtherRun = (other) =>
        el(
          "a",
          {
            class: "mono",
            title: "Show both side by side at their divergence",
            href: E.address.write({
              run: other.run.run_id,
              with: [run.run_id],
              task: row.task_id,
              attempt: other.attempt > 1 ? other.attempt : null,
            }),
          },
          other.run.run_id,
        );
      elsewhere.replaceChildren(
        el("b", {}, "Other runs: "),
        won.length
          ? el("span", {}, E.createChip("success"), " in ", won.slice(0, 3).map((other, i) => [i ? ", " : "", renderOtherRun(other)]))
          : found.length === 1
            ? "the other run did not succeed either"
            : "none of " + found.length + " other runs succeeded",
      );
      elsewhere.hidden = false;
    }
    const tasks = E.createVirtualTable({
      columns: [
        { key: "mark", label: "", width: "1.2rem" },
        { key: "name", label: "task" },
      ],
      label: "Tasks",
      sorted: () => "",
      onsort: () => {},
      link: to,
      draw: (other) => [
        el(
          "span",
          { class: "chip s-" + other.outcome, title: E.humanize(other.outcome) },
          el("span", { class: "mark", "aria-hidden": "true" }, E.MARKS[other.outcome] || "·"),
          el("span", { class: "hidden" }, E.humanize(other.outcome)),
        ),
        el(
          "a",
          { class: "mono", href: to(other), title: other.task_id, "aria-current": other === row ? "true" : null },
          other.task_id + (other.attempt > 1 ? " #" + other.attempt : ""),
        ),
      ],
      rowClass: (other) => (other === row ? "current" : ""),
    });
    tasks.node.classList.add("beside-list");
    tasks.show(around.list);
    const link = (other, label, title) =>
      other
        ? el("a", { class: "button", href: to(other), title }, label)
        : el("span", { class: "button", "aria-disabled": "true" }, label);
    const node = el(
      "main",
      { class: "page task-page", id: "main" },
      el(
        "div",
        { class: "bar-line" },
        el("h1", { class: "mono" }, row.task_id),
        el("span", { class: "tag" }, row.domain),
        attempts.length > 1
          ? el(
              "select",
              {
                "aria-label": "Attempt",
                onchange: (event) => {
                  location.hash = E.address.write({ ...place, attempt: event.target.value, step: null });
                },
              },
              attempts.map((one) =>
                el(
                  "option",
                  { value: String(one.attempt), selected: one === row },
                  "attempt " + one.attempt + ": " + E.MARKS[one.outcome] + " " + E.humanize(one.outcome),
                ),
              ),
            )
          : null,
        el("span", { class: "grow" }),
        compare,
        el(
          "span",
          { class: "quiet" },
          around.at + 1 + " of " + E.formatCount(around.count) + (around.filtered ? " filtered" : ""),
        ),
        el(
          "span",
          { class: "buttons" },
          link(around.before, "‹ p", "Previous task (p)"),
          link(around.after, "n ›", "Next task (n)"),
        ),
      ),
      el("p", { class: "instruction" }, content?.instruction || row.instruction || "No instruction was recorded."),
      el(
        "div",
        { class: "task-grid" },
        el("aside", { class: "task-aside", "aria-label": "Tasks of the run" }, tasks.node),
        el(
          "div",
          { class: "task-left" },
          content && hasScreens ? tabs : null,
          transcript ? transcript.node : stage.node,
          play.node,
        ),
        el(
          "div",
          { class: "task-right" },
          renderVerdict(row, content, (i) => play.move(i), elsewhere),
          content ? renderResult(content) : null,
          steps.length ? list : null,
          panel,
          el("h2", { class: "small" }, "The whole task"),
          E.renderFacts([
            ["steps", E.formatCount(row.steps) +
              (row.max_steps ? " of at most " + E.formatCount(row.max_steps) : "") +
              (steps.length === row.steps + 1 ? ", and one to end it" : "")],
            ["time", E.isKnown(row.duration_seconds) ? E.formatDuration(row.duration_seconds) : E.createUnknown("not recorded")],
            [
              "tokens",
              row.tokens
                ? E.formatTokens(E.sumInputTokens(row.tokens)) + " in, " + E.formatTokens(row.tokens[3]) + " out"
                : E.createUnknown("none reported"),
            ],
            ["model cost", E.createCost(row.cost_usd, row.uncosted_calls, Boolean(row.uncosted_calls))],
            content?.worker ? ["worker", content.worker] : null,
          ]),
          content ? renderLog(content, (i) => play.move(i)) : null,
        ),
      ),
    );
    play.reset(findStart(place));

    return {
      node,
      title: row.task_id,
      mounted() {
        scrollToStep();
        tasks.reveal(around.at);
        transcript?.select(play.position);
        // entries that were out of sight get their real height now
        requestAnimationFrame(() => transcript?.select(play.position));
        if (others.length) showOtherRuns().catch(() => {}); // a run whose table is missing shows that when it is opened
      },
      /** Whether it must not be rendered again now. */
      busy: () => play.playing,
      /** Whether an unfinished task has changed since it was rendered. */
      async hasChanged() {
        if (!["pending", "running"].includes(row.outcome)) return false;
        const attempts = (await E.loadTable(E.findRun(run.run_id))).attempts.get(row.task_id) || [];
        const now = attempts.find((one) => one.attempt === row.attempt);
        if (!now || (now.outcome === row.outcome && now.steps === row.steps)) return false;
        if (steps.length && play.position === steps.length - 1) E.address.update({ step: "last" });
        return true;
      },
      destroy() {
        play.stop();
        stage.destroy();
        tasks.destroy();
      },
      update(next) {
        const at = findStart(next);
        if (at !== play.position) play.move(at);
      },
      key(event) {
        if (play.key(event)) return true;
        if (event.key === "n" && around.after) location.hash = to(around.after);
        else if (event.key === "p" && around.before) location.hash = to(around.before);
        else if (event.key === "f") goToTrouble();
        else if (event.key === "t" && hasScreens) location.hash = toTab(asTranscript ? null : "transcript", hereStep());
        else if (event.key === "/" && transcript) transcript.focusSearch();
        else if (event.key === "z") stage.zoom();
        else if (event.key === "m") {
          setMarking(!marking);
        } else return false;
        return true;
      },
    };
  }

  Object.assign(E, { renderTaskView, findNeighbours });
})();
