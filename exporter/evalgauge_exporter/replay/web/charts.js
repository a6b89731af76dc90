// Charts: bars with intervals, the outcome bar, the survival curve, the mix of actions. Text states what each shows.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;

  /** Draw a rate as a bar with its interval as a whisker. */
  function drawRateBar(share, interval) {
    const node = el("div", { class: "rate-bar", "aria-hidden": "true" });
    if (E.isKnown(share)) node.append(el("span", { class: "fill", vars: { width: share * 100 + "%" } }));
    if (interval)
      node.append(
        el("span", {
          class: "whisker",
          vars: { left: interval[0] * 100 + "%", width: (interval[1] - interval[0]) * 100 + "%" },
        }),
      );
    return node;
  }

  /** Draw statuses as a stacked bar with a legend; `link(status)` is the address of their tasks. */
  function drawOutcomeBar(counts, link) {
    const present = E.STATUSES.filter((status) => counts[status]);
    const total = present.reduce((sum, status) => sum + counts[status], 0);
    return el(
      "div",
      { class: "outcomes" },
      el(
        "div",
        { class: "stack", "aria-hidden": "true" },
        present.map((status) =>
          el(
            "span",
            {
              class: "s-" + status,
              title: E.humanize(status) + ": " + counts[status],
              vars: { "flex-grow": String(counts[status]) },
            },
            counts[status] > total * 0.04 ? el("b", {}, E.MARKS[status]) : "",
          ),
        ),
      ),
      el(
        "ul",
        { class: "legend" },
        present.map((status) =>
          el(
            "li",
            {},
            el(
              "a",
              { href: link(status) },
              E.createChip(status),
              " ",
              el("b", {}, E.formatCount(counts[status])),
              el("span", { class: "quiet" }, " " + E.formatPercent(counts[status] / total)),
            ),
          ),
        ),
      ),
    );
  }

  /** Draw the Kaplan-Meier curve of points [step, at risk, failed, surviving]. */
  function drawSurvival(points) {
    const W = 640,
      H = 226,
      L = 44,
      R = 12,
      T = 10,
      B = 40;
    const last = Math.max(1, ...points.map((point) => point[0]));
    const X = (step) => L + (step / last) * (W - L - R),
      Y = (share) => T + (1 - share) * (H - T - B);
    let path = "M" + X(0) + " " + Y(1),
      level = 1;
    for (const [step, , , surviving] of points) {
      path += "H" + X(step) + "V" + Y(surviving);
      level = surviving;
    }
    const every = Math.max(1, Math.ceil(last / 12));
    const svg = el("svg:svg", {
      viewBox: "0 0 " + W + " " + H,
      class: "chart",
      role: "img",
      "aria-label": "Share of attempts that have not failed, by step; at the end " + E.formatPercent(level),
    });
    for (const share of [0, 0.25, 0.5, 0.75, 1])
      svg.append(
        el("svg:line", { class: "grid", x1: L, x2: W - R, y1: Y(share), y2: Y(share) }),
        el("svg:text", { class: "axis end", x: L - 8, y: Y(share) + 4 }, Math.round(share * 100) + " %"),
      );
    for (let step = 0; step <= last; step += every)
      svg.append(el("svg:text", { class: "axis middle", x: X(step), y: H - 22 }, String(step)));
    svg.append(
      el("svg:text", { class: "axis middle", x: (W + L) / 2, y: H - 5 }, "steps taken"),
      el("svg:path", { class: "curve", d: path }),
    );
    for (const [step, atRisk, failed, surviving] of points) {
      if (!failed) continue;
      const dot = el("svg:circle", {
        class: "fail-dot",
        cx: X(step),
        cy: Y(surviving),
        r: Math.min(9, 2.5 + Math.sqrt(failed)),
      });
      dot.append(
        el("svg:title", {}, failed + " of the " + atRisk + " still running failed after " + E.formatQuantity(step, "step")),
      );
      svg.append(dot);
    }
    return svg;
  }

  /** Draw shares of two groups as pairs of bars: [{action, successes, failures, steps}]. */
  function drawMix(shares) {
    const most = Math.max(0.01, ...shares.flatMap((one) => [one.successes || 0, one.failures || 0]));
    const bar = (share, group) =>
      el(
        "div",
        { class: "mix-bar" },
        el("span", {
          class: "fill s-" + group,
          "aria-hidden": "true",
          vars: { "--share": String((share || 0) / most) },
        }),
        el("span", { class: "value" }, E.formatPercent(share)),
      );
    return el(
      "table",
      { class: "mix" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "action"),
          el("th", { scope: "col" }, E.createChip("success", "successes")),
          el("th", { scope: "col" }, E.createChip("failure", "not successful")),
        ),
      ),
      el(
        "tbody",
        {},
        shares.map((one) =>
          el(
            "tr",
            {},
            el("th", { scope: "row", class: "mono" }, one.action),
            el("td", {}, bar(one.successes, "success")),
            el("td", {}, bar(one.failures, "failure")),
          ),
        ),
      ),
    );
  }

  /** Draw a difference with its interval on an axis from −100 to 100 points. */
  function drawDelta(delta, low, high) {
    const X = (value) => 50 + Math.max(-1, Math.min(1, value)) * 50 + "%";
    return el(
      "div",
      { class: "delta-bar", "aria-hidden": "true" },
      el("span", { class: "zero" }),
      E.isKnown(low)
        ? el("span", { class: "whisker", vars: { left: X(low), width: "calc(" + X(high) + " - " + X(low) + ")" } })
        : null,
      E.isKnown(delta) ? el("span", { class: "point", vars: { left: X(delta) } }) : null,
    );
  }

  Object.assign(E, { charts: { drawRateBar, drawOutcomeBar, drawSurvival, drawMix, drawDelta } });
})();
