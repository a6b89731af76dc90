// Aligning trajectories by what their steps do (Needleman and Wunsch 1970, "A general method applicable to the search
// for similarities in the amino acid sequence of two proteins", J. Mol. Biol. 48), the first run being the measure.
"use strict";

(() => {
  const E = evalgauge;
  const GAP = -0.6; // a step that the other run does not have
  const OTHER = -1; // two steps of different kinds
  const SAME = 0.6; // likeness of targets from which two steps count as the same
  const NEAR = 0.03,
    FAR = 0.12; // parts of the screen
  const LONGEST = 1500; // steps; longer ones are aligned by their number

  /** Numbers above 1 are pixels; without the picture's size they are taken as parts of a common screen. */
  const parts = (place) =>
    place && place.every((one) => one >= 0 && one <= 1)
      ? place
      : place && place.map((one, i) => one / (i ? 1080 : 1920));

  const fold = (text) => text.trim().toLowerCase().replace(/\s+/g, " ");
  function textLikeness(a, b) {
    if (a.text === b.text) return 1;
    const common = [...a.words].filter((word) => b.words.has(word)).length;
    return common / (a.words.size + b.words.size - common);
  }
  function placeLikeness(a, b) {
    const far = Math.hypot(a[0] - b[0], a[1] - b[1]);
    return far <= NEAR ? 1 : far >= FAR ? 0 : 1 - (far - NEAR) / (FAR - NEAR);
  }
  const middle = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

  const looked = new WeakMap(); // step -> what comparing it needs, as it is compared with each step of the other run
  function traits(step) {
    let found = looked.get(step);
    if (found) return found;
    const action = step.action || {};
    const kind = E.actions.kindOf(action);
    const { start, end, box } = E.actions.placesOf(action);
    const text = E.actions.textOf(action);
    const folded = text === null ? null : fold(text);
    found = {
      kind,
      keys: kind === "key" ? fold(E.actions.keysOf(action) || "") : "",
      text: folded,
      words: folded === null ? null : new Set(folded.split(" ")),
      way: kind === "scroll" ? E.actions.scrollOf(action).way : null,
      element: E.actions.elementOf(action),
      start: parts(start || (box && middle(box))),
      end: parts(end),
    };
    looked.set(step, found);
    return found;
  }

  /** How alike the targets of two actions of one kind are, 0 to 1: by element, text, keys, place. */
  function targetLikeness(a, b) {
    const scores = [];
    if (a.keys || b.keys) scores.push(a.keys === b.keys ? 1 : 0);
    if (a.text !== null || b.text !== null) scores.push(a.text === null || b.text === null ? 0 : textLikeness(a, b));
    if (a.way !== null) scores.push(a.way === b.way ? 1 : 0);
    if (a.element !== null && a.element === b.element) scores.push(1);
    else if (a.start && b.start && a.way === null) scores.push(placeLikeness(a.start, b.start));
    else if (a.element !== null && b.element !== null) scores.push(0);
    if (a.end && b.end) scores.push(placeLikeness(a.end, b.end));
    return scores.length ? Math.min(...scores) : 1;
  }

  /** {same, score}: whether two steps do the same, and what pairing them is worth. */
  function likeness(a, b) {
    const x = traits(a),
      y = traits(b);
    if (x.kind !== y.kind) return { same: false, score: OTHER };
    const target = targetLikeness(x, y);
    const screen = a.changed === undefined || b.changed === undefined ? 0 : a.changed === b.changed ? 0.2 : -0.2;
    return { same: target >= SAME, score: 0.3 + 1.7 * target + screen };
  }

  /** Pairs of positions [i, j], null where one has no step. */
  function alignTwo(a, b) {
    if (a.length > LONGEST || b.length > LONGEST) return byNumber([a, b]);
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
        const pair = best[(i - 1) * wide + j - 1] + likeness(a[i - 1], b[j - 1]).score;
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

  function byNumber(runs) {
    const length = Math.max(0, ...runs.map((steps) => steps.length));
    return Array.from({ length }, (_, i) => runs.map((steps) => (i < steps.length ? i : null)));
  }

  /**
   * Columns of positions, one for each run; null where a run has no such step. Each run is aligned with the first, and
   * what the others do between two of its steps stands side by side.
   */
  function columns(runs, mode) {
    if (mode === "index" || runs.length < 2) return byNumber(runs);
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

  /** How each cell of a column stands to the first run: same, differs, missing, extra; the first's own is same or missing. */
  function standing(column, runs) {
    const measure = column[0] === null ? null : runs[0][column[0]];
    return column.map((position, r) => {
      if (position === null) return "missing";
      if (r === 0) return "same";
      if (measure === null) return "extra";
      return likeness(measure, runs[r][position]).same ? "same" : "differs";
    });
  }

  /** The first column in which not all do the same; null where all agree to the end. */
  function firstDivergence(found, runs) {
    const at = found.findIndex((column) => standing(column, runs).some((cell) => cell !== "same"));
    return at < 0 ? null : at;
  }

  Object.assign(E, { align: { likeness, alignTwo, columns, standing, firstDivergence } });
})();
