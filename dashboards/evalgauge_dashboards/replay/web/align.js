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
    if (fold(a) === fold(b)) return 1;
    const x = new Set(fold(a).split(" ")),
      y = new Set(fold(b).split(" "));
    const common = [...x].filter((word) => y.has(word)).length;
    return common / (x.size + y.size - common);
  }
  function placeLikeness(a, b) {
    const far = Math.hypot(a[0] - b[0], a[1] - b[1]);
    return far <= NEAR ? 1 : far >= FAR ? 0 : 1 - (far - NEAR) / (FAR - NEAR);
  }
  const middle = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

  /** How alike the targets of two actions of one kind are, 0 to 1: by element, text, keys, place. */
  function targetLikeness(a, b) {
    const kind = E.actions.kindOf(a);
    const scores = [];
    const keysA = E.actions.keysOf(a),
      keysB = E.actions.keysOf(b);
    if (kind === "key" && (keysA || keysB)) scores.push(fold(keysA || "") === fold(keysB || "") ? 1 : 0);
    const textA = E.actions.textOf(a),
      textB = E.actions.textOf(b);
    if (textA !== null || textB !== null)
      scores.push(textA === null || textB === null ? 0 : textLikeness(textA, textB));
    if (kind === "scroll") scores.push(E.actions.scrollOf(a).way === E.actions.scrollOf(b).way ? 1 : 0);
    const elementA = E.actions.elementOf(a),
      elementB = E.actions.elementOf(b);
    const pa = E.actions.placesOf(a),
      pb = E.actions.placesOf(b);
    const startA = parts(pa.start || (pa.box && middle(pa.box))),
      startB = parts(pb.start || (pb.box && middle(pb.box)));
    if (elementA !== null && elementB !== null && elementA === elementB) scores.push(1);
    else if (startA && startB && kind !== "scroll") scores.push(placeLikeness(startA, startB));
    else if (elementA !== null && elementB !== null) scores.push(0);
    const endA = parts(pa.end),
      endB = parts(pb.end);
    if (endA && endB) scores.push(placeLikeness(endA, endB));
    return scores.length ? Math.min(...scores) : 1;
  }

  /** {same, score}: whether two steps do the same, and what pairing them is worth. */
  function likeness(a, b) {
    if (E.actions.kindOf(a.action || {}) !== E.actions.kindOf(b.action || {})) return { same: false, score: OTHER };
    const target = targetLikeness(a.action || {}, b.action || {});
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
