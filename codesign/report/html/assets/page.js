"use strict";

// Charts ------------------------------------------------------------------------------------------------------

/** How a chart behaves: it fits its place, can be saved for a paper, at twice its size or as SVG, and stays here. */
function configOf({ id }) {
  const filename = id.replace("chart-", "");
  return {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    modeBarButtonsToAdd: [{
      name: "Download plot as SVG",
      icon: Plotly.Icons.disk,
      click: (plot) => Plotly.downloadImage(plot, { format: "svg", filename }),
    }],
    toImageButtonOptions: { format: "png", scale: 2, filename },
  };
}

/** Data and layout of the figure behind a plot. */
const figureOf = (plot) => JSON.parse(document.getElementById(plot.id.replace("chart-", "data-")).textContent);

for (const plot of document.querySelectorAll(".plot:not(.explored)")) {
  const { data, layout } = figureOf(plot);
  Plotly.newPlot(plot, data, layout, configOf(plot));
}

// A chart keeps its size when it is printed, so it gets one that fits a landscape page.
const PRINTED_PX = { wide: 900, half: 430 };

function resizeCharts(width) {
  for (const plot of document.querySelectorAll(".plot")) Plotly.relayout(plot, { width: width(plot), autosize: true });
}

addEventListener("beforeprint", () => {
  resizeCharts((plot) => (plot.closest("figure").classList.contains("wide") ? PRINTED_PX.wide : PRINTED_PX.half));
});
addEventListener("afterprint", () => resizeCharts(() => null));

// Theme -------------------------------------------------------------------------------------------------------

document.getElementById("theme").addEventListener("click", () => {
  const { style } = document.documentElement;
  const dark = style.colorScheme ? style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  style.colorScheme = dark ? "light" : "dark";
});

// Tables ------------------------------------------------------------------------------------------------------

const compareText = new Intl.Collator(undefined, { numeric: true }).compare;

function sortKey(cell) {
  if (!cell.classList.contains("number")) return cell.textContent;
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

/** Cells without a value come last in both directions. */
function compareCells(a, b, direction) {
  const [x, y] = [sortKey(a), sortKey(b)];
  if (x === null || y === null) return (x === null) - (y === null);
  return direction * (typeof x === "number" ? x - y : compareText(x, y));
}

function sortBy(heading) {
  const table = heading.closest("table");
  const ascending = heading.ariaSort ? heading.ariaSort === "descending" : !heading.classList.contains("number");
  const { cellIndex } = heading;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compareCells(a.cells[cellIndex], b.cells[cellIndex], ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
  for (const other of heading.parentNode.cells) other.ariaSort = null;
  heading.ariaSort = ascending ? "ascending" : "descending";
}

/** Rows that hold every word of the text. */
function filterRows(box) {
  const words = box.querySelector("input").value.toLowerCase().split(/\s+/);
  for (const row of box.querySelectorAll("tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.classList.toggle("unmatched", !words.every((word) => text.includes(word)));
  }
  countRows(box);
}

function countRows(box) {
  const rows = box.querySelectorAll("tbody tr");
  const shown = box.querySelectorAll("tbody tr:not(.unmatched, .excluded)");
  box.querySelector("output").textContent = `${shown.length} of ${rows.length} rows`;
}

for (const table of document.querySelectorAll("table.interactive")) {
  const box = table.closest(".table");
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(heading));
  }
  box.querySelector("input").addEventListener("input", () => filterRows(box));
  countRows(box);
}
