// The transcript of a task: messages, reasoning, actions with their arguments, outputs and log lines, in order of time.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const LINES = 14; // lines of a text that are shown before it is opened
  const LETTERS = 1200; // letters of a text that are shown before it is opened
  const TEXT_KEYS = ["type", "raw_action", "reasoning", "thought"];

  /** A text that is folded where it is long; the rest is rendered when it is opened. */
  function foldText(text, className = "") {
    const lines = text.split("\n");
    let head = lines.slice(0, LINES).join("\n");
    if (head.length > LETTERS) head = head.slice(0, LETTERS);
    if (head.length === text.length) return el("pre", { class: "transcript-text " + className }, text);
    const body = el("pre", { class: "transcript-text " + className }, head + " …");
    const rest = lines.length > LINES ? E.formatCount(lines.length) + " lines" : E.formatCount(text.length) + " letters";
    const button = el(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-expanded": "false",
        onclick: () => {
          const open = button.getAttribute("aria-expanded") === "true";
          button.setAttribute("aria-expanded", String(!open));
          button.textContent = open ? "Show all " + rest : "Show less";
          body.textContent = open ? head + " …" : text;
        },
      },
      "Show all " + rest,
    );
    return el("div", {}, body, button);
  }

  /** Copy a text to the clipboard, also where the page has no access to its API. */
  async function copyText(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { class: "hidden" }, text);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    E.announce("Copied.");
    button.dataset.label ??= button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = button.dataset.label), 2000);
  }

  function formatArguments(action) {
    const rest = Object.entries(action).filter(([key]) => !TEXT_KEYS.includes(key));
    if (!rest.length) return "";
    return rest
      .map(([key, value]) => key + ": " + (typeof value === "string" ? value : JSON.stringify(value, null, 1)))
      .join("\n");
  }

  /** List the entries of an attempt: {ts, kind, title, parts: [[label, text]], step}. */
  function listEntries(content) {
    const entries = [];
    for (const [ts, role, text] of content.messages || [])
      entries.push({ ts, kind: role, title: role === "system" ? "System" : "User", parts: [["", text]] });
    content.steps.forEach((step, i) => {
      const action = step.action || {};
      const parts = [];
      if (step.reasoning) parts.push(["", step.reasoning]);
      entries.push({
        ts: step.ts,
        kind: "agent",
        title: "Agent, step " + (i + 1),
        parts,
        action,
        output: step.observation,
        step: i,
        calls: step.calls || [],
      });
    });
    for (const [ts, level, message] of content.lines || [])
      entries.push({ ts, kind: "line", title: "Log, " + level, parts: [["", message]] });
    return entries.sort((a, b) => a.ts - b.ts || (a.step ?? -1) - (b.step ?? -1));
  }

  function entryText(entry) {
    const lines = entry.parts.map(([, text]) => text);
    if (entry.action) {
      lines.push(E.actions.getType(entry.action));
      const given = formatArguments(entry.action);
      if (given) lines.push(given);
    }
    if (entry.output) lines.push(entry.output);
    return lines.join("\n");
  }

  /** Create the transcript of an attempt; `onstep(i)` is called when a step is selected. */
  function createTranscript(content, onstep) {
    const begin = content.started_at ?? content.steps[0]?.ts ?? 0;
    const entries = listEntries(content);
    const nodes = entries.map((entry) => {
      const text = entryText(entry);
      const failed = (entry.calls || []).filter((call) => call.status !== "ok").length;
      const node = el(
        "li",
        { class: "entry entry-" + entry.kind },
        el(
          "header",
          {},
          entry.step === undefined
            ? el("b", {}, entry.title)
            : el("button", { type: "button", class: "plain", onclick: () => onstep(entry.step) }, entry.title),
          el("time", { class: "quiet" }, "+" + E.formatDuration(Math.max(0, entry.ts - begin))),
          entry.calls?.length
            ? el("span", { class: "quiet" }, E.formatQuantity(entry.calls.length, "model call") + (failed ? ", " + failed + " failed" : ""))
            : null,
          el("span", { class: "grow" }),
          el("button", { type: "button", class: "plain copy", "aria-label": "Copy " + entry.title, onclick: (event) => copyText(text, event.currentTarget) }, "Copy"),
        ),
        entry.parts.map(([, part]) => foldText(part)),
        entry.action
          ? el(
              "div",
              { class: "call" },
              el("span", { class: "sign", "aria-hidden": "true" }, E.actions.getSign(entry.action)),
              el("b", { class: "mono" }, E.actions.getType(entry.action)),
              formatArguments(entry.action) ? foldText(formatArguments(entry.action), "arguments") : null,
            )
          : null,
        entry.output ? el("div", { class: "output" }, el("span", { class: "quiet" }, "Output"), foldText(entry.output)) : null,
      );
      return { entry, node, text: (entry.title + "\n" + text).toLowerCase() };
    });
    const tally = el("span", { class: "quiet", role: "status" });
    const search = el("input", {
      type: "search",
      placeholder: "Search the transcript",
      "aria-label": "Search the transcript",
      oninput: filter,
    });
    const list = el("ol", { class: "transcript", "aria-label": "Transcript" }, nodes.map((item) => item.node));
    const roving = E.rove(list);
    function filter() {
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of nodes) {
        item.node.hidden = !terms.every((term) => item.text.includes(term));
        if (!item.node.hidden) shown += 1;
      }
      roving.choose(nodes.find((item) => !item.node.hidden)?.node);
      tally.textContent = terms.length ? shown + " of " + E.formatCount(nodes.length) : E.formatQuantity(nodes.length, "entry", "entries");
    }
    filter();
    const node = el(
      "section",
      { class: "transcript-box", "aria-label": "Transcript" },
      el(
        "div",
        { class: "filters" },
        search,
        tally,
        el("span", { class: "grow" }),
        el(
          "button",
          { type: "button", onclick: (event) => copyText(entries.map((entry) => entry.title + "\n" + entryText(entry)).join("\n\n"), event.currentTarget) },
          "Copy all",
        ),
      ),
      entries.length ? list : el("p", { class: "empty" }, "Neither steps nor messages were recorded."),
    );
    /** Mark the entry of a step and scroll it into view. */
    function select(position) {
      for (const { entry, node: item } of nodes) {
        const here = entry.step === position;
        item.toggleAttribute("aria-current", here);
        if (here && !list.contains(document.activeElement)) roving.choose(item);
        if (here && node.isConnected) item.scrollIntoView({ block: "nearest" });
      }
    }
    return { node, select, focusSearch: () => search.focus() };
  }

  Object.assign(E, { createTranscript, foldText });
})();
