// What the page says instead of panels: nothing there yet, no such run, no answer, no token.

import { el } from "./dom.js";
import { pageOf } from "./links.js";

/** Exactly the three lines that make a run appear. */
export const THREE_LINES = [
  "from evalgauge import track_run",
  'with track_run("results", benchmark="mine", model="my-model") as run, run.task("task_1") as task:',
  "    task.finish(success=True)",
];

/** No run is there. */
export function empty() {
  return [
    title("No runs yet"),
    el("p", {}, "A run appears here by itself, with the first thing that it writes. Three lines in the runner do it:"),
    el("pre", { tabindex: "0" }, el("code", {}, THREE_LINES.join("\n"))),
    el(
      "p",
      {},
      "Write ",
      el("code", {}, "results"),
      " as the folder that this exporter serves. Result folders of OpenAdapt, OSWorld, Windows Agent Arena, Inspect and others are read as they are: name theirs to ",
      el("code", {}, "evalgauge serve"),
      ".",
    ),
    el("p", {}, "To see what it will look like: ", el("code", {}, "evalgauge demo"), "."),
  ];
}

/** The exporter refused: `{status, error}` with its sentence. */
export function refused({ status, error }, runId, choose) {
  if (status === 401 || status === 403) {
    const back = new URLSearchParams({ next: `/${location.search}` });
    return [
      title("Signed out"),
      el("p", {}, "The exporter asks for its token."),
      el("p", {}, el("a", { class: "button", href: `login?${back}` }, "Sign in")),
    ];
  }
  const newest = el("a", { class: "button", href: pageOf(null) }, "Show the newest run");
  newest.addEventListener("click", (event) => {
    event.preventDefault();
    choose(null);
  });
  const sentence = typeof error === "string" ? error : `The exporter answered with status ${status}.`;
  return [
    title(status === 404 && runId !== null ? "No such run" : "The exporter refused"),
    el("p", {}, sentence),
    el("p", {}, newest),
  ];
}

/** Nothing answered since the page was opened. */
export function unreachable() {
  return [
    title("The exporter does not answer"),
    el("p", {}, "This page tries again every few seconds and goes on by itself. Is it still running?"),
    el("pre", { tabindex: "0" }, el("code", {}, "evalgauge serve results")),
  ];
}

function title(words) {
  return el("h2", { id: "notice-title" }, words);
}
