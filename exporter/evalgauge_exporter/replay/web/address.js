// The URL fragment #run=A&task=…&attempt=…&step=…&with=B,C&view=… identifies what is shown, so every view has a link.
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
    "tab",
    "benchmark",
    "state",
    "tag",
    "since",
    "group",
    "align",
    "domain",
    "outcome",
    "model",
    "cluster",
    "q",
    "sort",
    "pick",
    "by",
    "board",
  ];

  function decode(text) {
    // a literal plus is written as %2B; a bare one is the space of form encoding
    try {
      return decodeURIComponent(text.replaceAll("+", " "));
    } catch {
      return text;
    }
  }

  /** Parse a fragment: texts by name, `with` as a list of run ids. */
  function read(hash) {
    const found = {};
    for (const pair of hash.replace(/^#/, "").split("&")) {
      const at = pair.indexOf("=");
      const name = at < 0 ? "" : decode(pair.slice(0, at));
      if (!NAMES.includes(name)) continue;
      const raw = pair.slice(at + 1);
      // commas between ids are bare, those within an id escaped
      found[name] = name === "with" ? raw.split(",").filter(Boolean).map(decode) : decode(raw);
    }
    return found;
  }

  const encode = (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%40", "@");

  /** Format the fragment of a view; empty values are omitted. */
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

  const current = () => read(location.hash);
  /** Update the fragment within a view, without a history entry and without rendering again. */
  function update(changes) {
    const hash = write({ ...current(), ...changes });
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  Object.assign(E, { address: { read, write, current, update } });
})();
