// The rows of task tables: made from the parts of runs, filtered, sorted, counted.
"use strict";

(() => {
  const E = evalgauge;
  let index = null;

  const loadIndex = async () => (index = await E.load("index"));
  const runs = () => index.runs;

  /** A run by its id; one whose plus was not escaped in the address is found too. */
  function runOf(id) {
    return (
      index.runs.find((run) => run.run_id === id) || index.runs.find((run) => run.run_id.replaceAll("+", " ") === id)
    );
  }

  /** The table of a run: {run, rows, clusters, survival, action_mix}; each row an object by column. */
  async function tableOf(run) {
    const content = await E.load(run.key + "/tasks");
    if (!content.table) {
      const names = content.columns;
      const rows = content.rows.map((values) => {
        const row = { run };
        for (let i = 0; i < names.length; i++) row[names[i]] = values[i];
        return row;
      });
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
      content.rows = null;
    }
    return content.table;
  }

  function text(row) {
    if (row.text === undefined) {
      row.text = [row.task_id, row.domain, row.instruction, row.error, row.reason, E.words(row.outcome)]
        .filter(Boolean)
        .join("\n")
        .toLowerCase();
    }
    return row.text;
  }

  /** Rows that fit {q, domain, outcome, model, cluster}; `without` leaves one of them out, for the counts beside it. */
  function filter(rows, want, without) {
    const terms = without === "q" || !want.q ? [] : want.q.toLowerCase().split(/\s+/).filter(Boolean);
    const domain = without !== "domain" && want.domain;
    const outcome = without !== "outcome" && want.outcome;
    const model = without !== "model" && want.model;
    const cluster = without !== "cluster" && want.cluster ? Number(want.cluster) : null;
    if (!terms.length && !domain && !outcome && !model && cluster === null) return rows;
    return rows.filter((row) => {
      if (domain && row.domain !== domain) return false;
      if (outcome && (outcome === "unsuccessful" ? !unsuccessful(row) : row.outcome !== outcome)) return false;
      if (model && row.run.model !== model) return false;
      if (cluster !== null && row.cluster !== cluster) return false;
      if (!terms.length) return true;
      const all = text(row);
      return terms.every((term) => all.includes(term));
    });
  }
  const unsuccessful = (row) => row.outcome !== "success" && row.outcome !== "pending" && row.outcome !== "running";

  const SORTS = {
    order: null,
    task: (a, b) => a.task_id.localeCompare(b.task_id, "en", { numeric: true }),
    domain: (a, b) => a.domain.localeCompare(b.domain, "en") || SORTS.task(a, b),
    outcome: (a, b) => E.STATUSES.indexOf(a.outcome) - E.STATUSES.indexOf(b.outcome),
    run: (a, b) => a.run.run_id.localeCompare(b.run.run_id, "en", { numeric: true }),
    score: by((row) => row.score),
    steps: by((row) => row.steps),
    duration: by((row) => row.duration_seconds),
    tokens: by((row) => (row.tokens ? (E.allInput(row.tokens) || 0) + (row.tokens[3] || 0) : null)),
    cost: by((row) => row.cost_usd),
  };
  function by(value) {
    return (a, b) => {
      const x = value(a),
        y = value(b);
      if (!E.known(x) || !E.known(y)) return E.known(x) ? -1 : E.known(y) ? 1 : 0;
      return x - y;
    };
  }

  /** Sorted rows; a name with a leading minus turns the order round, what is not known stays at the end. */
  function sort(rows, name) {
    const back = (name || "").startsWith("-");
    const order = SORTS[(name || "").replace(/^-/, "")];
    if (!order) return back ? [...rows].reverse() : rows;
    if (!back) return [...rows].sort(order);
    const measure = name.slice(1);
    const sorted = [...rows].sort((a, b) => order(b, a));
    return MEASURES.includes(measure)
      ? [...sorted.filter((row) => !lacks(row, measure)), ...sorted.filter((row) => lacks(row, measure))]
      : sorted;
  }
  const MEASURES = ["score", "steps", "duration", "tokens", "cost"];
  const lacks = (row, name) =>
    !E.known(
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

  /** success / measured of some rows, null of none. */
  function successRate(rows) {
    let won = 0,
      measured = 0;
    for (const row of rows) {
      if (E.MEASURED.includes(row.outcome)) measured++;
      if (row.outcome === "success") won++;
    }
    return { won, measured, rate: measured ? won / measured : null };
  }

  /** The content of an attempt; null where nothing was recorded of it. */
  const attemptOf = (row) => (row.outcome === "pending" ? Promise.resolve(null) : E.load(row.run.key + "/" + row.key));

  /** Ids that resemble one that is not there. */
  function near(id, ids) {
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
    runs,
    runOf,
    tableOf,
    filter,
    sort,
    countBy,
    successRate,
    attemptOf,
    unsuccessful,
    near,
    index: () => index,
  });
})();
