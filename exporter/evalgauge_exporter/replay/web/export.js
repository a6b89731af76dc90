// Export of the filtered tasks as CSV or JSON, with the columns of `evalgauge export`.
"use strict";

(() => {
  const E = evalgauge;
  const COLUMNS = [
    "run_id",
    "task_id",
    "attempt",
    "domain",
    "model",
    "outcome",
    "score",
    "steps",
    "duration_seconds",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
    "error",
    "reason",
    "scores",
  ];

  function toRecord(row) {
    const tokens = row.tokens || [null, null, null, null];
    const values = [
      row.run.run_id,
      row.task_id,
      row.attempt,
      row.domain,
      row.run.model,
      row.outcome,
      row.score,
      row.steps,
      row.duration_seconds,
      ...tokens,
      row.cost_usd,
      row.error,
      row.reason,
      row.scores,
    ];
    return Object.fromEntries(COLUMNS.map((name, i) => [name, values[i] ?? null]));
  }

  /** Format scores by name as the command does: a space after each comma and colon. */
  const formatJson = (scores) =>
    "{" + Object.entries(scores).map(([name, score]) => JSON.stringify(name) + ": " + JSON.stringify(score)).join(", ") + "}";

  function escapeCell(value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    // a spreadsheet would evaluate such a text as a formula
    if (typeof value === "object") value = formatJson(value);
    const plain = value.replaceAll("\0", "");
    const text = /^\s*[=+\-@\t\r\n＝＋－＠]|^[\t\r\n]/.test(plain) ? "'" + plain : plain;
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }

  const toCsv = (rows) =>
    [COLUMNS.join(","), ...rows.map((row) => Object.values(toRecord(row)).map(escapeCell).join(","))].join("\r\n") + "\r\n";
  const toJson = (rows) => JSON.stringify(rows.map(toRecord), null, 1) + "\n";

  /** Save a text as a file. */
  function save(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = E.el("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  /** Create the export buttons; `rows()` returns the filtered rows, `name()` the file name. */
  function createExportButtons(rows, name) {
    const file = (suffix) =>
      name()
        .replace(/[^A-Za-z0-9._-]+/g, "_")
        .slice(0, 80) + suffix;
    return E.el(
      "span",
      { class: "buttons" },
      E.el(
        "button",
        {
          type: "button",
          title: "Save the listed tasks as CSV",
          onclick: () => save(file(".csv"), toCsv(rows()), "text/csv"),
        },
        "CSV",
      ),
      E.el(
        "button",
        {
          type: "button",
          title: "Save the listed tasks as JSON",
          onclick: () => save(file(".json"), toJson(rows()), "application/json"),
        },
        "JSON",
      ),
    );
  }

  Object.assign(E, { toCsv, toJson, createExportButtons });
})();
