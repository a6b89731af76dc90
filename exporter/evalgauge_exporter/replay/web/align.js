// Alignment of trajectories with that of the first run, by what their steps do (Needleman and Wunsch 1970, "A general
// method applicable to the search for similarities in the amino acid sequence of two proteins", J. Mol. Biol. 48).
"use strict";

(() => {
  const E = evalgauge;
  const GAP = -0.6; // a step that the other run does not have
  const OTHER = -1; // two steps of different kinds
  const SAME = 0.6; // similarity of targets from which two steps are the same
  const NEAR = 0.03, // fractions of the screen
    FAR = 0.12;
  const LONGEST = 1500; // steps; longer ones are aligned by their number

  /** Numbers above 1 are pixels; without the size of the screenshot a screen of 1920 × 1080 is assumed. */
  const toFractions = (place) =>
    place && place.every((one) => one >= 0 && one <= 1)
      ? place
      : place && place.map((one, i) => one / (i ? 1080 : 1920));

  const normalizeText = (text) => text.trim().toLowerCase().replace(/\s+/g, " ");
  function compareTexts(a, b) {
    if (a.text === b.text) return 1;
    const common = [...a.words].filter((word) => b.words.has(word)).length;
    return common / (a.words.size + b.words.size - common);
  }
  function comparePositions(a, b) {
    const far = Math.hypot(a[0] - b[0], a[1] - b[1]);
    return far <= NEAR ? 1 : far >= FAR ? 0 : 1 - (far - NEAR) / (FAR - NEAR);
  }
  const centerOf = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

  const looked = new WeakMap(); // step -> its features, as it is compared with each step of the other run
  function getFeatures(step) {
    let found = looked.get(step);
    if (found) return found;
    const action = step.action || {};
    const kind = E.actions.getKind(action);
    const { start, end, box } = E.actions.getPlaces(action);
    const text = E.actions.getText(action);
    const folded = text === null ? null : normalizeText(text);
    found = {
      kind,
      keys: kind === "key" ? normalizeText(E.actions.getKeys(action) || "") : "",
      text: folded,
      words: folded === null ? null : new Set(folded.split(" ")),
      way: kind === "scroll" ? E.actions.getScroll(action).way : null,
      element: E.actions.getElement(action),
      start: toFractions(start || (box && centerOf(box))),
      end: toFractions(end),
    };
    looked.set(step, found);
    return found;
  }

  /** The similarity of the targets of two actions of one kind, 0 to 1: by element, text, keys and position. */
  function compareTargets(a, b) {
    const scores = [];
    if (a.keys || b.keys) scores.push(a.keys === b.keys ? 1 : 0);
    if (a.text !== null || b.text !== null) scores.push(a.text === null || b.text === null ? 0 : compareTexts(a, b));
    if (a.way !== null) scores.push(a.way === b.way ? 1 : 0);
    if (a.element !== null && a.element === b.element) scores.push(1);
    else if (a.start && b.start && a.way === null) scores.push(comparePositions(a.start, b.start));
    else if (a.element !== null && b.element !== null) scores.push(0);
    if (a.end && b.end) scores.push(comparePositions(a.end, b.end));
    return scores.length ? Math.min(...scores) : 1;
  }

  /** {same, score}: whether two steps do the same, and the score of pairing them. */
  function compareSteps(a, b) {
    const x = getFeatures(a),
      y = getFeatures(b);
    if (x.kind !== y.kind) return { same: false, score: OTHER };
    const target = compareTargets(x, y);
    const screen = a.changed === undefined || b.changed === undefined ? 0 : a.changed === b.changed ? 0.2 : -0.2;
    return { same: target >= SAME, score: 0.3 + 1.7 * target + screen };
  }

  /** Align two runs: pairs of positions [i, j], null where one has no step. */
  function alignTwo(a, b) {
    if (a.length > LONGEST || b.length > LONGEST) return alignByNumber([a, b]);
    const wide = b.length + 1;
    const best = new Float64Array((a.length + 1) * wide);
    const way = new Uint8Array((a.length + 1) * wide); // 0 both, 1 only a, 2 only b
    for (let i = 1; i <= a.length; i++) {
      best[i * wide] = i * GAP;
      way[i * wide] = 1;
    }
    for (let j = 1; j <= b.length; j++) {
      best[j] = j * GAP;
      way[j] = 2;
    }
    for (let i = 1; i <= a.length; i++) {
      for (let j = 1; j <= b.length; j++) {
        const pair = best[(i - 1) * wide + j - 1] + compareSteps(a[i - 1], b[j - 1]).score;
        const onlyA = best[(i - 1) * wide + j] + GAP,
          onlyB = best[i * wide + j - 1] + GAP;
        const at = i * wide + j;
        best[at] = Math.max(pair, onlyA, onlyB);
        way[at] = best[at] === pair ? 0 : best[at] === onlyA ? 1 : 2;
      }
    }
    const pairs = [];
    for (let i = a.length, j = b.length; i || j;) {
      const step = way[i * wide + j];
      if (step === 0) pairs.push([--i, --j]);
      else if (step === 1) pairs.push([--i, null]);
      else pairs.push([null, --j]);
    }
    return pairs.reverse();
  }

  function alignByNumber(runs) {
    const length = Math.max(0, ...runs.map((steps) => steps.length));
    return Array.from({ length }, (_, i) => runs.map((steps) => (i < steps.length ? i : null)));
  }

  /**
   * Align runs: columns with a position for each run, null where it has no such step. Each run is aligned with the
   * first; steps of the others between two steps of the first share columns.
   */
  function alignRuns(runs, mode) {
    if (mode === "index" || runs.length < 2) return alignByNumber(runs);
    const first = runs[0];
    const between = Array.from({ length: first.length + 1 }, () => runs.map(() => [])); // before each of the first's steps
    const partner = runs.map(() => new Array(first.length).fill(null));
    for (let r = 1; r < runs.length; r++) {
      let at = 0;
      for (const [i, j] of alignTwo(first, runs[r])) {
        if (i !== null) {
          partner[r][i] = j;
          at = i + 1;
        } else between[at][r].push(j);
      }
    }
    const found = [];
    for (let i = 0; i <= first.length; i++) {
      const extra = Math.max(...between[i].map((list) => list.length));
      for (let k = 0; k < extra; k++) found.push(runs.map((_, r) => between[i][r][k] ?? null));
      if (i < first.length) found.push(runs.map((_, r) => (r === 0 ? i : partner[r][i])));
    }
    return found;
  }

  /** Classify the cells of a column against the first run: same, differs, missing, extra. */
  function classifyColumn(column, runs) {
    const measure = column[0] === null ? null : runs[0][column[0]];
    return column.map((position, r) => {
      if (position === null) return "missing";
      if (r === 0) return "same";
      if (measure === null) return "extra";
      return compareSteps(measure, runs[r][position]).same ? "same" : "differs";
    });
  }

  /** Find the first column in which not all runs do the same; null where all agree to the end. */
  function findDivergence(found, runs) {
    const at = found.findIndex((column) => classifyColumn(column, runs).some((cell) => cell !== "same"));
    return at < 0 ? null : at;
  }

  Object.assign(E, { align: { compareSteps, alignTwo, alignRuns, classifyColumn, findDivergence } });
})();
