// The rows of task tables: loaded from the parts of runs, filtered, sorted and counted.
"use strict";

(() => {
  const E = evalgauge;
  let index = null;

  const loadIndex = async () => (index = await E.load("index"));
  const getRuns = () => index.runs;

  /** Find a run by its id, also where a plus in it was not escaped in the address. */
  function findRun(id) {
    return (
      index.runs.find((run) => run.run_id === id) || index.runs.find((run) => run.run_id.replaceAll("+", " ") === id)
    );
  }

  /** Load the table of a run: {run, rows, attempts, clusters, survival, action_mix}; each row is an object by column. */
  async function loadTable(run) {
    const content = await E.load(run.key + "/tasks");
    if (!content.table) {
      const names = content.columns;
      const parts = await Promise.all(
        Array.from({ length: content.parts }, (_, part) => E.load(run.key + "/rows-" + part)),
      );
      if (content.table) return content.table; // another view has asked for it, too
      const rows = [];
      for (const part of parts) {
        for (const values of part.rows) {
          const row = { run };
          for (let i = 0; i < names.length; i++) row[names[i]] = values[i];
          rows.push(row);
        }
      }
      const attempts = new Map();
      for (const row of rows) {
        if (!attempts.has(row.task_id)) attempts.set(row.task_id, []);
        attempts.get(row.task_id).push(row);
      }
      content.table = {
        run,
        rows,
        attempts,
        clusters: content.clusters,
        survival: content.survival,
        action_mix: content.action_mix,
      };
      for (let part = 0; part < content.parts; part++) E.unload(run.key + "/rows-" + part);
    }
    return content.table;
  }

  function searchText(row) {
    if (row.text === undefined) {
      row.text = [row.task_id, row.domain, row.instruction, row.error, row.reason, E.humanize(row.outcome)]
        .filter(Boolean)
        .join("\n")
        .toLowerCase();
    }
    return row.text;
  }

  /** Filter rows by {q, domain, outcome, model, cluster}; `without` names one to ignore, for the counts of its options. */
  function filterRows(rows, want, without) {
    const terms = without === "q" || !want.q ? [] : want.q.toLowerCase().split(/\s+/).filter(Boolean);
    const domain = without !== "domain" && want.domain;
    const outcome = without !== "outcome" && want.outcome;
    const model = without !== "model" && want.model;
    const cluster = without !== "cluster" && want.cluster ? Number(want.cluster) : null;
    if (!terms.length && !domain && !outcome && !model && cluster === null) return rows;
    return rows.filter((row) => {
      if (domain && row.domain !== domain) return false;
      if (outcome && (outcome === "unsuccessful" ? !isUnsuccessful(row) : row.outcome !== outcome)) return false;
      if (model && row.run.model !== model) return false;
      if (cluster !== null && row.cluster !== cluster) return false;
      if (!terms.length) return true;
      const all = searchText(row);
      return terms.every((term) => all.includes(term));
    });
  }
  /** What a row is called: a task, or one attempt of several at a task. */
  const unitOf = (rows) => (rows.some((row) => row.attempt > 1) ? "attempt" : "task");
  const isUnsuccessful = (row) => row.outcome !== "success" && row.outcome !== "pending" && row.outcome !== "running";

  const SORTS = {
    order: null,
    task: (a, b) => a.task_id.localeCompare(b.task_id, "en", { numeric: true }),
    domain: (a, b) => a.domain.localeCompare(b.domain, "en") || SORTS.task(a, b),
    outcome: (a, b) => E.STATUSES.indexOf(a.outcome) - E.STATUSES.indexOf(b.outcome),
    run: (a, b) => a.run.run_id.localeCompare(b.run.run_id, "en", { numeric: true }),
    score: compareBy((row) => row.score),
    steps: compareBy((row) => row.steps),
    duration: compareBy((row) => row.duration_seconds),
    tokens: compareBy((row) => (row.tokens ? (E.sumInputTokens(row.tokens) || 0) + (row.tokens[3] || 0) : null)),
    cost: compareBy((row) => row.cost_usd),
  };
  function compareBy(value) {
    return (a, b) => {
      const x = value(a),
        y = value(b);
      if (!E.isKnown(x) || !E.isKnown(y)) return E.isKnown(x) ? -1 : E.isKnown(y) ? 1 : 0;
      return x - y;
    };
  }

  /** Sort rows by a name; a leading minus reverses the order, unknown values stay at the end. */
  function sortRows(rows, name) {
    const back = (name || "").startsWith("-");
    const order = SORTS[(name || "").replace(/^-/, "")];
    if (!order) return back ? [...rows].reverse() : rows;
    if (!back) return [...rows].sort(order);
    const measure = name.slice(1);
    const sorted = [...rows].sort((a, b) => order(b, a));
    return MEASURES.includes(measure)
      ? [...sorted.filter((row) => !isMissing(row, measure)), ...sorted.filter((row) => isMissing(row, measure))]
      : sorted;
  }
  const MEASURES = ["score", "steps", "duration", "tokens", "cost"];
  const isMissing = (row, name) =>
    !E.isKnown(
      {
        score: row.score,
        steps: row.steps,
        duration: row.duration_seconds,
        tokens: row.tokens ? 0 : null,
        cost: row.cost_usd,
      }[name],
    );

  function countBy(rows, value) {
    const counts = new Map();
    for (const row of rows) counts.set(value(row), (counts.get(value(row)) || 0) + 1);
    return counts;
  }

  /** The success rate of rows: {won, measured, rate}; the rate is null where none was measured. */
  function computeSuccessRate(rows) {
    let won = 0,
      measured = 0;
    for (const row of rows) {
      if (E.MEASURED.includes(row.outcome)) measured++;
      if (row.outcome === "success") won++;
    }
    return { won, measured, rate: measured ? won / measured : null };
  }

  /** Load the content of an attempt; null where nothing was recorded. */
  const loadAttempt = (row) => (row.outcome === "pending" ? Promise.resolve(null) : E.load(row.run.key + "/" + row.key));

  /** Find ids similar to an unknown one. */
  function findSimilar(id, ids) {
    const wanted = String(id).toLowerCase();
    const pieces = wanted.split(/[^a-z0-9]+/).filter(Boolean);
    return ids
      .map((one) => ({ one, score: pieces.filter((piece) => one.toLowerCase().includes(piece)).length }))
      .filter((found) => found.score)
      .sort((a, b) => b.score - a.score)
      .slice(0, 3)
      .map((found) => found.one);
  }

  Object.assign(E, {
    loadIndex,
    getRuns,
    findRun,
    loadTable,
    filterRows,
    sortRows,
    countBy,
    computeSuccessRate,
    loadAttempt,
    isUnsuccessful,
    unitOf,
    findSimilar,
    getIndex: () => index,
  });
})();
