// A screenshot with the marks of its step over it, and the words beside it: action, reasoning, tokens, times, calls.
"use strict";

(() => {
  const E = evalgauge;
  const AHEAD = 3; // screenshots that are loaded before they are wanted
  const ahead = new Map();

  /** Load the pictures of the next steps, so that playing does not wait. */
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

  /** The pane of one run's picture. `show(step, {gap})` draws a step, null that there is none; `zoom()` resizes. */
  function stage(label) {
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
      say(out ? "The action lies outside the picture." : null);
    }
    function say(text) {
      note.hidden = !text;
      note.textContent = text || "";
    }
    picture.addEventListener("load", () => {
      frame.style.setProperty("--ratio", String(picture.naturalWidth / picture.naturalHeight));
      frame.style.setProperty("--natural", picture.naturalWidth + "px");
      if (!frame.classList.contains("zoomed")) frame.style.setProperty("--kept", picture.offsetHeight + "px"); // what comes without a picture keeps the place
      draw();
    });
    picture.addEventListener("error", () => {
      if (!picture.getAttribute("src")) return;
      picture.hidden = true;
      say(
        "The screenshot " +
          short(picture.getAttribute("src")) +
          " can't be opened. Was it deleted, or the folder moved without it?",
      );
    });
    /** Full size and back; `at` is the point to look at, in parts of the picture: by default what is marked. */
    function zoom(at) {
      const size = [picture.naturalWidth, picture.naturalHeight];
      if (picture.hidden || !size[0]) return;
      if (frame.classList.toggle("zoomed")) {
        const marked = E.marks.marksOf(step.action || {}, ...size).find((mark) => E.known(mark.x));
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
            ? "The screenshot is not there: " + step.missing
            : "No screenshot was recorded for this step.";
        say(gap || why);
        return;
      }
      picture.hidden = false;
      say(gap || null);
      picture.alt = "Screenshot before step " + (step.step_idx + 1) + ": " + E.actions.describe(step.action || {});
      if (picture.getAttribute("src") !== step.screenshot) picture.src = step.screenshot;
      else draw();
    }
    const mark = (on) => {
      marked = on;
      draw();
    };
    return { node, show, mark, zoom: () => zoom(), gone: () => watcher.disconnect() };
  }
  const short = (url) => (url.startsWith("data:") ? "in this file" : decodeURIComponent(url));

  const facts = (pairs) =>
    E.el(
      "dl",
      { class: "facts" },
      pairs.filter(Boolean).map(([name, value]) => E.el("div", {}, E.el("dt", {}, name), E.el("dd", {}, value))),
    );

  function callsOf(step) {
    const calls = step.calls || [];
    const sum = (kind) => {
      const found = calls.map((call) => call.tokens?.[kind]).filter(E.known);
      return found.length ? found.reduce((a, b) => a + b, 0) : null;
    };
    const priced = calls.filter((call) => E.known(call.usd));
    return {
      calls,
      tokens: [0, 1, 2, 3].map(sum),
      usd: priced.length ? priced.reduce((all, call) => all + call.usd, 0) : null,
      uncosted: calls.length - priced.length,
    };
  }

  /** The words on one step. */
  function details(step, { title, brief } = {}) {
    const { calls, tokens, usd, uncosted } = callsOf(step);
    const action = step.action || {};
    const tokenText =
      calls.length && tokens.some(E.known)
        ? E.el(
            "span",
            {},
            E.tokens(E.allInput(tokens)),
            " in",
            tokens[1] ? " (" + E.tokens(tokens[1]) + " cached)" : "",
            ", ",
            E.tokens(tokens[3]),
            " out",
          )
        : E.unknown(calls.length ? "the provider reported no tokens" : "no model call was recorded for this step");
    const node = E.el(
      "section",
      { class: "details" },
      title ? E.el("h3", {}, title) : null,
      E.el(
        "p",
        { class: "action" },
        E.el("span", { class: "sign", "aria-hidden": "true" }, E.actions.signOf(action)),
        " ",
        E.actions.describe(action, 400),
      ),
      step.reasoning
        ? E.el("blockquote", { class: "reasoning" }, step.reasoning)
        : brief
          ? null
          : E.el("p", { class: "quiet" }, "No reasoning was recorded."),
      facts([
        ["tokens", tokenText],
        ["cost", E.cost(usd, usd === null ? 0 : uncosted, calls.length > 0)],
        [
          "think",
          E.known(step.think_seconds) ? E.duration(step.think_seconds) : E.unknown("the runner did not measure it"),
        ],
        [
          "environment",
          E.known(step.env_seconds) ? E.duration(step.env_seconds) : E.unknown("the runner did not measure it"),
        ],
        brief
          ? null
          : [
              "screen after it",
              step.changed === undefined
                ? E.unknown("there is no screenshot to compare with")
                : step.changed
                  ? "changed"
                  : "the same",
            ],
        step.correct === undefined ? null : ["first action", step.correct ? "right" : "wrong"],
      ]),
    );
    if (brief) return node;
    const failed = calls.filter((call) => call.status !== "ok").length;
    if (calls.length)
      node.append(
        E.el(
          "details",
          {},
          E.el("summary", {}, E.plural(calls.length, "model call") + (failed ? ", " + failed + " not ok" : "")),
          callTable(calls),
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

  function callTable(calls) {
    return E.el(
      "table",
      { class: "calls" },
      E.el(
        "thead",
        {},
        E.el(
          "tr",
          {},
          ["model", "status", "input", "cached", "written", "output", "cost"].map((name, i) =>
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
            [0, 1, 2, 3].map((kind) => E.el("td", { class: "number" }, E.tokens(call.tokens?.[kind]))),
            E.el(
              "td",
              { class: "number" },
              E.known(call.usd) ? E.money(call.usd) : E.unknown(E.words(call.money || "unknown")),
            ),
          ),
        ),
      ),
    );
  }

  Object.assign(E, { stage, stepDetails: details, preload, callsOf, facts });
})();
