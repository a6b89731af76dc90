// Search over all steps of a run: texts, actions, tools, outputs, answers. The attempts are loaded one after the other.
"use strict";

(() => {
  const E = evalgauge;
  const { el } = E;
  const MOST = 200; // hits that are listed
  const AROUND = 60; // letters before and after a hit
  const AT_ONCE = 8; // attempts that are loaded together

  /** List the searchable texts of an attempt: [step or null, label, text]. */
  function listTexts(content) {
    const texts = [];
    for (const [, role, text] of content.messages || []) texts.push([null, role, text]);
    content.steps.forEach((step, i) => {
      const action = step.action || {};
      texts.push([i, "action", E.actions.describe(action, 200) + " " + JSON.stringify(action)]);
      if (step.reasoning) texts.push([i, "reasoning", step.reasoning]);
      if (step.observation) texts.push([i, "output", step.observation]);
    });
    for (const [, level, message] of content.lines || []) texts.push([null, "log, " + level, message]);
    for (const name of ["answer", "target", "error", "reason"]) if (content[name]) texts.push([null, name, content[name]]);
    return texts;
  }

  /** Find the first text of each step that has all terms: [{step, label, text, at}]. */
  function findHits(content, terms) {
    const hits = [];
    const seen = new Set();
    for (const [step, label, text] of listTexts(content)) {
      const lower = text.toLowerCase();
      if (seen.has(step) || !terms.every((term) => lower.includes(term))) continue;
      seen.add(step);
      hits.push({ step, label, text, at: lower.indexOf(terms[0]) });
    }
    return hits;
  }

  function renderHit(run, row, content, hit, term) {
    const from = Math.max(0, hit.at - AROUND);
    const to = hit.at + term.length;
    const href = E.address.write({
      run: run.run_id,
      task: row.task_id,
      attempt: row.attempt !== 1 ? row.attempt : null,
      step: hit.step === null ? null : content.steps[hit.step].step_idx,
      tab: "transcript",
    });
    return el(
      "li",
      {},
      E.createChip(row.outcome),
      " ",
      el("a", { class: "mono", href }, row.task_id),
      el("span", { class: "quiet" }, (hit.step === null ? "" : " step " + (hit.step + 1)) + ", " + hit.label + ": "),
      el("span", {}, (from ? "…" : "") + hit.text.slice(from, hit.at)),
      el("mark", {}, hit.text.slice(hit.at, to)),
      el("span", {}, hit.text.slice(to, to + AROUND) + (to + AROUND < hit.text.length ? "…" : "")),
    );
  }

  async function renderSearchView(place) {
    const run = E.findRun(place.run);
    const table = await E.loadTable(run);
    let turn = 0;
    const input = el("input", {
      type: "search",
      value: place.q || "",
      placeholder: "Text, action, tool",
      "aria-label": "Search all steps: texts, actions, tools, outputs",
    });
    const status = el("p", { class: "tally", role: "status" });
    const results = el("ol", { class: "hits" });
    async function search() {
      const mine = ++turn;
      const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      E.address.update({ q: input.value.trim() });
      results.replaceChildren();
      if (!terms.length) {
        status.textContent = "Searches " + E.formatQuantity(table.rows.length, "attempt") + ".";
        return;
      }
      const rows = table.rows.filter((row) => row.outcome !== "pending");
      let hits = 0;
      for (let at = 0; at < rows.length && hits < MOST; at += AT_ONCE) {
        const some = rows.slice(at, at + AT_ONCE);
        const contents = await Promise.all(some.map((row) => E.loadAttempt(row).catch(() => null)));
        if (mine !== turn) return;
        contents.forEach((content, i) => {
          if (!content) return;
          for (const hit of findHits(content, terms)) {
            hits += 1;
            if (hits <= MOST) results.append(renderHit(run, some[i], content, hit, terms[0]));
          }
          E.unload(run.key + "/" + some[i].key); // a run may be larger than the memory of the page
        });
        status.textContent =
          E.formatQuantity(hits, "hit") + " in " + E.formatCount(Math.min(at + AT_ONCE, rows.length)) + " of " + E.formatQuantity(rows.length, "attempt");
      }
      status.textContent =
        hits >= MOST ? "The first " + MOST + " hits." : E.formatQuantity(hits, "hit") + " in " + E.formatQuantity(rows.length, "attempt") + ".";
    }
    let timer = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(search, 300);
    });
    const node = el(
      "main",
      { class: "page", id: "main" },
      el("div", { class: "bar-line" }, el("h1", { class: "mono" }, run.run_id), el("span", { class: "quiet" }, "Search all steps")),
      el("div", { class: "filters" }, input, status),
      results,
    );
    search();
    return {
      node,
      title: "search in " + run.run_id,
      busy: () => document.activeElement === input,
      key(event) {
        if (event.key !== "/") return false;
        input.focus();
        input.select();
        return true;
      },
      destroy() {
        turn += 1;
      },
    };
  }

  Object.assign(E, { renderSearchView });
})();
