// Numbers and words as people read them: units always, never more digits than are known, – for what is not known.
"use strict";

(() => {
  const E = evalgauge;
  const NONE = "–";
  const MARKS = {
    success: "✓",
    failure: "✗",
    agent_error: "!",
    infrastructure_error: "⚡",
    evaluation_error: "?",
    interrupted: "‖",
    running: "▶",
    pending: "·",
  };
  const STATUSES = Object.keys(MARKS);
  const MEASURED = ["success", "failure", "agent_error"];
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const words = (name) => String(name).replaceAll("_", " ");

  const count = (value) => (known(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : NONE);
  const plural = (n, one, many) => count(n) + " " + (n === 1 ? one : many || one + "s");
  const decimal = (value, digits = 1) => (known(value) ? value.toFixed(digits) : NONE);
  const percent = (share) => (known(share) ? Math.round(share * 100) + " %" : NONE);
  const points = (share) =>
    known(share) ? (share > 0 ? "+" : share < 0 ? "−" : "") + Math.abs(share * 100).toFixed(1) : NONE;

  /** A rate with its interval: 45 % (41–49). */
  function rate(share, interval) {
    if (!known(share)) return NONE;
    return (
      percent(share) +
      (interval ? " (" + Math.round(interval[0] * 100) + "–" + Math.round(interval[1] * 100) + ")" : "")
    );
  }

  function money(usd) {
    if (!known(usd)) return NONE;
    if (usd === 0) return "$0";
    if (Math.abs(usd) < 0.01) return "$" + usd.toFixed(Math.min(6, 1 - Math.floor(Math.log10(Math.abs(usd)))));
    return "$" + usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }

  function duration(seconds) {
    if (!known(seconds)) return NONE;
    if (seconds < 0.001) return "0 s";
    if (seconds < 1) return Math.round(seconds * 1000) + " ms";
    if (seconds < 10) return seconds.toFixed(1) + " s";
    if (seconds < 60) return Math.round(seconds) + " s";
    if (seconds < 3600)
      return Math.floor(seconds / 60) + " min " + String(Math.floor(seconds % 60)).padStart(2, "0") + " s";
    return Math.floor(seconds / 3600) + " h " + String(Math.floor((seconds % 3600) / 60)).padStart(2, "0") + " min";
  }

  /** 1234 -> 1.2 k */
  function tokens(value) {
    if (!known(value)) return NONE;
    if (value < 10000) return count(value);
    return value < 1e6 ? (value / 1e3).toFixed(1) + " k" : (value / 1e6).toFixed(2) + " M";
  }
  const allInput = (kinds) => (kinds && kinds[0] !== null ? (kinds[0] || 0) + (kinds[1] || 0) + (kinds[2] || 0) : null);

  function time(seconds) {
    return known(seconds)
      ? new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })
      : NONE;
  }
  function ago(seconds) {
    const past = Date.now() / 1000 - seconds;
    if (!known(seconds) || past < 0 || past > 86400) return time(seconds);
    if (past < 60) return "just now";
    return past < 3600 ? Math.floor(past / 60) + " min ago" : Math.floor(past / 3600) + " h ago";
  }

  /** An outcome as a chip: its mark, its colour, its word. */
  function chip(status, text) {
    return E.el(
      "span",
      { class: "chip s-" + status },
      E.el("span", { class: "mark", "aria-hidden": "true" }, MARKS[status] || "·"),
      " " + (text || words(status)),
    );
  }

  /** What is not known, with the reason on hover and for screen readers. */
  const unknown = (why) =>
    E.el("span", { class: "unknown", title: why }, NONE, E.el("span", { class: "hidden" }, " (" + why + ")"));

  /** The cost of something, or why there is none; tasks and steps say how many calls could not be priced. */
  function cost(usd, uncosted, calls = true) {
    if (known(usd))
      return uncosted
        ? E.el("span", { title: "plus " + plural(uncosted, "call") + " whose cost is not known" }, "≥ " + money(usd))
        : money(usd);
    return unknown(!calls ? "no model calls were recorded" : "no price or no token counts for these calls");
  }

  Object.assign(E, {
    NONE,
    MARKS,
    STATUSES,
    MEASURED,
    known,
    words,
    count,
    plural,
    decimal,
    percent,
    points,
    rate,
    money,
    duration,
    tokens,
    allInput,
    time,
    ago,
    chip,
    unknown,
    cost,
  });
})();
