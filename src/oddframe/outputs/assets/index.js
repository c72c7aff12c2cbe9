(() => {
  const tables = [...document.querySelectorAll("table.filtered")];
  const find = document.getElementById("find");
  const least = document.getElementById("least");
  const eventful = document.getElementById("eventful");

  function filter() {
    const words = find.value.toLowerCase();
    const low = Number(least.value) || 0;
    for (const table of tables) {
      let shown = 0;
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        row.hidden = !row.dataset.name.toLowerCase().includes(words) || Number(row.dataset.score) < low
          || (eventful.checked && row.dataset.events === "0");
        shown += row.hidden ? 0 : 1;
      }
      const word = `${table.dataset.word}${rows.length === 1 ? "" : "s"}`;
      const text = shown === rows.length ? `${shown} ${word}` : `${shown} of ${rows.length} ${word} shown`;
      table.closest("section").querySelector(".count").textContent = text;
    }
  }

  for (const table of tables) sortable(table);
  for (const control of [find, least, eventful]) control.addEventListener("input", filter);
  filter(); // A browser may keep what was typed before a reload.
})();
