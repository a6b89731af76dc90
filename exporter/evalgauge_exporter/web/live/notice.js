// Notices in place of the panels: no runs yet, unknown run, no response, no token.

import { el } from "./dom.js";
import { pageUrl } from "./links.js";

/** The three lines of a runner that make a run appear. */
export const THREE_LINES = [
  "from evalgauge import track_run",
  'with track_run("results", benchmark="mine", model="my-model") as run, run.task("task_1") as task:',
  "    task.finish(success=True)",
];

/** There is no run yet. */
export function renderEmpty(folders) {
  return [
    renderTitle("No runs yet"),
    el("p", {}, "A run appears here as soon as it writes its first event. These three lines in the runner do it:"),
    el("pre", { tabindex: "0" }, el("code", {}, THREE_LINES.join("\n"))),
    el(
      "p",
      {},
      "In place of ",
      el("code", {}, "results"),
      folders.length > 0 ? ", name a folder that this exporter serves: " : ", name the folder that this exporter serves",
      ...folders.flatMap((folder, i) => [i > 0 ? ", " : "", el("code", {}, folder)]),
      ". Result folders of OpenAdapt, OSWorld, Windows Agent Arena, Inspect and others are read as they are: pass theirs to ",
      el("code", {}, "evalgauge serve"),
      ".",
    ),
    el("p", {}, "To see an example: ", el("code", {}, "evalgauge demo"), "."),
  ];
}

/** The exporter refused the request: `{status, error}` with its message. */
export function renderRefusal({ status, error }, runId, choose) {
  if (status === 401 || status === 403) {
    const back = new URLSearchParams({ next: `/${location.search}` });
    return [
      renderTitle("Signed out"),
      el("p", {}, "The exporter requires its token."),
      el("p", {}, el("a", { class: "button", href: `login?${back}` }, "Sign in")),
    ];
  }
  const newest = el("a", { class: "button", href: pageUrl(null) }, "Show the newest run");
  newest.addEventListener("click", (event) => {
    event.preventDefault();
    choose(null);
  });
  const sentence = typeof error === "string" ? error : `The exporter answered with status ${status}.`;
  return [
    renderTitle(status === 404 && runId !== null ? "No such run" : "The exporter refused the request"),
    el("p", {}, sentence),
    el("p", {}, newest),
  ];
}

/** The exporter has not responded since the page was opened. */
export function renderUnreachable() {
  return [
    renderTitle("The exporter does not respond"),
    el("p", {}, "This page retries every few seconds and continues by itself. Is the exporter still running?"),
    el("pre", { tabindex: "0" }, el("code", {}, "evalgauge serve results")),
  ];
}

function renderTitle(words) {
  return el("h2", { id: "notice-title" }, words);
}
