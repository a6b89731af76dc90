// The namespace, creation of elements, and loading of the parts of the site. Text from a run is never parsed as markup:
// elements are created one by one and text is set as text; the policy of the page forbids anything else.
"use strict";

const evalgauge = (() => {
  const parts = new Map(); // name -> content
  const waiting = new Map(); // name -> {promise, resolve, reject}
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("evalgauge", {
        createScriptURL: (url) => {
          if (!/^data(\/[A-Za-z0-9._@+-]+)+\.js(\?\d+)?$/.test(url) || /\/\.+\//.test(url))
            throw new TypeError("not a part of the replay: " + url);
          return url;
        },
      })
    : { createScriptURL: (url) => url };

  function getEntry(name) {
    let entry = waiting.get(name);
    if (!entry) {
      entry = {};
      entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      waiting.set(name, entry);
    }
    return entry;
  }

  /** Receive the content of a part; each file of data/ calls this. */
  function part(name, content) {
    parts.set(name, content);
    getEntry(name).resolve(content);
    waiting.delete(name);
  }

  /** Load the content of a part. */
  function load(name) {
    if (parts.has(name)) return Promise.resolve(parts.get(name));
    const inside = document.querySelector('script[data-part="' + CSS.escape(name) + '"]');
    if (inside) {
      part(name, JSON.parse(inside.textContent));
      return Promise.resolve(parts.get(name));
    }
    if (waiting.has(name)) return waiting.get(name).promise;
    const entry = getEntry(name);
    const script = document.createElement("script");
    script.addEventListener("error", () => {
      script.remove();
      waiting.delete(name);
      entry.reject(
        new Error(
          "The file data/" + name + ".js is missing. Copy the whole folder, or generate the replay again.",
        ),
      );
    });
    script.addEventListener("load", () => script.remove());
    script.src = policy.createScriptURL("data/" + name + ".js" + (fresh ? "?" + fresh : ""));
    document.head.append(script);
    return entry.promise;
  }

  let fresh = 0;
  /** Drop loaded parts, except those for which `keep(name)` is true, so that they are loaded again. */
  function forget(keep) {
    fresh += 1;
    for (const name of [...parts.keys()]) if (!keep || !keep(name)) parts.delete(name);
  }

  /** Drop one loaded part. */
  function unload(name) {
    parts.delete(name);
  }

  /** Create an element with attributes and children; strings become text, on* attributes are event listeners. */
  function el(tag, attributes, ...children) {
    const svg = tag.startsWith("svg:");
    const node = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "vars") for (const [key, set] of Object.entries(value)) node.style.setProperty(key, set);
      else if (name in node && !svg && typeof value !== "string") node[name] = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  /** Announce a text to screen readers. */
  function announce(text) {
    const region = document.getElementById("said");
    if (region) region.textContent = text;
  }

  return { part, load, forget, unload, el, announce };
})();
