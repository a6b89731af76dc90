// Making and changing nodes. Nothing here parses markup: whatever an agent wrote ends up as text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (null and false are left out, true is an empty one) and children (strings become text). */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) attribute(node, key, value);
  node.append(...children);
  return node;
}

/** Set an attribute where it differs; null, undefined and false take it away. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

/** Set the text of an element that holds nothing but text; the text node stays the same one. */
export function text(node, value) {
  const wanted = String(value);
  const inner = node.firstChild;
  if (inner === null) {
    if (wanted !== "") node.append(wanted);
  } else if (inner.data !== wanted) {
    inner.data = wanted;
  }
}

/** Show or hide an element. */
export function shown(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** A value that may be unknown: then a dash, with the reason on hover and for screen readers. */
export class Fact {
  constructor(attributes = {}) {
    this.value = el("span");
    this.reason = el("span", { class: "spoken" });
    this.node = el("span", attributes, this.value, this.reason);
  }

  /** `value` is text, or null where it is unknown and `reason` says why; `title` is shown on hover of a known value. */
  set(value, reason = "not known", title = null) {
    const known = value !== null && value !== undefined;
    text(this.value, known ? value : "–");
    attribute(this.value, "aria-hidden", known ? null : "true");
    text(this.reason, known ? "" : reason);
    attribute(this.node, "title", known ? title : reason);
    this.node.classList.toggle("unknown", !known);
  }
}

/** Children of one element, one for each key, kept over updates: changed in place and moved only where the order changed. */
export class Rows {
  /** `create(key)` gives `{node, update(item)}`. */
  constructor(parent, create) {
    this.parent = parent;
    this.create = create;
    this.rows = new Map();
  }

  update(items, keyOf) {
    const focused = document.activeElement;
    const wanted = new Map(items.map((item) => [keyOf(item), item]));
    for (const [key, row] of this.rows) {
      if (!wanted.has(key)) {
        row.node.remove();
        this.rows.delete(key);
      }
    }
    let place = this.parent.firstChild;
    for (const [key, item] of wanted) {
      let row = this.rows.get(key);
      if (row === undefined) {
        row = this.create(key);
        this.rows.set(key, row);
      }
      row.update(item);
      if (row.node === place) place = place.nextSibling;
      else this.parent.insertBefore(row.node, place);
    }
    // a row that was moved lost the focus on the way
    if (focused !== document.activeElement && this.parent.contains(focused)) focused.focus({ preventScroll: true });
  }
}
