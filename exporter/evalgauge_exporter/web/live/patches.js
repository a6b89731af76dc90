// Patches of frames (docs/api.md): the stream sends one whole frame, then what has changed in it.
//
// Nothing is changed in place: what a patch does not name stays the same object.

/** The object or array that a patch makes of another. */
export function applyPatch(target, patch) {
  if (Array.isArray(target)) {
    const removed = new Set(patch["-"]);
    const items = removed.size > 0 ? target.filter((_, index) => !removed.has(index)) : [...target];
    for (const [index, item] of patch["+"] ?? []) items.splice(index, 0, item);
    for (const [index, change] of Object.entries(patch)) {
      if (index !== "-" && index !== "+") items[index] = changeValue(items[index], change);
    }
    return items;
  }
  const made = { ...target };
  for (const [name, change] of Object.entries(patch)) {
    if (Array.isArray(change) && change.length === 0) delete made[name];
    else define(made, name, changeValue(Object.hasOwn(made, name) ? made[name] : undefined, change));
  }
  return made;
}

function changeValue(value, change) {
  return Array.isArray(change) ? change[0] : applyPatch(value, change);
}

/** Set a member of any name: those of runs and models are not known, and `__proto__` is one of them. */
function define(object, name, value) {
  Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
}

/**
 * The frame with its clocks read: `@x` is since when the seconds `x` pass, `^x` when they are over. Nothing else in the
 * stream changes with time alone.
 */
export function readClocks(frame) {
  const now = frame.generated_at;
  const read = (place) => {
    if (place === null || place === undefined) return place;
    const made = {};
    for (const [name, value] of Object.entries(place)) {
      if (name.startsWith("@")) made[name.slice(1)] = Math.max(0, now - value);
      else if (name.startsWith("^")) made[name.slice(1)] = Math.max(0, value - now);
      else define(made, name, value);
    }
    return made;
  };
  const made = { ...frame };
  if (frame.tiles !== undefined) made.tiles = frame.tiles.map(read);
  if (frame.runs !== undefined) made.runs = frame.runs.map(read);
  if (frame.current_job) {
    made.current_job = read(frame.current_job);
    made.current_job.eta = read(frame.current_job.eta);
    made.current_job.current_tasks = frame.current_job.current_tasks.map(read);
  }
  return made;
}
