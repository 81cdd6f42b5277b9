// A click on a head sorts its table by it: numbers best first, names by the alphabet; once more turns it around.
"use strict";

function keyOf(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compared(first, second, sign) {
  if (first === null || second === null) return (first === null) - (second === null);
  return sign * (typeof first === "string" ? first.localeCompare(second) : first - second);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const better = head.dataset.better === undefined ? -1 : Number(head.dataset.better) || 1;
    const usual = better > 0 ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === usual ? (usual === "ascending" ? "descending" : "ascending") : usual;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const rows = [...table.tBodies[0].rows];
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((first, second) => compared(keyOf(first, column), keyOf(second, column), sign));
    table.tBodies[0].append(...rows);
  }));
}
