// The screenshot of a step with its marks, and its details: action, reasoning, tokens, times, model calls.
"use strict";

(() => {
  const E = evalgauge;
  const AHEAD = 3; // screenshots that are preloaded
  const ahead = new Map();

  /** Preload the screenshots of the next steps, so that playback does not wait. */
  function preload(steps, position) {
    for (let i = position + 1; i <= position + AHEAD && i < steps.length; i++) {
      const url = steps[i].screenshot;
      if (!url || ahead.has(url)) continue;
      const picture = new Image();
      picture.src = url;
      ahead.set(url, picture);
      if (ahead.size > 40) ahead.delete(ahead.keys().next().value);
    }
  }

  /** Create the pane of a screenshot. `show(step, {gap})` shows a step, null that there is none; `zoom()` resizes. */
  function createStage(label) {
    const picture = E.el("img", { alt: "", decoding: "async", draggable: false });
    const svg = E.el("svg:svg", { class: "marks", "aria-hidden": "true" });
    const note = E.el("p", { class: "stage-note", hidden: true });
    const frame = E.el("div", { class: "frame" }, picture, svg, note);
    const node = E.el("figure", { class: "stage", "aria-label": label }, frame);
    let step = null,
      marked = true,
      between = null;

    function draw() {
      const width = picture.clientWidth,
        height = picture.clientHeight;
      svg.replaceChildren();
      if (!step || between || !width || !picture.naturalWidth || !marked || picture.hidden) return;
      svg.style.setProperty("left", picture.offsetLeft + "px");
      svg.style.setProperty("top", picture.offsetTop + "px");
      svg.style.setProperty("width", width + "px");
      svg.style.setProperty("height", height + "px");
      const out = E.marks.drawMarks(
        svg,
        step.action || {},
        { width: picture.naturalWidth, height: picture.naturalHeight },
        { width, height },
      );
      showNote(out ? "The action is outside the screenshot." : null);
    }
    function showNote(text) {
      note.hidden = !text;
      note.textContent = text || "";
    }
    picture.addEventListener("load", () => {
      frame.style.setProperty("--ratio", String(picture.naturalWidth / picture.naturalHeight));
      frame.style.setProperty("--natural", picture.naturalWidth + "px");
      if (!frame.classList.contains("zoomed")) frame.style.setProperty("--kept", picture.offsetHeight + "px"); // a step without a screenshot keeps the space
      draw();
    });
    picture.addEventListener("error", () => {
      if (!picture.getAttribute("src")) return;
      picture.hidden = true;
      showNote(
        "The screenshot " +
          shortenUrl(picture.getAttribute("src")) +
          " can't be loaded. It was deleted, or the folder was moved without it.",
      );
    });
    /** Toggle full size; `at` is the point to center, in fractions of the screenshot, by default the mark. */
    function zoom(at) {
      const size = [picture.naturalWidth, picture.naturalHeight];
      if (picture.hidden || !size[0]) return;
      if (frame.classList.toggle("zoomed")) {
        const marked = E.marks.computeMarks(step.action || {}, ...size).find((mark) => E.isKnown(mark.x));
        const [x, y] = at || (marked ? [marked.x, marked.y] : [0.5, 0.5]);
        frame.scrollLeft = x * picture.clientWidth - frame.clientWidth / 2;
        frame.scrollTop = y * picture.clientHeight - frame.clientHeight / 2;
      }
      draw();
    }
    picture.addEventListener("click", (event) =>
      zoom([event.offsetX / picture.clientWidth, event.offsetY / picture.clientHeight]),
    );
    const watcher = new ResizeObserver(draw);
    watcher.observe(picture);

    function show(next, { gap } = {}) {
      step = next;
      between = gap || null;
      frame.classList.toggle("gap", Boolean(gap));
      if (!step || !step.screenshot) {
        picture.hidden = true;
        picture.removeAttribute("src");
        svg.replaceChildren();
        const why = !step
          ? "No step was recorded."
          : step.missing
            ? "The screenshot is missing: " + step.missing
            : "No screenshot was recorded for this step.";
        showNote(gap || why);
        return;
      }
      picture.hidden = false;
      showNote(gap || null);
      picture.alt = "Screenshot before step " + (step.step_idx + 1) + ": " + E.actions.describe(step.action || {});
      if (picture.getAttribute("src") !== step.screenshot) picture.src = step.screenshot;
      else draw();
    }
    const mark = (on) => {
      marked = on;
      draw();
    };
    return { node, show, mark, zoom: () => zoom(), destroy: () => watcher.disconnect() };
  }
  const shortenUrl = (url) => (url.startsWith("data:") ? "in this file" : decodeURIComponent(url));

  const renderFacts = (pairs) =>
    E.el(
      "dl",
      { class: "facts" },
      pairs.filter(Boolean).map(([name, value]) => E.el("div", {}, E.el("dt", {}, name), E.el("dd", {}, value))),
    );

  function sumCalls(step) {
    const calls = step.calls || [];
    const sum = (kind) => {
      const found = calls.map((call) => call.tokens?.[kind]).filter(E.isKnown);
      return found.length ? found.reduce((a, b) => a + b, 0) : null;
    };
    const priced = calls.filter((call) => E.isKnown(call.usd));
    return {
      calls,
      tokens: [0, 1, 2, 3].map(sum),
      usd: priced.length ? priced.reduce((all, call) => all + call.usd, 0) : null,
      uncosted: calls.length - priced.length,
    };
  }

  /** Render the details of a step. */
  function renderStepDetails(step, { title, brief } = {}) {
    const { calls, tokens, usd, uncosted } = sumCalls(step);
    const action = step.action || {};
    const tokenText =
      calls.length && tokens.some(E.isKnown)
        ? E.el(
            "span",
            {},
            E.formatTokens(E.sumInputTokens(tokens)),
            " in",
            tokens[1] ? " (" + E.formatTokens(tokens[1]) + " cached)" : "",
            ", ",
            E.formatTokens(tokens[3]),
            " out",
          )
        : E.createUnknown(calls.length ? "the provider reported no tokens" : "no model call was recorded for this step");
    const node = E.el(
      "section",
      { class: "details" },
      title ? E.el("h2", { class: "small" }, title) : null,
      E.el(
        "p",
        { class: "action" },
        E.el("span", { class: "sign", "aria-hidden": "true" }, E.actions.getSign(action)),
        " ",
        E.actions.describe(action, 400),
      ),
      step.reasoning
        ? E.el("blockquote", { class: "reasoning" }, step.reasoning)
        : brief
          ? null
          : E.el("p", { class: "quiet" }, "No reasoning was recorded."),
      renderFacts([
        ["tokens", tokenText],
        ["model cost", E.createCost(usd, usd === null ? 0 : uncosted, calls.length > 0)],
        [
          "think",
          E.isKnown(step.think_seconds) ? E.formatDuration(step.think_seconds) : E.createUnknown("not measured by the runner"),
        ],
        [
          "environment",
          E.isKnown(step.env_seconds) ? E.formatDuration(step.env_seconds) : E.createUnknown("not measured by the runner"),
        ],
        brief
          ? null
          : [
              "screen after it",
              step.changed === undefined
                ? E.createUnknown("no screenshot to compare with")
                : step.changed
                  ? "changed"
                  : "the same",
            ],
        step.correct === undefined ? null : ["first action", step.correct ? "correct" : "wrong"],
      ]),
    );
    if (brief) return node;
    const failed = calls.filter((call) => call.status !== "ok").length;
    if (calls.length)
      node.append(
        E.el(
          "details",
          {},
          E.el("summary", {}, E.formatQuantity(calls.length, "model call") + (failed ? ", " + failed + " not ok" : "")),
          E.el("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Model calls" }, renderCallTable(calls)),
        ),
      );
    node.append(
      E.el(
        "details",
        {},
        E.el("summary", {}, "The action as recorded"),
        E.el("pre", {}, JSON.stringify(action, null, 2)),
      ),
    );
    return node;
  }

  function renderCallTable(calls) {
    return E.el(
      "table",
      { class: "calls" },
      E.el(
        "thead",
        {},
        E.el(
          "tr",
          {},
          ["model", "status", "input", "cached", "written", "output", "model cost"].map((name, i) =>
            E.el("th", { scope: "col", class: i > 1 ? "number" : null }, name),
          ),
        ),
      ),
      E.el(
        "tbody",
        {},
        calls.map((call) =>
          E.el(
            "tr",
            {},
            E.el("td", {}, call.model || E.NONE),
            E.el("td", {}, call.status),
            [0, 1, 2, 3].map((kind) => E.el("td", { class: "number" }, E.formatTokens(call.tokens?.[kind]))),
            E.el(
              "td",
              { class: "number" },
              E.isKnown(call.usd) ? E.formatMoney(call.usd) : E.createUnknown(E.humanize(call.money || "unknown")),
            ),
          ),
        ),
      ),
    );
  }

  Object.assign(E, { createStage, renderStepDetails, preload, sumCalls, renderFacts });
})();
