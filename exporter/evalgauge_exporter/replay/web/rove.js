// Lists of any length are one stop of the Tab key: it reaches the controls of one item, the arrow keys move between items.
"use strict";

(() => {
  const E = evalgauge;
  const STEPS = { ArrowDown: 1, ArrowUp: -1 };

  const listControls = (item) => [...item.querySelectorAll("a[href], button, input, summary")];
  /** Let the Tab key reach the controls of an item, or skip them. */
  function setReachable(item, on) {
    for (const control of listControls(item)) control.tabIndex = on ? 0 : -1;
  }
  /** Where an arrow key leads from a control: {item, by, at}, with the position of the control in its item; null elsewhere. */
  function readArrow(event, list) {
    const item = event.target.closest?.("li, .list-row");
    if (!STEPS[event.key] || !item || !list.contains(item) || event.target.matches("input:not([type=checkbox])")) return null;
    return { item, by: STEPS[event.key], at: Math.max(0, listControls(item).indexOf(event.target)) };
  }
  /** Focus the control of an item that is at the same position as in another item; returns whether there is one. */
  function focusControl(item, at) {
    const controls = listControls(item);
    controls[Math.min(at, controls.length - 1)]?.focus();
    return controls.length > 0;
  }

  /** Make a list of elements one stop of the Tab key; returns {choose(item)}, which moves the stop. */
  function rove(list) {
    let current = null;
    function choose(item) {
      if (!item || item === current) return;
      if (current) setReachable(current, false);
      current = item;
      setReachable(item, true);
      // what has the focus follows, as its item is left out now
      if (list.contains(document.activeElement) && !item.contains(document.activeElement)) focusControl(item, 0);
    }
    for (const item of list.children) setReachable(item, false);
    choose([...list.children].find((item) => listControls(item).length));
    list.addEventListener("focusin", (event) => choose([...list.children].find((item) => item.contains(event.target))));
    list.addEventListener("keydown", (event) => {
      const arrow = readArrow(event, list);
      if (!arrow) return;
      event.preventDefault();
      let next = arrow.item;
      do next = arrow.by > 0 ? next.nextElementSibling : next.previousElementSibling;
      while (next && (next.hidden || !listControls(next).length));
      if (next) focusControl(next, arrow.at);
    });
    return { choose };
  }

  Object.assign(E, { rove, setReachable, readArrow, focusControl, listControls });
})();
