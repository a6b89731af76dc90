// The help on keys, opened with ?.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const KEYS = [
    ["space", "play, pause"],
    ["← →", "previous step, next step"],
    ["home end", "first step, last step"],
    ["↑ ↓", "in a list: previous row, next row"],
    ["n p", "next task, previous task"],
    ["f", "in a list: the first unsuccessful task; in a task: the first sign of trouble"],
    ["d", "side by side: the first divergence"],
    ["i", "side by side: align by number or by actions"],
    ["m", "marks on or off"],
    ["z", "screenshot at full size, and back"],
    ["t", "screenshots or transcript"],
    ["/", "search"],
    ["u", "up: from the task to its run"],
    ["?", "this help"],
    ["esc", "close"],
  ];
  let dialog = null;

  function toggleHelp() {
    if (!dialog) {
      dialog = el(
        "dialog",
        { "aria-label": "Keys" },
        el("h2", {}, "Keys"),
        el(
          "dl",
          { class: "keys" },
          KEYS.map(([keys, does]) => [
            el(
              "dt",
              {},
              keys.split(" ").map((one) => [el("kbd", {}, one), " "]),
            ),
            el("dd", {}, does),
          ]),
        ),
        el(
          "p",
          { class: "quiet" },
          "The address in the browser's bar leads back to exactly what is shown. A failed task opens at its first sign of trouble, else at its last step, runs side by side at their first divergence.",
        ),
        el("form", { method: "dialog" }, el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
      );
      document.body.append(dialog);
    }
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }

  Object.assign(E, { toggleHelp });
})();
