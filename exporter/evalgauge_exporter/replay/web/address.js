// The address: #run=A&task=…&attempt=…&step=…&with=B,C&view=… says what is shown, so that every view can be linked to.
"use strict";

(() => {
  const E = evalgauge;
  const NAMES = [
    "view",
    "run",
    "task",
    "attempt",
    "step",
    "with",
    "column",
    "align",
    "domain",
    "outcome",
    "model",
    "cluster",
    "q",
    "sort",
    "pick",
  ];

  function decode(text) {
    // whoever writes a plus as such writes %2B; a bare one is the space of a form's encoding
    try {
      return decodeURIComponent(text.replaceAll("+", " "));
    } catch {
      return text;
    }
  }

  /** What an address says: texts by name, `with` as a list of run ids. */
  function read(hash) {
    const found = {};
    for (const pair of hash.replace(/^#/, "").split("&")) {
      const at = pair.indexOf("=");
      const name = at < 0 ? "" : decode(pair.slice(0, at));
      if (!NAMES.includes(name)) continue;
      const raw = pair.slice(at + 1);
      // commas between ids are bare, those within an id are escaped
      found[name] = name === "with" ? raw.split(",").filter(Boolean).map(decode) : decode(raw);
    }
    return found;
  }

  const encode = (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%40", "@");

  /** The address of a view; what is empty is left out. */
  function write(place) {
    const pairs = [];
    for (const name of NAMES) {
      const value = place[name];
      if (value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length)) continue;
      pairs.push(
        name +
          "=" +
          (Array.isArray(value) ? value.map((one) => encodeURIComponent(one)).join(",") : encode(String(value))),
      );
    }
    return "#" + pairs.join("&");
  }

  const here = () => read(location.hash);
  /** Go to a view; it becomes a step of the browser's history. */
  const go = (place) => {
    location.hash = write(place);
  };
  /** Keep the address up to date within a view: no step of history, no new drawing. */
  function note(changes) {
    const hash = write({ ...here(), ...changes });
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  Object.assign(E, { address: { read, write, here, go, note } });
})();
