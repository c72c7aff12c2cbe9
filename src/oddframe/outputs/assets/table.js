"use strict";
// Tables of every page: sort by a heading, and show a hint where a table is wider than its box.
function sortable(table, changed) {
  const headings = [...table.querySelectorAll("th[data-key]")];
  const value = (row, key) => {
    const text = row.dataset[key] ?? "";
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };
  function compare(one, other) {
    if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
    return typeof one === "number" ? -1 : 1; // Rows without a number come last.
  }
  function sort() {
    const by = headings.find((heading) => heading.ariaSort !== "none");
    if (!by) return;
    const down = by.ariaSort === "descending" ? -1 : 1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, by.dataset.key), row]);
    rows.sort((one, other) => down * compare(one[0], other[0]));
    body.append(...rows.map((pair) => pair[1]));
  }
  for (const heading of headings) {
    heading.querySelector("button").addEventListener("click", () => {
      const turned = { ascending: "descending", descending: "ascending" };
      const first = heading.dataset.first === "down" ? "descending" : "ascending";
      const next = turned[heading.ariaSort] || first;
      for (const other of headings) other.ariaSort = "none";
      heading.ariaSort = next;
      sort();
      if (changed) changed();
    });
  }
  return sort;
}

for (const box of document.querySelectorAll(".wide-table")) {
  const look = () => {
    box.classList.toggle("fits", box.scrollWidth <= box.clientWidth);
    box.classList.toggle("overflows", box.scrollWidth > box.clientWidth);
  };
  const watcher = new ResizeObserver(look);
  watcher.observe(box);
  watcher.observe(box.firstElementChild);
}
