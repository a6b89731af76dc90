// Waits for a replay that is being generated, shows the progress, and opens the replay.

import { setText } from "./dom.js";
import { formatCount } from "./format.js";

const POLL_MS = 700;
const byId = (id) => document.getElementById(id);

async function check() {
  let answer = null;
  try {
    const response = await fetch("progress", { cache: "no-store" });
    answer = await response.json();
    if (!response.ok) answer = { error: answer.error };
  } catch {
    setText(byId("message"), "The exporter does not respond. This page retries by itself.");
  }
  if (answer?.ready) {
    location.reload();
    return;
  }
  if (answer?.error) {
    setText(byId("message"), `The replay can't be generated: ${answer.error}`);
    byId("progress").hidden = true;
    return;
  }
  if (answer !== null && answer.total > 0) {
    byId("progress").max = answer.total;
    byId("progress").value = answer.done;
    setText(byId("count"), `${formatCount(answer.done)} of ${formatCount(answer.total)} attempts`);
  }
  setTimeout(check, POLL_MS);
}
check();
