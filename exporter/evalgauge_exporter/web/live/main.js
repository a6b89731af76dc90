// The live page: takes frames as they come and shows them in six panels; a seventh shows machines, where there are any.

import { Announcer } from "./announce.js";
import { Clock } from "./clock.js";
import { attribute, shown, text } from "./dom.js";
import { ago, clock as clockTime, count, duration, estimate, exact, percent } from "./format.js";
import { outside, replayOf } from "./links.js";
import * as notice from "./notice.js";
import { CostsPanel } from "./panel-costs.js";
import { DomainsPanel } from "./panel-domains.js";
import { JobPanel } from "./panel-job.js";
import { MachinesPanel } from "./panel-machines.js";
import { PerformancePanel } from "./panel-performance.js";
import { RunsPanel } from "./panel-runs.js";
import { WorkersPanel } from "./panel-workers.js";
import { RunSelector, chosenRun } from "./selector.js";
import { Feed } from "./transport.js";

const OLD_SECONDS = 15; // data of this age without a connection are drawn as old

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
let asked; // the run that the feed is for; undefined before the first
let told = null; // what was last said aloud: {runId, ended, status}
let panelRun = null;

/** Show the run that is chosen now. */
function follow(runId) {
  if (runId === asked) return;
  asked = runId;
  feed?.stop();
  frame = null;
  document.body.dataset.loading = "true";
  showNotice(null);
  become("connecting");
  feed = new Feed(runId, { frame: take, state: become, refused });
}

function take(next) {
  frame = next;
  clock.received(next.generated_at);
  if (waiting) return;
  waiting = true;
  // many frames may come before the next picture is drawn; a page that nobody sees draws none
  if (document.hidden) draw();
  else requestAnimationFrame(draw);
}

function draw() {
  waiting = false;
  if (frame === null) return;
  selector.update(frame);
  attribute(byId("link-replay"), "href", frame.current_job === null ? null : replayOf(frame));
  shown(byId("link-replay"), frame.current_job !== null && replayOf(frame) !== null);
  const grafana = outside(frame.links?.grafana_url);
  attribute(byId("link-grafana"), "href", grafana);
  shown(byId("link-grafana"), grafana !== null);
  delete document.body.dataset.loading;
  if (frame.current_job === null) {
    showNotice("empty", notice.empty);
    document.title = "evalgauge";
    return;
  }
  showNotice(null);
  if (panelRun !== frame.run_id) {
    for (const panel of panels) panel.forget();
    panelRun = frame.run_id;
  }
  for (const panel of panels) panel.update(frame, clock);
  document.title = titleFor(frame.current_job);
  tell(frame);
  tick();
}

function refused(answer) {
  frame = null;
  delete document.body.dataset.loading;
  become("polling");
  showNotice(`refused ${answer.status} ${answer.error}`, () => notice.refused(answer, asked, (runId) => selector.choose(runId)));
  document.title = "evalgauge";
}

let noticed = null;

/** Put a notice in the place of the panels; `key` null takes it away. The same one stays as it is. */
function showNotice(key, make) {
  if (key === noticed) return;
  noticed = key;
  const place = byId("notice");
  place.replaceChildren(...(key === null ? [] : make()));
  shown(place, key !== null);
  shown(byId("grid"), key === null);
}

function become(next) {
  const before = kind;
  kind = next;
  if (next === "disconnected") {
    lostAt ??= Date.now() / 1000;
    if (frame === null) {
      delete document.body.dataset.loading;
      showNotice("unreachable", notice.unreachable);
    }
    if (before !== "disconnected" && before !== "connecting") announcer.say("The connection to the exporter is lost. The numbers are getting old.");
  } else {
    lostAt = null;
    if (before === "disconnected" && next !== "connecting") announcer.say("The exporter answers again.");
    if (noticed === "unreachable" && next !== "connecting") showNotice(null);
  }
  clock.running = next === "live" || next === "polling";
  tick();
}

/** What changes with time alone. */
function tick() {
  const mark = byId("connection");
  attribute(mark, "data-kind", kind);
  const age = frame === null ? null : clock.age();
  if (kind === "disconnected") {
    text(byId("connection-text"), `disconnected since ${clockTime(lostAt, Date.now() / 1000)}`);
    text(byId("age"), age === null ? "" : duration(age));
    attribute(mark, "title", `${exact(lostAt)}; trying again every few seconds`);
  } else if (kind === "polling") {
    text(byId("connection-text"), "polling every 5 s");
    attribute(mark, "title", "the stream does not get through; the page asks every 5 seconds and goes back to the stream by itself");
  } else {
    text(byId("connection-text"), kind === "live" ? "live" : "connecting");
    attribute(mark, "title", kind === "live" ? "changes arrive as they happen" : null);
  }
  shown(byId("connection-age"), kind === "disconnected" && age !== null);
  document.body.classList.toggle("old", kind === "disconnected" && age !== null && age > OLD_SECONDS);
  if (frame !== null && frame.current_job !== null && panelRun === frame.run_id) {
    for (const panel of panels) panel.tick(clock);
  }
  if (kind === "live" || kind === "polling") machines.tick();
}

function titleFor(job) {
  const share = job.total_tasks > 0 ? `${percent(job.completed_tasks / job.total_tasks)} ` : "";
  const word = job.status === "running" ? "" : `${job.status}: `;
  return `${word}${share}(${count(job.completed_tasks)} of ${count(job.total_tasks)}) ${job.model_id} – evalgauge`;
}

function tell({ run_id: runId, current_job: job, metrics }) {
  const now = { runId, ended: job.completed_tasks, status: job.status };
  const before = told;
  told = now;
  if (before === null || before.runId !== runId) return;
  const rate = metrics.success_rate === null ? "" : `, success rate ${percent(metrics.success_rate)}`;
  const progress = `${count(job.completed_tasks)} of ${count(job.total_tasks)} tasks ended${rate}`;
  if (before.status !== job.status) {
    const at = job.ended_at === null ? "" : ` ${ago(job.ended_at, clock.now())}`;
    announcer.say(`The run is ${job.status}${at}. ${progress}.`);
  } else if (before.ended !== job.completed_tasks) {
    const left = job.eta === null ? "" : `, about ${estimate(job.eta.p50)} left`;
    announcer.offer(`${progress}${left}.`);
  }
}

setInterval(tick, 1000);
window.addEventListener("pagehide", () => {
  feed?.stop();
  asked = undefined;
});
window.addEventListener("pageshow", () => follow(chosenRun()));
follow(chosenRun());
