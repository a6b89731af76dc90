// Bars and lines. They stretch with their box; their meaning is also said in words.

import { attribute, el, shown, svg, text } from "./dom.js";
import { meaning } from "./marks.js";

const MARK_SHARE = 0.035; // a segment narrower than this has no room for its mark

/** A bar of parts that are coloured by what they mean. */
export class Segments {
  constructor(statuses, attributes = {}) {
    this.parts = statuses.map((status) => {
      const { mark, tone } = meaning(status);
      return { status, node: el("span", { class: `segment tone-${tone}`, hidden: true }, el("span", {}, mark)) };
    });
    this.node = el("div", { class: "segments", ...attributes }, ...this.parts.map((part) => part.node));
  }

  /** `sizes`: by status; what is not there is 0. */
  update(sizes) {
    const total = this.parts.reduce((sum, { status }) => sum + (sizes[status] ?? 0), 0);
    for (const { status, node } of this.parts) {
      const size = sizes[status] ?? 0;
      shown(node, size > 0);
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
    attribute(this.fill, "width", rate === null ? 0 : (rate * 100).toFixed(2));
    const known = low !== null && low !== undefined && high !== null && high !== undefined;
    attribute(this.whisker, "d", known ? `M${(low * 100).toFixed(2)} 5H${(high * 100).toFixed(2)}` : null);
  }
}

const WIDTH = 1000;
const HEIGHT = 100;

/** A rate over the course of a run, from 0 to 100 %, with the interval of its last value at the right. */
export class RateChart {
  /** `readout(point)`: the words for the point under the pointer. */
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
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
  }

  /** `points`: `[{x, y}]` with rising x, y from 0 to 1. `words`: `{label, first, last, empty}`. */
  update(points, low, high, words) {
    this.points = points;
    shown(this.empty, points.length === 0);
    text(this.empty, points.length === 0 ? words.empty : "");
    attribute(this.svg, "aria-label", words.label);
    text(this.first, points.length > 1 ? words.first : "");
    text(this.last, points.length > 0 ? words.last : "");
    const places = points.map((point) => this.place(point));
    const path = places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(2)}`).join("L");
    attribute(this.line, "d", places.length > 1 ? `M${path}` : null);
    attribute(this.area, "d", places.length > 1 ? `M${places[0][0].toFixed(1)} ${HEIGHT}L${path}V${HEIGHT}Z` : null);
    const end = places.at(-1);
    attribute(this.end, "d", end ? `M${end[0].toFixed(1)} ${end[1].toFixed(2)}h0` : null);
    const ranged = end && low !== null && high !== null;
    attribute(
      this.interval,
      "d",
      ranged ? `M${end[0].toFixed(1)} ${(HEIGHT * (1 - high)).toFixed(2)}V${(HEIGHT * (1 - low)).toFixed(2)}` : null,
    );
  }

  place({ x, y }) {
    const from = this.points[0].x;
    const to = this.points.at(-1).x;
    return [to > from ? ((x - from) / (to - from)) * (WIDTH - 12) : WIDTH - 12, HEIGHT * (1 - y)];
  }

  point(event) {
    if (this.points.length === 0) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = this.points[0];
    for (const point of this.points) {
      if (Math.abs(this.place(point)[0] - x) < Math.abs(this.place(nearest)[0] - x)) nearest = point;
    }
    attribute(this.cursor, "d", `M${this.place(nearest)[0].toFixed(1)} 0V${HEIGHT}`);
    text(this.reading, this.readout(nearest));
    shown(this.reading, true);
  }

  unpoint() {
    attribute(this.cursor, "d", null);
    shown(this.reading, false);
  }
}
