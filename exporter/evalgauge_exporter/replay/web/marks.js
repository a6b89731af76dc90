// Marks of an action, in fractions of the screenshot's width and height (0 to 1), drawn as an SVG over it.
"use strict";

(() => {
  const E = evalgauge;

  /** Map a recorded position to fractions of the screenshot: numbers from 0 to 1 are fractions, others pixels. */
  function createScaler(action, width, height) {
    const wide = Number(action.screen_width ?? action.image_width ?? action.viewport_width) || width;
    const high = Number(action.screen_height ?? action.image_height ?? action.viewport_height) || height;
    const parts = (numbers) => numbers.every((one) => one >= 0 && one <= 1);
    return (numbers) => {
      if (parts(numbers)) return numbers;
      if (!wide || !high) return null;
      return numbers.map((one, i) => one / (i % 2 ? high : wide));
    };
  }

  /** The marks of an action: {kind: click|drag|scroll|text|move|box, x, y, …}, in fractions of the screenshot. */
  function computeMarks(action, width, height) {
    const scale = createScaler(action, width, height);
    const kind = E.actions.getKind(action);
    const places = E.actions.getPlaces(action);
    const box = places.box && scale(places.box);
    let start = places.start && scale(places.start);
    const end = places.end && scale(places.end);
    const marks = [];
    if (box) {
      marks.push({ kind: "box", x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1] });
      start = start || [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    }
    if (kind === "drag" || (end && kind !== "scroll")) {
      const path =
        places.path.length > 1 ? places.path.map((one) => scale(one)).filter(Boolean) : [start, end].filter(Boolean);
      if (path.length > 1) marks.push({ kind: "drag", path });
      else if (start) marks.push({ kind: "click", x: start[0], y: start[1] });
    } else if (kind === "scroll") {
      const { way } = E.actions.getScroll(action);
      marks.push({ kind: "scroll", way, x: start ? start[0] : 0.5, y: start ? start[1] : 0.5 });
    } else if (kind === "type" || kind === "key" || kind === "select") {
      const text = kind === "key" ? E.actions.getKeys(action) || E.actions.getText(action) : E.actions.getText(action);
      if (start) marks.push({ kind: "click", x: start[0], y: start[1], light: true });
      if (text)
        marks.push({
          kind: "text",
          text,
          keys: kind === "key",
          x: start ? start[0] : null,
          y: start ? start[1] : null,
        });
    } else if (start && kind !== "done" && kind !== "wait") {
      marks.push({
        kind: kind === "move" ? "move" : "click",
        twice: kind === "double click",
        right: kind === "right click",
        x: start[0],
        y: start[1],
      });
    }
    return marks;
  }

  const isOutside = (mark) =>
    (mark.path ? mark.path.flat() : [mark.x, mark.y]).some((one) => one !== null && (one < 0 || one > 1));

  /** Draw marks into an SVG whose viewBox is the displayed size. Returns the number of marks outside the screenshot. */
  function drawMarks(svg, action, natural, shown) {
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 " + shown.width + " " + shown.height);
    const marks = computeMarks(action, natural.width, natural.height);
    const X = (part) => Math.min(Math.max(part, 0), 1) * shown.width;
    const Y = (part) => Math.min(Math.max(part, 0), 1) * shown.height;
    for (const mark of marks) svg.append(...drawMark(mark, X, Y, shown));
    return marks.filter(isOutside).length;
  }

  const drawOutlined = (tag, attributes) => [
    E.el("svg:" + tag, { ...attributes, class: "halo" }),
    E.el("svg:" + tag, { ...attributes, class: "ink" }),
  ];

  function drawMark(mark, X, Y, shown) {
    if (mark.kind === "box")
      return drawOutlined("rect", {
        x: X(mark.x),
        y: Y(mark.y),
        width: Math.max(2, mark.width * shown.width),
        height: Math.max(2, mark.height * shown.height),
        rx: 3,
      });
    if (mark.kind === "drag") return drawDrag(mark.path.map(([x, y]) => [X(x), Y(y)]));
    if (mark.kind === "scroll") return drawScroll(mark.way, X(mark.x), Y(mark.y));
    if (mark.kind === "text") return drawText(mark, X, Y, shown);
    const x = X(mark.x),
      y = Y(mark.y);
    const rings = [...drawOutlined("circle", { cx: x, cy: y, r: mark.light ? 7 : 12 })];
    if (mark.twice) rings.push(...drawOutlined("circle", { cx: x, cy: y, r: 18 }));
    if (mark.right) rings.push(...drawOutlined("path", { d: "M" + (x + 6) + " " + (y - 20) + "h14v14" }));
    rings.push(
      mark.kind === "move"
        ? E.el("svg:path", { class: "ink", d: "M" + (x - 5) + " " + y + "h10M" + x + " " + (y - 5) + "v10" })
        : E.el("svg:circle", { class: "dot", cx: x, cy: y, r: 3 }),
    );
    return rings;
  }
  function drawDrag(points) {
    const [x, y] = points[points.length - 1],
      [fx, fy] = points[points.length - 2];
    const angle = Math.atan2(y - fy, x - fx);
    const tip = [0.8, -0.8].map(
      (turn) => x - 14 * Math.cos(angle - turn * 0.6) + " " + (y - 14 * Math.sin(angle - turn * 0.6)),
    );
    const line =
      "M" + points.map((point) => point.join(" ")).join("L") + "M" + tip[0] + "L" + x + " " + y + "L" + tip[1];
    return [...drawOutlined("path", { d: line }), ...drawOutlined("circle", { cx: points[0][0], cy: points[0][1], r: 6 })];
  }
  function drawScroll(way, x, y) {
    const [dx, dy] = { up: [0, -1], down: [0, 1], left: [-1, 0], right: [1, 0] }[way];
    const chevron = (far) =>
      "M" +
      (x + dx * far - (dx ? 8 * dx : 10)) +
      " " +
      (y + dy * far - (dy ? 8 * dy : 10)) +
      "L" +
      (x + dx * far) +
      " " +
      (y + dy * far) +
      "L" +
      (x + dx * far - (dx ? 8 * dx : -10)) +
      " " +
      (y + dy * far - (dy ? 8 * dy : -10));
    return drawOutlined("path", { d: chevron(4) + chevron(16) + chevron(28) });
  }
  function drawText(mark, X, Y, shown) {
    const text = mark.text.length > 48 ? mark.text.slice(0, 47) + "…" : mark.text;
    const width = Math.min(shown.width - 16, text.length * 8.2 + 42);
    const x = Math.min(
      Math.max(8, mark.x === null ? (shown.width - width) / 2 : X(mark.x) + 14),
      shown.width - width - 8,
    );
    const y = Math.min(Math.max(8, mark.y === null ? shown.height - 48 : Y(mark.y) + 14), shown.height - 40);
    return [
      E.el("svg:rect", { class: "note", x, y, width, height: 28, rx: 4 }),
      E.el("svg:text", { class: "note-sign", x: x + 9, y: y + 19 }, mark.keys ? "⌨" : "T"),
      E.el("svg:text", { class: "note-text", x: x + 33, y: y + 19 }, text),
    ];
  }

  Object.assign(E, { marks: { computeMarks, drawMarks } });
})();
