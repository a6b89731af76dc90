// Playback: a position that moves by itself or by hand, its bar and its keys.
"use strict";

(() => {
  const E = evalgauge;
  const SPEEDS = [0.5, 1, 2, 4, 8];
  const STEP_MS = 1200; // a step at speed 1

  /**
   * Create the playback controls. `length()`: number of positions; `onmove(position)` shows one; `tick(position)`
   * returns the look of a tick of the bar ({class, title}); `preview(position)` the {url, title} shown on hover, or null.
   */
  function createPlayer({ length, onmove, tick, preview, extra = [] }) {
    let position = 0,
      playing = false,
      speed = 1,
      timer = 0;
    const button = (label, title, act) =>
      E.el("button", { type: "button", title, "aria-label": title, onclick: act }, label);
    const play = button("▶", "Play (space)", () => toggle());
    const counter = E.el("output", { class: "counter" });
    const range = E.el("input", { type: "range", min: "0", step: "1", value: "0", "aria-label": "Step" });
    const ticks = E.el("div", { class: "ticks", "aria-hidden": "true" });
    const hover = E.el("figure", { class: "hover", hidden: true }, E.el("img", { alt: "" }), E.el("figcaption", {}));
    const bar = E.el("div", { class: "bar" }, ticks, range, hover);
    const rate = E.el(
      "select",
      {
        "aria-label": "Speed",
        title: "Speed",
        onchange: () => {
          speed = Number(rate.value);
          restartTimer();
        },
      },
      SPEEDS.map((one) => E.el("option", { value: String(one), selected: one === 1 }, one + "×")),
    );
    const node = E.el(
      "div",
      { class: "player", role: "group", "aria-label": "Playback" },
      button("|‹", "First step (home)", () => move(0)),
      button("‹", "Previous step (←)", () => move(position - 1)),
      play,
      button("›", "Next step (→)", () => move(position + 1)),
      button("›|", "Last step (end)", () => move(length() - 1)),
      bar,
      counter,
      rate,
      extra,
    );

    range.addEventListener("input", () => {
      stop();
      move(Number(range.value));
    });
    bar.addEventListener("pointermove", (event) => {
      const box = range.getBoundingClientRect();
      const at =
        length() < 2
          ? 0
          : Math.round(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (length() - 1));
      const shown = length() ? preview(at) : null;
      hover.hidden = !shown;
      if (!shown) return;
      hover.lastChild.textContent = shown.title;
      hover.firstChild.hidden = !shown.url;
      if (shown.url && hover.firstChild.getAttribute("src") !== shown.url) hover.firstChild.src = shown.url;
      hover.style.setProperty(
        "left",
        Math.min(Math.max(event.clientX - box.left, 100), Math.max(100, box.width - 100)) + "px",
      );
    });
    bar.addEventListener("pointerleave", () => {
      hover.hidden = true;
    });

    function reset(to) {
      const n = length();
      range.max = String(Math.max(0, n - 1));
      range.disabled = n < 2;
      ticks.replaceChildren(
        ...(n <= 400
          ? Array.from({ length: n }, (_, i) => {
              const how = tick(i);
              return E.el("span", {
                class: "tick " + (how.class || ""),
                title: how.title,
                vars: { left: (n < 2 ? 50 : (i / (n - 1)) * 100) + "%" },
              });
            })
          : []),
      );
      position = Math.min(Math.max(0, to), Math.max(0, n - 1));
      refresh();
    }
    function refresh() {
      range.value = String(position);
      counter.textContent = length() ? position + 1 + " of " + length() : "no steps";
      onmove(position);
    }
    function move(to) {
      const next = Math.min(Math.max(0, to), length() - 1);
      if (next === position || next < 0) return;
      position = next;
      refresh();
    }
    function restartTimer() {
      clearInterval(timer);
      if (playing) timer = setInterval(() => (position >= length() - 1 ? stop() : move(position + 1)), STEP_MS / speed);
    }
    function toggle() {
      if (playing) return stop();
      if (position >= length() - 1) move(0);
      playing = length() > 1;
      drawPlay();
      restartTimer();
    }
    function stop() {
      playing = false;
      clearInterval(timer);
      drawPlay();
    }
    function drawPlay() {
      play.textContent = playing ? "‖" : "▶";
      play.title = playing ? "Pause (space)" : "Play (space)";
      play.setAttribute("aria-label", play.title);
    }

    /** Handle a key; returns whether it was one of the playback keys. */
    function handleKey(event) {
      const act = {
        " ": toggle,
        ArrowRight: () => {
          stop();
          move(position + 1);
        },
        ArrowLeft: () => {
          stop();
          move(position - 1);
        },
        Home: () => {
          stop();
          move(0);
        },
        End: () => {
          stop();
          move(length() - 1);
        },
      }[event.key];
      if (!act) return false;
      act();
      return true;
    }
    return {
      node,
      reset,
      move: (to) => {
        stop();
        move(to);
      },
      key: handleKey,
      stop,
      get position() {
        return position;
      },
      get playing() {
        return playing;
      },
    };
  }

  Object.assign(E, { createPlayer });
})();
