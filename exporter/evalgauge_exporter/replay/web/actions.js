// Actions of any source format: their kind, text, element and positions.
"use strict";

(() => {
  const E = evalgauge;
  const KINDS = {
    click: ["click", "left_click", "single_click", "tap", "mouse_click", "press_element", "left_single"],
    "double click": ["double_click", "doubleclick", "left_double", "dblclick", "triple_click"],
    "right click": ["right_click", "rightclick", "right_single", "context_click"],
    move: ["move", "mouse_move", "hover", "move_to", "moveto"],
    drag: ["drag", "left_click_drag", "drag_to", "drag_and_drop", "dragto", "swipe", "slide"],
    scroll: ["scroll", "scroll_up", "scroll_down", "mouse_wheel", "scroll_at"],
    type: ["type", "input", "input_text", "write", "fill", "type_text", "set_text", "typewrite", "insert_text"],
    key: ["key", "press", "hotkey", "keypress", "key_press", "press_key", "keyboard"],
    select: ["select", "select_option", "choose"],
    wait: ["wait", "sleep", "noop", "no_op"],
    open: ["goto", "navigate", "open", "open_app", "go_back", "go_forward", "new_tab", "tab_focus"],
    done: ["done", "finish", "finished", "terminate", "stop", "answer", "complete", "submit_answer"],
    error: ["error", "fail", "infeasible", "give_up", "report_infeasible"],
  };
  const SIGNS = {
    click: "●",
    "double click": "◉",
    "right click": "◐",
    move: "✥",
    drag: "↝",
    scroll: "⇕",
    type: "T",
    key: "⌨",
    select: "☰",
    wait: "…",
    open: "↗",
    done: "■",
    error: "!",
  };
  const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, names]) => names.map((name) => [name, kind])));

  const getType = (action) => (typeof action?.type === "string" && action.type ? action.type.toLowerCase() : "unknown");
  const getKind = (action) => KIND_OF.get(getType(action).replaceAll("-", "_")) || getType(action);
  const getSign = (action) => SIGNS[getKind(action)] || "○";

  const parseNumber = (value) =>
    typeof value === "number" && Number.isFinite(value)
      ? value
      : typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value)
        ? Number(value)
        : null;
  function parsePair(value) {
    if (Array.isArray(value) && value.length === 2 && value.every((one) => parseNumber(one) !== null))
      return value.map(parseNumber);
    if (value && typeof value === "object" && parseNumber(value.x) !== null && parseNumber(value.y) !== null)
      return [parseNumber(value.x), parseNumber(value.y)];
    return null;
  }
  const findPair = (...values) => values.map(parsePair).find(Boolean) || null;

  /** The positions of an action as recorded: {start, end, box, path}, in fractions or pixels. */
  function getPlaces(action) {
    const start = findPair(
      [action.x, action.y],
      [action.x1, action.y1],
      [action.start_x, action.start_y],
      action.start_coordinate,
      action.start,
      action.from,
      action.coordinate,
      action.coordinates,
      action.position,
      action.point,
    );
    let end = findPair(
      [action.end_x, action.end_y],
      [action.x2, action.y2],
      action.end_coordinate,
      action.end,
      action.to,
    );
    if (!end && action.start_coordinate && action.coordinate) end = parsePair(action.coordinate);
    const path = Array.isArray(action.path) ? action.path.map(parsePair).filter(Boolean) : [];
    return {
      start: start || path[0] || null,
      end: end || (path.length > 1 ? path[path.length - 1] : null),
      path,
      box: getBox(action),
    };
  }
  /** An element's box as [left, top, right, bottom]. Four numbers are two corners where the second is beyond the first, else a corner and a size. */
  function getBox(action) {
    const value =
      action.target_bbox ?? action.bbox ?? action.bounding_box ?? action.box ?? action.bounds ?? action.element?.bbox;
    if (Array.isArray(value) && value.length === 4) {
      const [a, b, c, d] = value.map(parseNumber);
      if ([a, b, c, d].includes(null)) return null;
      return c > a && d > b ? [a, b, c, d] : [a, b, a + c, b + d];
    }
    if (!value || typeof value !== "object") return null;
    const left = parseNumber(value.left ?? value.x ?? value.x1),
      top = parseNumber(value.top ?? value.y ?? value.y1);
    const right = parseNumber(value.right ?? value.x2),
      bottom = parseNumber(value.bottom ?? value.y2);
    const width = parseNumber(value.width ?? value.w),
      height = parseNumber(value.height ?? value.h);
    if (left === null || top === null) return null;
    if (right !== null && bottom !== null) return [left, top, right, bottom];
    return width !== null && height !== null ? [left, top, left + width, top + height] : null;
  }

  const findText = (...values) => values.find((value) => typeof value === "string" && value !== "") ?? null;
  const getElement = (action) =>
    findText(
      action.target_name,
      action.element_name,
      action.label,
      action.selector,
      action.bid,
      typeof action.target === "string" ? action.target : null,
      typeof action.element === "string" ? action.element : null,
    ) ||
    (action.target_node_id !== undefined
      ? "#" + action.target_node_id
      : action.element_id !== undefined
        ? "#" + action.element_id
        : action.index !== undefined
          ? "#" + action.index
          : null);
  /** The text of an action; that of a tool is its command, code or query. */
  const getText = (action) =>
    findText(action.text, action.content, action.value, action.answer, action.url, action.app, action.command, action.cmd, action.code, action.query, action.input, action.path);
  function getKeys(action) {
    const keys = action.keys ?? action.key;
    const list = Array.isArray(keys) ? keys : typeof keys === "string" ? [keys] : [];
    const modifiers = Array.isArray(action.modifiers) ? action.modifiers : [];
    return [...modifiers, ...list].map(String).join("+") || null;
  }
  function getScroll(action) {
    const type = getType(action);
    const dx = parseNumber(action.dx ?? action.delta_x ?? action.scroll_x),
      dy = parseNumber(action.dy ?? action.delta_y ?? action.scroll_y);
    let way =
      findText(action.scroll_direction, action.direction)?.toLowerCase() ||
      (type.endsWith("_up") ? "up" : type.endsWith("_down") ? "down" : null);
    if (!way && (dx || dy))
      way = Math.abs(dy || 0) >= Math.abs(dx || 0) ? (dy > 0 ? "down" : "up") : dx > 0 ? "right" : "left";
    return {
      way: ["up", "down", "left", "right"].includes(way) ? way : "down",
      amount: parseNumber(action.scroll_amount ?? action.amount ?? action.clicks) ?? (dy || dx ? Math.abs(dy || dx) : null),
    };
  }

  const formatCoordinate = (value) =>
    Math.abs(value) <= 1 && !Number.isInteger(value)
      ? value.toFixed(3).replace(/0+$/, "").replace(/\.$/, "")
      : String(Math.round(value));
  const formatPosition = (place) => (place ? "(" + place.map(formatCoordinate).join(", ") + ")" : "");
  const truncate = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

  /** One line: click “Save” (0.4, 0.2). */
  function describe(action, length = 80) {
    const kind = getKind(action);
    const { start, end, box } = getPlaces(action);
    const element = getElement(action);
    const target = element ? (element.startsWith("#") ? element : "“" + truncate(element, 40) + "”") : "";
    const place = formatPosition(start) || (box ? formatPosition([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) : "");
    const text = getText(action);
    const words = [getType(action) === "unknown" ? "unknown action" : getType(action).replaceAll("_", " ")];
    if (kind === "scroll") {
      const { way, amount } = getScroll(action);
      if (!words[0].includes(way)) words.push(way);
      if (amount !== null) words.push("by " + formatCoordinate(amount));
    } else if (kind === "drag") words.push(target, formatPosition(start), end ? "to " + formatPosition(end) : "");
    if (kind === "key") words.push(getKeys(action) || text || "");
    else if (text) words.push("“" + truncate(text.replace(/\s+/g, " "), length) + "”");
    if (kind !== "drag") words.push(text && target ? "into " + target : target, kind === "key" || target ? "" : place);
    const modifiers =
      kind !== "key" && Array.isArray(action.modifiers) && action.modifiers.length
        ? "with " + action.modifiers.join("+")
        : "";
    return [...words, modifiers].filter(Boolean).join(" ");
  }

  Object.assign(E, {
    actions: { getType, getKind, getSign, getPlaces, getBox, getElement, getText, getKeys, getScroll, describe },
  });
})();
