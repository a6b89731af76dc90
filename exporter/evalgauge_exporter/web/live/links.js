// Links from a number to what is behind it.

/** The URL of the replay of the frame's run, at a task or a domain where one is given; null where there is no replay. */
export function replayUrl(frame, { task, domain } = {}) {
  const path = frame.links?.replay;
  if (!path) return null;
  const place = new URLSearchParams({ run: frame.run_id });
  if (task !== undefined) place.set("task", task);
  if (domain !== undefined) place.set("domain", domain);
  const root = new URL(path.replace(/^\/+/, ""), document.baseURI);
  if (task !== undefined || domain !== undefined) root.hash = place.toString();
  return root.href;
}

/** The URL of this page with a run selected; null is the newest one. */
export function pageUrl(runId) {
  const url = new URL(location.href);
  url.hash = "";
  if (runId === null) url.searchParams.delete("run");
  else url.searchParams.set("run", runId);
  return url.href;
}

/** An external URL, null unless it is http or https. */
export function safeUrl(address) {
  if (!address) return null;
  try {
    const url = new URL(address, document.baseURI);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
