// Where a number leads: one step closer to its cause.

/** The replay of the frame's run, at a task or a domain where one is named; null where there is no replay. */
export function replayOf(frame, { task, domain } = {}) {
  const path = frame.links?.replay;
  if (!path) return null;
  const place = new URLSearchParams({ run: frame.run_id });
  if (task !== undefined) place.set("task", task);
  if (domain !== undefined) place.set("domain", domain);
  const root = new URL(path.replace(/^\/+/, ""), document.baseURI);
  if (task !== undefined || domain !== undefined) root.hash = place.toString();
  return root.href;
}

/** This page with a run chosen; null is the newest one. */
export function pageOf(runId) {
  const url = new URL(location.href);
  url.hash = "";
  if (runId === null) url.searchParams.delete("run");
  else url.searchParams.set("run", runId);
  return url.href;
}

/** An address of somewhere else, as long as it is one that a link may have. */
export function outside(address) {
  if (!address) return null;
  try {
    const url = new URL(address, document.baseURI);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
