// Creating and updating DOM nodes. Nothing here parses markup: text from a run stays text.

const SVG = "http://www.w3.org/2000/svg";

/** Create an element with attributes (null and false are omitted, true is empty) and children (strings become text). */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Create an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) setAttribute(node, key, value);
  node.append(...children);
  return node;
}

/** Set an attribute where it differs; null, undefined and false remove it. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

/** Set the text of an element that contains only text; its text node is reused. */
export function setText(node, value) {
  const wanted = String(value);
  const inner = node.firstChild;
  if (inner === null) {
    if (wanted !== "") node.append(wanted);
  } else if (inner.data !== wanted) {
    inner.data = wanted;
  }
}

/** Show or hide an element. */
export function setVisible(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** A value that may be unknown: a dash then, with the reason on hover and for screen readers. */
export class Fact {
  constructor(attributes = {}) {
    this.value = el("span");
    this.reason = el("span", { class: "spoken" });
    this.node = el("span", attributes, this.value, this.reason);
  }

  /** `value` is text, or null where it is unknown for `reason`; `title` is shown on hover over a known value. */
  set(value, reason = "not known", title = null) {
    const known = value !== null && value !== undefined;
    setText(this.value, known ? value : "–");
    setAttribute(this.value, "aria-hidden", known ? null : "true");
    setText(this.reason, known ? "" : reason);
    setAttribute(this.node, "title", known ? title : reason);
    this.node.classList.toggle("unknown", !known);
  }
}

/** Keyed children of an element, updated in place and moved only where the order changed. */
export class Rows {
  /** `create(key)` returns `{node, update(item)}`. */
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
    // a row that was moved has lost the focus
    if (focused !== document.activeElement && this.parent.contains(focused)) focused.focus({ preventScroll: true });
  }
}
