// The wall of screens: the newest screenshot of each worker, or the last lines of a text agent. Only tiles in view load
// their screenshots, each at most every two seconds.

import { Rows, el, setAttribute, setText, setVisible } from "./dom.js";
import { formatCount, formatDuration, formatPercent } from "./format.js";
import { pageUrl } from "./links.js";
import { createChip, describeStatus } from "./marks.js";
import { getSelectedRun } from "./selector.js";
import { Feed } from "./transport.js";

const IMAGE_MS = 2_000;
const SLOW_SECONDS = 180; // without a step
const SIZES = [
  [4, 480],
  [12, 360],
  [40, 240],
  [Infinity, 170],
]; // up to so many workers, pixels of a tile at least

const byId = (id) => document.getElementById(id);
let wall = null;
let receivedAt = 0;

/** The replay of a task at its newest step. */
function taskUrl(tile) {
  const run = wall.run_id;
  const url = new URL(`replay/${encodeURIComponent(run)}/`, document.baseURI);
  const place = new URLSearchParams({ run, task: tile.task_id, step: "last" });
  if (tile.attempt > 1) place.set("attempt", tile.attempt);
  url.hash = place.toString();
  return url.href;
}

const tilesByNode = new WeakMap();
const inView = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) tilesByNode.get(entry.target).setInView(entry.isIntersecting);
  },
  { rootMargin: "100px" },
);

class TileView {
  constructor(workerId) {
    this.image = el("img", { alt: "", decoding: "async", hidden: true });
    this.lines = el("pre", { dir: "auto", hidden: true });
    this.none = el("span", { class: "none" });
    this.task = el("b");
    this.when = el("span", { class: "when" });
    this.worker = el("span", { class: "none", title: workerId }, workerId);
    this.outcomes = el("span", { class: "outcomes" });
    this.body = el(
      "a",
      { class: "body" },
      el("div", { class: "screen" }, this.image, this.lines, this.none),
      el("div", { class: "foot" }, this.task, this.when, this.worker, this.outcomes),
    );
    this.node = el("li", { class: "tile" }, this.body);
    this.tile = null;
    this.isInView = false;
    this.loadedAt = -Infinity;
    this.timer = null;
    this.image.addEventListener("load", () => setVisible(this.image, true));
    this.image.addEventListener("error", () => setVisible(this.image, false));
    tilesByNode.set(this.node, this);
    inView.observe(this.node);
  }

  update(tile) {
    this.tile = tile;
    const word = describeStatus(tile.status).word;
    setAttribute(this.body, "href", tile.task_id === null ? null : taskUrl(tile));
    setText(this.task, tile.task_id ?? word);
    setAttribute(this.task, "title", tile.task_id);
    setText(this.lines, tile.lines ?? "");
    setVisible(this.lines, tile.screenshot === null && tile.lines !== null);
    setText(this.none, tile.task_id === null ? word : "no screenshot yet");
    setVisible(this.none, tile.screenshot === null && tile.lines === null);
    setAttribute(this.image, "alt", tile.screenshot === null ? "" : `Screen of ${tile.worker_id}, step ${tile.step}`);
    const key = tile.outcomes.join(" ");
    if (this.outcomeKey !== key) {
      this.outcomeKey = key;
      this.outcomes.replaceChildren(...tile.outcomes.map(createChip));
      setAttribute(this.outcomes, "title", tile.outcomes.map((outcome) => describeStatus(outcome).word).join(", ") || null);
      this.outcomes.append(el("span", { class: "spoken" }, tile.outcomes.map((outcome) => describeStatus(outcome).word).join(", ")));
    }
    this.updateTimes();
    this.loadImage();
  }

  updateTimes() {
    const tile = this.tile;
    const passed = wall.status === "running" ? Date.now() / 1000 - receivedAt : 0;
    const most = tile.max_steps ? ` of ${formatCount(tile.max_steps)}` : "";
    const elapsed = tile.elapsed_seconds === null ? "" : `, ${formatDuration(tile.elapsed_seconds + passed)}`;
    setText(this.when, tile.task_id === null ? "" : `step ${formatCount(tile.step)}${most}${elapsed}`);
    this.node.classList.toggle("slow", tile.step_seconds !== null && tile.step_seconds + passed > SLOW_SECONDS);
  }

  setInView(isInView) {
    this.isInView = isInView;
    this.loadImage();
  }

  loadImage() {
    if (this.tile === null || this.timer !== null) return;
    const wanted = this.tile.screenshot;
    if (wanted === null) {
      setVisible(this.image, false);
      this.image.removeAttribute("src");
      return;
    }
    if (!this.isInView || document.hidden || this.image.getAttribute("src") === wanted) return;
    const wait = this.loadedAt + IMAGE_MS - performance.now();
    if (wait > 0) {
      this.timer = setTimeout(() => {
        this.timer = null;
        this.loadImage();
      }, wait);
      return;
    }
    this.loadedAt = performance.now();
    this.image.src = wanted;
  }
}

const views = new Map();
const tiles = new Rows(byId("wall"), (workerId) => {
  const view = new TileView(workerId);
  views.set(workerId, view);
  return view;
});

function showWall(next) {
  wall = next;
  receivedAt = Date.now() / 1000;
  const run = wall.run_id;
  document.title = run === null ? "Wall – evalgauge" : `${wall.model_id} on ${wall.benchmark}, wall – evalgauge`;
  setText(byId("run"), run ?? "");
  setAttribute(byId("back"), "href", run === null ? "./" : pageUrl(run).replace(/wall(?=\?|$)/, ""));
  const share = wall.total_tasks > 0 ? `, ${formatPercent(wall.completed_tasks / wall.total_tasks)}` : "";
  setText(
    byId("progress"),
    run === null ? "" : `${wall.status}: ${formatCount(wall.completed_tasks)} of ${formatCount(wall.total_tasks)} finished${share}`,
  );
  const [, size] = SIZES.find(([most]) => wall.tiles.length <= most);
  byId("wall").style.setProperty("--tile", `${size}px`);
  const hidden = wall.total_workers - wall.tiles.length;
  setText(
    byId("empty"),
    run === null
      ? "No runs yet. Workers appear here as soon as a run writes its first event."
      : wall.tiles.length === 0
        ? "The log of the run names no workers."
        : hidden > 0
          ? `${formatCount(hidden)} more workers are not shown.`
          : "",
  );
  setVisible(byId("empty"), byId("empty").textContent !== "");
  tiles.update(wall.tiles, (tile) => tile.worker_id);
}

function showConnection(kind) {
  setText(byId("connection"), kind === "polling" ? "polling every 5 s" : kind);
}

function showRefusal({ status, error }) {
  setText(byId("empty"), error ?? `The exporter answered with status ${status}.`);
  setVisible(byId("empty"), true);
}

document.addEventListener("visibilitychange", () => {
  for (const view of views.values()) view.loadImage();
});
setInterval(() => {
  if (wall === null) return;
  for (const view of views.values()) if (view.tile !== null) view.updateTimes();
}, 1000);
new Feed(
  getSelectedRun(),
  { frame: showWall, state: showConnection, refused: showRefusal },
  { stream: "api/benchmark-wall-sse", frame: "api/benchmark/wall" },
);
