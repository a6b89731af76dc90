// Bar and line charts. They stretch with their box; text states what they show.

import { setAttribute, el, setVisible, svg, setText } from "./dom.js";
import { describeStatus } from "./marks.js";

const MARK_SHARE = 0.035; // a segment with a smaller share has no room for its mark

/** A stacked bar with one segment for each status, in its colour. */
export class Segments {
  constructor(statuses, attributes = {}) {
    this.parts = statuses.map((status) => {
      const { mark, tone } = describeStatus(status);
      return { status, node: el("span", { class: `segment tone-${tone}`, hidden: true }, el("span", {}, mark)) };
    });
    this.node = el("div", { class: "segments", ...attributes }, ...this.parts.map((part) => part.node));
  }

  /** `sizes`: size by status; a missing one is 0. */
  update(sizes) {
    const total = this.parts.reduce((sum, { status }) => sum + (sizes[status] ?? 0), 0);
    for (const { status, node } of this.parts) {
      const size = sizes[status] ?? 0;
      setVisible(node, size > 0);
      const grow = String(total > 0 ? size / total : 0);
      if (node.style.flexGrow !== grow) node.style.flexGrow = grow;
      node.classList.toggle("narrow", size < total * MARK_SHARE);
    }
  }
}

/** A rate as a bar from 0 to 1, with its interval as a whisker. */
export class RateBar {
  constructor() {
    this.fill = svg("rect", { class: "fill", x: 0, y: 0, height: 10, width: 0 });
    this.whisker = svg("path", { class: "whisker" });
    this.node = svg(
      "svg",
      { class: "rate-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "track", x: 0, y: 0, width: 100, height: 10 }),
      this.fill,
      this.whisker,
    );
  }

  set(rate, low, high) {
    setAttribute(this.fill, "width", rate === null ? 0 : (rate * 100).toFixed(2));
    const known = low !== null && low !== undefined && high !== null && high !== undefined;
    setAttribute(this.whisker, "d", known ? `M${(low * 100).toFixed(2)} 5H${(high * 100).toFixed(2)}` : null);
  }
}

const WIDTH = 1000;
const HEIGHT = 100;

/** A rate over the course of a run, from 0 to 100 %, with the interval of its last value at the right. */
export class RateChart {
  /** `readout(point)` returns the text for the point under the pointer. */
  constructor(readout) {
    this.readout = readout;
    this.points = [];
    this.line = svg("path", { class: "line" });
    this.area = svg("path", { class: "area" });
    this.interval = svg("path", { class: "interval" });
    this.end = svg("path", { class: "end" });
    this.cursor = svg("path", { class: "cursor" });
    const grid = [0, 50, 100].map((percent) =>
      svg("path", { class: "grid", d: `M0 ${HEIGHT - percent}H${WIDTH}` }),
    );
    this.svg = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      ...grid,
      this.area,
      this.interval,
      this.line,
      this.end,
      this.cursor,
    );
    this.reading = el("p", { class: "reading", "aria-hidden": "true", hidden: true });
    this.first = el("span");
    this.last = el("span");
    this.empty = el("p", { class: "chart-empty" });
    this.node = el(
      "div",
      { class: "chart" },
      el("div", { class: "scale", "aria-hidden": "true" }, ...["100 %", "50 %", "0 %"].map((tick) => el("span", {}, tick))),
      el("div", { class: "plot" }, this.svg, this.reading, this.empty),
      el("div", { class: "course", "aria-hidden": "true" }, this.first, this.last),
    );
    this.svg.addEventListener("pointermove", (event) => this.showReading(event));
    this.svg.addEventListener("pointerleave", () => this.hideReading());
  }

  /** `points`: `[{x, y}]` with ascending x, y from 0 to 1. `words`: `{label, first, last, empty}`. */
  update(points, low, high, words) {
    this.points = points;
    setVisible(this.empty, points.length === 0);
    setText(this.empty, points.length === 0 ? words.empty : "");
    setAttribute(this.svg, "aria-label", words.label);
    setText(this.first, points.length > 1 ? words.first : "");
    setText(this.last, points.length > 0 ? words.last : "");
    const pixels = points.map((point) => this.toPixels(point));
    const path = pixels.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(2)}`).join("L");
    setAttribute(this.line, "d", pixels.length > 1 ? `M${path}` : null);
    setAttribute(this.area, "d", pixels.length > 1 ? `M${pixels[0][0].toFixed(1)} ${HEIGHT}L${path}V${HEIGHT}Z` : null);
    const end = pixels.at(-1);
    setAttribute(this.end, "d", end ? `M${end[0].toFixed(1)} ${end[1].toFixed(2)}h0` : null);
    const ranged = end && low !== null && high !== null;
    setAttribute(
      this.interval,
      "d",
      ranged ? `M${end[0].toFixed(1)} ${(HEIGHT * (1 - high)).toFixed(2)}V${(HEIGHT * (1 - low)).toFixed(2)}` : null,
    );
  }

  toPixels({ x, y }) {
    const from = this.points[0].x;
    const to = this.points.at(-1).x;
    return [to > from ? ((x - from) / (to - from)) * (WIDTH - 12) : WIDTH - 12, HEIGHT * (1 - y)];
  }

  showReading(event) {
    if (this.points.length === 0) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = this.points[0];
    for (const point of this.points) {
      if (Math.abs(this.toPixels(point)[0] - x) < Math.abs(this.toPixels(nearest)[0] - x)) nearest = point;
    }
    setAttribute(this.cursor, "d", `M${this.toPixels(nearest)[0].toFixed(1)} 0V${HEIGHT}`);
    setText(this.reading, this.readout(nearest));
    setVisible(this.reading, true);
  }

  hideReading() {
    setAttribute(this.cursor, "d", null);
    setVisible(this.reading, false);
  }
}
