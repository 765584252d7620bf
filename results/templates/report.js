"use strict";
// The list of questions: filter it; open or close what is shown. Each filter names the data attribute that it looks at.
(() => {
  const list = document.getElementById("questions");
  if (!list) return;
  const all = [...list.querySelectorAll("details.question")];
  const filters = [...document.querySelectorAll("[data-filter]")];
  const shown = () => all.filter((item) => !item.hidden);
  const filter = () => {
    for (const item of all) {
      item.hidden = !filters.every((one) => one.value === "" || item.dataset[one.dataset.filter] === one.value);
    }
    document.getElementById("count").textContent = `${shown().length} of ${all.length} shown`;
  };
  for (const one of filters) one.addEventListener("change", filter);
  document.getElementById("toggle").addEventListener("click", () => {
    const open = shown().some((item) => !item.open);
    for (const item of shown()) item.open = open;
  });
  filter();
  document.getElementById("controls").hidden = false;
})();
