// Numbers and words as text: with units, with no more digits than are known, and – for unknown values.
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
  const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
  const dateAndTime = new Intl.DateTimeFormat("en-GB", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
  const MEASURED = ["success", "failure", "agent_error"];
  const isKnown = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const humanize = (name) => String(name).replaceAll("_", " ");

  const formatCount = (value) => (isKnown(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : NONE);
  const formatQuantity = (n, one, many) => formatCount(n) + " " + (n === 1 ? one : many || one + "s");
  const formatDecimal = (value, digits = 1) => (isKnown(value) ? value.toFixed(digits) : NONE);
  const formatPercent = (share) => (isKnown(share) ? Math.round(share * 100) + " %" : NONE);
  const formatPoints = (share) =>
    isKnown(share) ? (share > 0 ? "+" : share < 0 ? "−" : "") + Math.abs(share * 100).toFixed(1) : NONE;

  /** A rate with its interval: 45 % (41–49). */
  function formatRate(share, interval) {
    if (!isKnown(share)) return NONE;
    return (
      formatPercent(share) +
      (interval ? " (" + Math.round(interval[0] * 100) + "–" + Math.round(interval[1] * 100) + ")" : "")
    );
  }

  function formatMoney(usd) {
    if (!isKnown(usd)) return NONE;
    if (usd === 0) return "$0";
    if (Math.abs(usd) < 0.01) return "$" + usd.toFixed(Math.min(6, 1 - Math.floor(Math.log10(Math.abs(usd)))));
    return "$" + usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }

  function formatDuration(seconds) {
    if (!isKnown(seconds)) return NONE;
    if (seconds < 0.001) return "0 s";
    if (seconds < 1) return Math.round(seconds * 1000) + " ms";
    if (seconds < 10) return seconds.toFixed(1) + " s";
    if (seconds < 60) return Math.round(seconds) + " s";
    if (seconds < 3600)
      return Math.floor(seconds / 60) + " min " + String(Math.floor(seconds % 60)).padStart(2, "0") + " s";
    return Math.floor(seconds / 3600) + " h " + String(Math.floor((seconds % 3600) / 60)).padStart(2, "0") + " min";
  }

  /** 1234 -> 1.2 k */
  function formatTokens(value) {
    if (!isKnown(value)) return NONE;
    if (value < 10000) return formatCount(value);
    return value < 1e6 ? (value / 1e3).toFixed(1) + " k" : (value / 1e6).toFixed(2) + " M";
  }
  const sumInputTokens = (kinds) => (kinds && kinds[0] !== null ? (kinds[0] || 0) + (kinds[1] || 0) + (kinds[2] || 0) : null);

  function formatTime(seconds) {
    return isKnown(seconds) ? dateAndTime.format(seconds * 1000) : NONE;
  }
  function formatAgo(seconds) {
    const past = Date.now() / 1000 - seconds;
    if (!isKnown(seconds)) return NONE;
    if (past < 0 || past > 86400) return date.format(seconds * 1000);
    if (past < 60) return "just now";
    return past < 3600 ? Math.floor(past / 60) + " min ago" : Math.floor(past / 3600) + " h ago";
  }

  /** Create the chip of an outcome: its mark, colour and word. */
  function createChip(status, text) {
    return E.el(
      "span",
      { class: "chip s-" + status },
      E.el("span", { class: "mark", "aria-hidden": "true" }, MARKS[status] || "·"),
      " " + (text || humanize(status)),
    );
  }

  /** Create the dash of an unknown value, with the reason on hover and for screen readers. */
  const createUnknown = (why) =>
    E.el("span", { class: "unknown", title: why }, NONE, E.el("span", { class: "hidden" }, " (" + why + ")"));

  /** Create a cost, or why it is unknown; `uncosted` is the number of calls, or of calls and machines, without a cost. */
  function createCost(usd, uncosted, calls = true, withMachines = false) {
    if (isKnown(usd))
      return uncosted
        ? E.el("span", { title: "plus " + (withMachines ? formatQuantity(uncosted, "call or machine", "calls or machines") : formatQuantity(uncosted, "call")) + " of unknown cost" }, "≥ " + formatMoney(usd))
        : formatMoney(usd);
    return createUnknown(withMachines ? (uncosted ? "none of its calls and machines has a known price" : "no costs were recorded") : !calls ? "no model calls were recorded" : "no price or no token counts for these calls");
  }

  Object.assign(E, {
    NONE,
    MARKS,
    STATUSES,
    MEASURED,
    isKnown,
    humanize,
    formatCount,
    formatQuantity,
    formatDecimal,
    formatPercent,
    formatPoints,
    formatRate,
    formatMoney,
    formatDuration,
    formatTokens,
    sumInputTokens,
    formatTime,
    formatAgo,
    createChip,
    createUnknown,
    createCost,
  });
})();
