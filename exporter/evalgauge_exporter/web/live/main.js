// The live page: shows each frame in six panels; a seventh shows machines, where there are any.

import { Announcer } from "./announce.js";
import { Clock } from "./clock.js";
import { setAttribute, setVisible, setText } from "./dom.js";
import { formatAgo, formatClock, formatCount, formatDuration, formatEstimate, formatExact, formatPercent, formatQuantity, unitOf } from "./format.js";
import { safeUrl, replayUrl } from "./links.js";
import * as notice from "./notice.js";
import { CostsPanel } from "./panel-costs.js";
import { DomainsPanel } from "./panel-domains.js";
import { JobPanel } from "./panel-job.js";
import { MachinesPanel } from "./panel-machines.js";
import { PerformancePanel } from "./panel-performance.js";
import { RunsPanel } from "./panel-runs.js";
import { WorkersPanel } from "./panel-workers.js";
import { RunSelector, getSelectedRun } from "./selector.js";
import { Feed } from "./transport.js";

const OLD_SECONDS = 15; // data of this age without a connection are shown as old

const byId = (id) => document.getElementById(id);
const section = (name) => document.querySelector(`.panel.${name}`);

const clock = new Clock();
const announcer = new Announcer(byId("news"));
const selector = new RunSelector(byId("run"), follow);
const panels = [
  new JobPanel(section("job")),
  new CostsPanel(section("costs")),
  new PerformancePanel(section("performance")),
  new DomainsPanel(section("domains")),
  new WorkersPanel(section("workers")),
  new RunsPanel(section("runs"), (runId) => selector.choose(runId)),
];
const machines = new MachinesPanel(section("machines"), (runId) => selector.choose(runId));

let feed = null;
let frame = null;
let waiting = false;
let kind = "connecting";
let lostAt = null; // Unix seconds, while disconnected
let followedRun; // the run that the feed is for; undefined before the first
let announced = null; // what was announced last: {runId, finished, status}
let panelRun = null;

/** Show a run; null is the newest one. */
function follow(runId) {
  if (runId === followedRun) return;
  followedRun = runId;
  feed?.stop();
  frame = null;
  document.body.dataset.loading = "true";
  showNotice(null);
  setConnection("connecting");
  feed = new Feed(runId, { frame: receiveFrame, state: setConnection, refused: showRefusal });
}

function receiveFrame(next) {
  frame = next;
  clock.received(next.generated_at);
  if (waiting) return;
  waiting = true;
  // several frames may arrive before the next repaint; a hidden page has no repaints
  if (document.hidden) draw();
  else requestAnimationFrame(draw);
}

function draw() {
  waiting = false;
  if (frame === null) return;
  selector.update(frame);
  setAttribute(byId("link-replay"), "href", frame.current_job === null ? null : replayUrl(frame));
  setVisible(byId("link-replay"), frame.current_job !== null && replayUrl(frame) !== null);
  const selected = getSelectedRun();
  setAttribute(byId("link-wall"), "href", selected === null ? "wall" : `wall?run=${encodeURIComponent(selected)}`);
  const grafana = safeUrl(frame.links?.grafana_url);
  setAttribute(byId("link-grafana"), "href", grafana);
  setVisible(byId("link-grafana"), grafana !== null);
  delete document.body.dataset.loading;
  if (frame.current_job === null) {
    showNotice("empty", () => notice.renderEmpty(frame.links?.results ?? []));
    document.title = "evalgauge";
    return;
  }
  showNotice(null);
  if (panelRun !== frame.run_id) {
    for (const panel of panels) panel.reset();
    panelRun = frame.run_id;
  }
  for (const panel of panels) panel.update(frame, clock);
  document.title = formatTitle(frame.current_job);
  announceProgress(frame);
  updateTimes();
}

function showRefusal(answer) {
  frame = null;
  delete document.body.dataset.loading;
  setConnection("polling");
  showNotice(`refused ${answer.status} ${answer.error}`, () => notice.renderRefusal(answer, followedRun, (runId) => selector.choose(runId)));
  document.title = "evalgauge";
}

