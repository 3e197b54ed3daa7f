// What the pointer or the keyboard rests on: its note, and the same row in the charts.
(() => {
  const tip = document.getElementById("tip");
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(x + 12, innerWidth - box.width - 8));
    const top = y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18;
    tip.style.setProperty("transform", `translate(${left}px, ${Math.max(4, top)}px)`);
  };
  const tell = (target, x, y) => {
    tip.hidden = !target;
    if (!target) return;
    tip.textContent = target.dataset.tip;
    place(x, y);
  };
  document.addEventListener("pointermove", (event) => tell(event.target.closest?.("[data-tip]"), event.clientX, event.clientY));
  document.addEventListener("pointerdown", (event) => tell(event.target.closest?.("[data-tip]"), event.clientX, event.clientY));
  document.addEventListener("focusin", (event) => {
    const target = event.target.closest?.("[data-tip]");
    const box = event.target.getBoundingClientRect();
    tell(target?.matches(":focus-visible") ? target : null, box.left, box.bottom - 14);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { capture: true, passive: true });

  const marked = (key) => document.querySelectorAll(`.trace[data-row="${key}"], .dot[data-row="${key}"]`);
  const heat = (key, hot) => { for (const mark of marked(key)) mark.classList.toggle("hot", hot); };
  for (const source of document.querySelectorAll("button.key, tr.line")) {
    const key = source.dataset.row ?? source.id;
    for (const [event, hot] of [["pointerenter", true], ["pointerleave", false], ["focusin", true], ["focusout", false]]) {
      source.addEventListener(event, () => heat(key, hot));
    }
  }
  for (const button of document.querySelectorAll("button.key")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const trace of document.querySelectorAll(`.trace[data-row="${button.dataset.row}"]`)) {
        trace.classList.toggle("off", !on);
        if (on) trace.parentElement.append(trace); // above the others
      }
    });
  }
})();
