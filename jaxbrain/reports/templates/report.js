"use strict";
// Columns sort: up, down, then as they were. Numbers as numbers, what is not there last.
(() => {
  const begins = /^([<>]?)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)/i;
  const missing = (text) => text === "" || text === "-";
  function value(text) {
    const found = begins.exec(text);
    if (!found) return null;
    const number = Number(found[2]);
    return found[1] === "<" ? number - 1e-9 : found[1] === ">" ? number + 1e-9 : number;
  }
  function compare(one, two) {
    const [a, b] = [value(one), value(two)];
    if (a !== null && b !== null && a !== b) return a - b;
    return one.localeCompare(two, undefined, { numeric: true });
  }
  function sort(table, column, order) {
    const body = table.tBodies[0];
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((one, two) => {
      if (order === "none") return one.dataset.place - two.dataset.place;
      const [a, b] = [text(one), text(two)];
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return order === "ascending" ? compare(a, b) : compare(b, a);
    });
    body.append(...rows);
  }
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  for (const table of document.querySelectorAll("main table")) {
    [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = next[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", order);
        sort(table, column, order);
      });
    });
  }
  // Paper cannot be opened.
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((one) => (one.open = true));
  });
})();
