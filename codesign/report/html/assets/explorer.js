"use strict";

// Filters and axes of a sweep. A point of a trace belongs to the point of the sweep that its customdata names; what is
// filtered out becomes a gap.

const points = JSON.parse(document.getElementById("explorer-data").textContent);
const filters = document.getElementById("filters");
const figures = new Map();
for (const plot of document.querySelectorAll(".plot.explored")) figures.set(plot, figureOf(plot));

const LOGARITHMIC_FROM = 20; // ratio of the largest value to the smallest
const TICKS = Array.from({ length: 57 }, (_, i) => [1, 2, 5][i % 3] * 10 ** (Math.floor(i / 3) - 6));
const LOGARITHMIC = { type: "log", tickvals: TICKS, tickformat: ",~g" };
const LINEAR = { type: "linear", tickvals: null, tickformat: null };

function passes(point) {
  return [...filters.querySelectorAll("select")].every(({ name, value }) => !value || points[name][point] === value);
}

function draw(plot, passing) {
  const { data, layout } = figures.get(plot);
  const traces = data.map((trace) => {
    const kept = (values) => values.map((value, i) => (passing[trace.customdata[i]] ? value : null));
    const hovertext = trace.customdata.map((point) => points.hover[point]);
    return { ...trace, x: kept(trace.x), y: kept(trace.y), hovertext };
  });
  Plotly.react(plot, traces, { ...layout, uirevision: "kept" }, configOf(plot)); // what the reader hid or zoomed stays so
}

function apply() {
  const passing = points.hover.map((_, point) => passes(point));
  for (const plot of figures.keys()) draw(plot, passing);
  for (const row of document.querySelectorAll("tr[data-point]")) {
    row.classList.toggle("excluded", !passing[row.dataset.point]);
  }
  document.querySelectorAll("table.interactive").forEach((table) => countRows(table.closest(".table")));
  document.getElementById("passing").textContent = `${passing.filter(Boolean).length} of ${passing.length} points`;
}

function chooseAxis(select) {
  const { data, layout } = figures.get(select.closest("figure").querySelector(".plot"));
  const values = points[select.value];
  for (const trace of data.filter(({ showlegend }) => showlegend === false)) { // the others only fill the legend
    trace[select.dataset.axis] = trace.customdata.map((point) => values[point]);
  }
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const axis = layout[`${select.dataset.axis}axis`];
  axis.title = { text: select.selectedOptions[0].text };
  Object.assign(axis, low > 0 && high > LOGARITHMIC_FROM * low ? LOGARITHMIC : LINEAR);
  axis.uirevision = select.value;
  apply();
}

for (const select of document.querySelectorAll("select[data-axis]")) {
  select.addEventListener("change", () => chooseAxis(select));
}
filters.addEventListener("change", apply);
apply();
