"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { molecules, figures, judge } = data;
  const place = new Map(molecules.map((entry, k) => [entry.index, k]));
  const make = (tag, words, name) => {
    const node = document.createElement(tag);
    if (words !== undefined) node.textContent = words;
    if (name) node.className = name;
    return node;
  };
  const shown = (value) => {
    if (value === null || value === undefined) return "–";
    return Number.isInteger(value) ? String(value) : value.toPrecision(3);
  };
  const button = (words, act, about) => {
    const node = make("button", words);
    node.type = "button";
    if (about) node.title = about;
    node.addEventListener("click", act);
    return node;
  };
  const copy = async (words, node) => {
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      const area = make("textarea", words); // where a page from a file may not use the clipboard
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = node.textContent;
    node.textContent = "copied";
    setTimeout(() => { node.textContent = before; }, 900);
  };

  let current = 0;
  let visualizer = null;
  const rows = [];

  const describe = (k) => {
    current = k;
    const entry = molecules[k];
    const bar = make("div", undefined, "bar");
    bar.append(make("h3", entry.title ? `Molecule ${entry.index}: ${entry.title}` : `Molecule ${entry.index}`));
    bar.append(make("span", entry.reason ? `${judge}: ${entry.reason}` : `${judge}: nothing wrong`, entry.reason ? "tag bad" : "tag"));
    bar.append(button("‹", () => go(k - 1), "previous (left arrow)"), button("›", () => go(k + 1), "next (right arrow)"));
    const line = make("div", undefined, "bar");
    line.append(make("span", entry.smiles || "no SMILES", "smiles"));
    if (entry.smiles) {
      const copying = button("copy SMILES", () => copy(entry.smiles, copying));
      line.append(copying);
    }
    const values = make("div", undefined, "values");
    for (const figure of figures) {
      const cell = make("div");
      const name = make("span", figure.unit ? `${figure.name}, ${figure.unit}` : figure.name);
      name.title = figure.about || figure.name;
      cell.append(name, make("b", shown(figure.values[k])));
      values.append(cell);
    }
    document.getElementById("selected").replaceChildren(bar, line, values);
    document.getElementById("selected").dataset.index = String(entry.index);
    rows.forEach((row, j) => row.classList.toggle("on", j === k));
  };
  const go = (k) => {
    const next = (k + molecules.length) % molecules.length;
    describe(next);
    if (visualizer) visualizer.select(visualizer.indexer.fromStructure(next, "structure"));
  };

  // -- the list of all molecules, sorted by a click on a head

  const list = () => {
    const table = make("table");
    const body = make("tbody");
    const head = make("tr");
    const columns = [
      ["number", (k) => molecules[k].index],
      ["title", (k) => molecules[k].title],
      ["SMILES", (k) => molecules[k].smiles],
      [`${judge}`, (k) => molecules[k].reason],
      ...figures.map((figure) => [figure.name, (k) => figure.values[k]]),
    ].filter(([name]) => name !== "title" || molecules.some((entry) => entry.title));
    let by = 0;
    let down = false;
    const sort = (c) => {
      down = by === c ? !down : false;
      by = c;
      const of = columns[c][1];
      const order = molecules.map((_, k) => k).sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        const less = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
        return down ? -less : less;
      });
      body.replaceChildren(...order.map((k) => rows[k]));
    };
    columns.forEach(([name], c) => {
      const cell = make("th");
      cell.scope = "col";
      cell.append(button(name, () => sort(c), "sort"));
      head.append(cell);
    });
    molecules.forEach((_, k) => {
      const row = make("tr");
      columns.forEach(([name, of], c) => {
        const value = of(k);
        const cell = make("td", undefined, name === "SMILES" ? "smiles" : "");
        if (c === 0) {
          const link = button(String(value), () => { go(k); document.querySelector(".explorer").scrollIntoView(); });
          link.className = "link";
          cell.append(link);
        } else {
          cell.textContent = typeof value === "string" ? value : shown(value);
        }
        row.append(cell);
      });
      rows.push(row);
      body.append(row);
    });
    const top = make("thead");
    top.append(head);
    table.append(top, body);
    const box = make("div", undefined, "scroll");
    box.tabIndex = 0;
    box.append(table);
    const all = button("copy all SMILES", () => copy(molecules.map((entry) => entry.smiles).filter(Boolean).join("\n"), all));
    document.getElementById("list").append(all, box);
  };
  list();
  describe(0);

  for (const link of document.querySelectorAll("[data-show]")) {
    const k = place.get(Number(link.dataset.show));
    if (k === undefined) {
      link.replaceWith(make("span", link.textContent));
    } else {
      link.addEventListener("click", () => { go(k); document.querySelector(".explorer").scrollIntoView(); });
    }
  }
  document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    const typing = target instanceof Element && target.matches("input, select, textarea, [contenteditable]");
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      event.preventDefault();
      go(current + step);
    }
  });

  // -- the map and the structure

  const dataset = data.dataset;
  for (const property of Object.values(dataset.properties)) {
    property.values = property.values.map((value) => (value === null ? NaN : value));
  }
  try {
    const warnings = new Chemiscope.Warnings();
    warnings.defaultTimeout = -1;
    const config = { meta: "meta", info: "info", map: "map", structure: "structure" };
    visualizer = await Chemiscope.DefaultVisualizer.load(config, dataset, warnings);
    const show = visualizer.info.show.bind(visualizer.info);
    visualizer.info.show = (indexes) => {
      show(indexes);
      if (indexes.structure !== current) describe(indexes.structure);
    };
    window.molflow = { visualizer, go };
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    document.querySelector(".panes").replaceChildren(make("p", `The 3D viewer could not start: ${error.message}`, "warning"));
    document.documentElement.dataset.ready = "no";
  }
})();