let noticed = null;

/** Show a notice in place of the panels; `key` null removes it. The notice that is shown already stays as it is. */
function showNotice(key, make) {
  if (key === noticed) return;
  noticed = key;
  const place = byId("notice");
  place.replaceChildren(...(key === null ? [] : make()));
  setVisible(place, key !== null);
  setVisible(byId("grid"), key === null);
}

function setConnection(next) {
  const before = kind;
  kind = next;
  if (next === "disconnected") {
    lostAt ??= Date.now() / 1000;
    if (frame === null) {
      delete document.body.dataset.loading;
      showNotice("unreachable", notice.renderUnreachable);
    }
    if (before !== "disconnected" && before !== "connecting") announcer.say("The connection to the exporter is lost. The numbers are no longer updated.");
  } else {
    lostAt = null;
    if (before === "disconnected" && next !== "connecting") announcer.say("The exporter responds again.");
    if (noticed === "unreachable" && next !== "connecting") showNotice(null);
  }
  clock.running = next === "live" || next === "polling";
  updateTimes();
}

/** Update everything that changes with time alone. */
function updateTimes() {
  const mark = byId("connection");
  setAttribute(mark, "data-kind", kind);
  const age = frame === null ? null : clock.age();
  if (kind === "disconnected") {
    setText(byId("connection-text"), `disconnected since ${formatClock(lostAt, Date.now() / 1000)}`);
    setText(byId("age"), age === null ? "" : formatDuration(age));
    setAttribute(mark, "title", `${formatExact(lostAt)}; retrying every few seconds`);
  } else if (kind === "polling") {
    setText(byId("connection-text"), "polling every 5 s");
    setAttribute(mark, "title", "the event stream is interrupted; the page polls every 5 seconds and returns to the stream by itself");
  } else {
    setText(byId("connection-text"), kind === "live" ? "live" : "connecting");
    setAttribute(mark, "title", kind === "live" ? "changes arrive as they happen" : null);
  }
  setVisible(byId("connection-age"), kind === "disconnected" && age !== null);
  document.body.classList.toggle("old", kind === "disconnected" && age !== null && age > OLD_SECONDS);
  if (frame !== null && frame.current_job !== null && panelRun === frame.run_id) {
    for (const panel of panels) panel.tick(clock);
  }
  if (kind === "live" || kind === "polling") machines.tick();
}

function formatTitle(job) {
  const share = job.total_tasks > 0 ? `${formatPercent(job.completed_tasks / job.total_tasks)} ` : "";
  const word = job.status === "running" ? "" : `${job.status}: `;
  return `${word}${share}(${formatCount(job.completed_tasks)} of ${formatCount(job.total_tasks)}) ${job.model_id} – evalgauge`;
}

function announceProgress({ run_id: runId, current_job: job, metrics }) {
  const now = { runId, finished: job.completed_tasks, status: job.status };
  const before = announced;
  announced = now;
  if (before === null || before.runId !== runId) return;
  const rate = metrics.success_rate === null ? "" : `, success rate ${formatPercent(metrics.success_rate)}`;
  const progress = `${formatCount(job.completed_tasks)} of ${formatQuantity(job.total_tasks, unitOf(job))} finished${rate}`;
  if (before.status !== job.status) {
    const at = job.ended_at === null ? "" : ` ${formatAgo(job.ended_at, clock.now())}`;
    announcer.say(`The run is ${job.status}${at}. ${progress}.`);
  } else if (before.finished !== job.completed_tasks) {
    const left = job.eta === null ? "" : `, about ${formatEstimate(job.eta.p50)} left`;
    announcer.offer(`${progress}${left}.`);
  }
}

setVisible(byId("sign-out"), document.cookie.split("; ").includes("evalgauge_signed_in=1"));
setInterval(updateTimes, 1000);
window.addEventListener("pagehide", () => {
  feed?.stop();
  followedRun = undefined;
});
window.addEventListener("pageshow", () => follow(getSelectedRun()));
follow(getSelectedRun());
