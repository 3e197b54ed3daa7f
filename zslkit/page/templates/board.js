"use strict";
// Tables: sorting, filtering, opening rows; and the theme. The page is whole without it.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  const more = (line) => document.getElementById(`${line.id}-more`);

  // What a row sorts by in a column: a number, a text, or null, which always goes last.
  const worth = (row, column) => {
    const value = row.cells[column].dataset.value;
    if (value === undefined || value === "") return null;
    return column === 0 ? value.toLowerCase() : Number(value);
  };
  const order = (column, direction) => (a, b) => {
    const [x, y] = [worth(a, column), worth(b, column)];
    if (x === null || y === null) return (x === null) - (y === null);
    const sign = x < y ? -1 : x > y ? 1 : 0;
    return direction === "ascending" ? sign : -sign;
  };
  const sort = (button) => {
    const head = button.closest("th");
    const before = head.getAttribute("aria-sort");
    const direction = before ? (before === "ascending" ? "descending" : "ascending") : button.dataset.first;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const runs = $("tbody.runs", head.closest("table"));
    for (const line of $$("tr.line", runs).sort(order(head.cellIndex, direction))) runs.append(line, more(line));
  };
  for (const button of $$("button.sort")) button.addEventListener("click", () => sort(button));

  const show = (line, open) => {
    $("button.open", line).setAttribute("aria-expanded", String(open));
    more(line).classList.toggle("shown", open);
  };
  for (const line of $$("tr.line")) {
    const button = $("button.open", line);
    button.addEventListener("click", () => show(line, button.getAttribute("aria-expanded") !== "true"));
  }
  // Whoever links here may write anything behind the #.
  const named = (hash) => { try { return decodeURIComponent(hash); } catch { return hash; } };
  const follow = () => {
    const target = document.getElementById(named(location.hash.slice(1)));
    if (target?.matches("tr.line")) show(target, true);
  };
  addEventListener("hashchange", follow);
  follow();

  const [text, dataset, protocol, count] = ["filter", "dataset", "protocol", "count"].map((id) => document.getElementById(id));
  const filter = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let [shown, all] = [0, 0];
    for (const block of $$("article.block")) {
      let here = 0;
      for (const line of $$("tr.line", block)) {
        const searched = `${line.dataset.text} ${block.dataset.dataset}`.toLowerCase();
        const fits =
          words.every((word) => searched.includes(word)) &&
          (!dataset.value || block.dataset.dataset === dataset.value) &&
          (!protocol.value || line.dataset.protocol === protocol.value);
        line.hidden = !fits;
        more(line).hidden = !fits;
        here += fits;
        all += 1;
      }
      // What was picked on test goes with the row that it was made of, and counts as none.
      for (const row of $$("tr.no-result", block)) row.hidden = document.getElementById(row.dataset.of).hidden;
      for (const part of $$(".on-test", block)) part.hidden = $$("tr.no-result", part).every((row) => row.hidden);
      block.hidden = here === 0;
      shown += here;
    }
    count.textContent = shown === all ? `${all} rows` : `${shown} of ${all} rows`;
  };
  $(".filters").hidden = false;
  for (const input of [text, dataset, protocol]) input.addEventListener("input", filter);
  filter();

  // A browser may forbid a file its memory; then the choice lasts as long as the page.
  const memory = {
    get: () => { try { return localStorage.getItem("zslkit-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("zslkit-theme", value); } catch { /* it is not kept */ } },
  };
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => theme.setAttribute("aria-pressed", String(dark()));
  const kept = memory.get();
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    memory.set(document.documentElement.dataset.theme);
    tell();
  });
  system.addEventListener("change", tell);
  tell();
})();
