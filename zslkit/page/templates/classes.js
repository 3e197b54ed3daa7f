// The accuracy of each class: one row's as bars, another's as marks upon them. Names come as text and never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const chooser = (label, options) => {
    const box = make("label", "", `${label} `);
    const select = make("select");
    for (const [value, text] of options) {
      const option = make("option", "", text);
      option.value = value;
      select.append(option);
    }
    box.append(select);
    return [box, select];
  };
  const one = (value) => value.toFixed(1);
  const item = (name, value, other) => {
    const line = make("li");
    const label = make("span", "of", name);
    label.title = name;
    const track = make("span", "track");
    const bar = make("i");
    bar.style.setProperty("width", `${value}%`);
    track.append(bar);
    const figure = make("span", "value", one(value));
    if (other !== null) {
      const mark = make("b");
      mark.style.setProperty("left", `calc(${other}% - 1px)`);
      track.append(mark);
      const gain = value - other;
      figure.append(make("span", "gain", ` (${gain < 0 ? "−" : "+"}${one(Math.abs(gain))})`));
    }
    line.append(label, track, figure);
    return line;
  };

  for (const section of document.querySelectorAll("section.classes")) {
    const block = data[section.dataset.block];
    const rows = [...section.closest("article").querySelectorAll("tr.line")].map((line) => [line.id, block.labels[line.id]]);
    const [first, model] = chooser("Model", rows);
    const [second, against] = chooser("against", [["", "none"], ...rows]);
    const [third, by] = chooser("Sorted by", [["high", "highest first"], ["low", "lowest first"], ["name", "name"], ["gain", "difference"]]);
    const controls = make("div", "class-controls");
    controls.append(first, second, third);
    const sides = make("div", "class-sides");
    section.append(controls, sides);

    const draw = () => {
      const [values, others] = [block.rows[model.value], against.value ? block.rows[against.value] : null];
      const found = block.classes
        .map((name, i) => ({ name, value: values[i], other: others ? others[i] : null, unseen: block.unseen[i] }))
        .filter((entry) => entry.value !== null);
      const orders = {
        high: (a, b) => b.value - a.value,
        low: (a, b) => a.value - b.value,
        name: (a, b) => a.name.localeCompare(b.name),
        gain: (a, b) => b.value - (b.other ?? 0) - (a.value - (a.other ?? 0)),
      };
      found.sort(orders[by.value]);
      sides.replaceChildren();
      for (const [title, unseen] of [["Unseen classes", true], ["Seen classes", false], ["Classes", null]]) {
        const own = found.filter((entry) => entry.unseen === unseen);
        if (!own.length) continue;
        const side = make("div");
        const list = make("ul", others ? "class-list with" : "class-list");
        list.tabIndex = 0;
        list.setAttribute("aria-label", title);
        list.append(...own.map((entry) => item(entry.name, entry.value, entry.other)));
        const mean = own.reduce((sum, entry) => sum + entry.value, 0) / own.length;
        side.append(make("h4", "", `${title}: ${own.length}, mean ${one(mean)} %`), list);
        sides.append(side);
      }
    };
    for (const select of [model, against, by]) select.addEventListener("change", draw);
    draw();
  }
})();
