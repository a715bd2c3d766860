"use strict";
/* Filters, the lists of figures and records, and the charts. Text is only ever set as text. */
const content = JSON.parse(document.getElementById("content").textContent);
const form = document.getElementById("filters");
const PAGE = 25;
const state = { models: null, task: "", device: "", backend: "" };

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
}

/* A figure that does not depend on what a filter is about passes it. */
function passes(of) {
  if (state.models && of.model && !state.models.has(of.model)) return false;
  for (const name of ["task", "device", "backend"]) if (state[name] && of[name] && of[name] !== state[name]) return false;
  return true;
}

function readFilters() {
  if (!form) return;
  const boxes = [...form.querySelectorAll("input[name=model]")];
  const checked = boxes.filter((box) => box.checked).map((box) => box.value);
  state.models = boxes.length && checked.length < boxes.length ? new Set(checked) : null;
  for (const name of ["task", "device", "backend"]) {
    const select = form.querySelector(`select[name=${name}]`);
    state[name] = select ? select.value : "";
  }
}

function filterTables() {
  const all = !state.models && !state.task && !state.device && !state.backend;
  for (const node of document.querySelectorAll("main [data-model], main tr[data-task], main tr[data-device]")) {
    node.hidden = !all && !passes(node.dataset);
  }
}

/* Every figure. */
const figures = content.figures;
const column = Object.fromEntries(figures.fields.map((name, index) => [name, index]));
const textOf = (row, name) => figures.strings[row[column[name]]];
let matching = [];
let listed = 0;

function filterFigures() {
  const find = document.getElementById("find");
  const words = find ? find.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
  matching = figures.rows.filter((row) => {
    if (!passes({ model: textOf(row, "model"), task: textOf(row, "task"), device: textOf(row, "device"), backend: textOf(row, "backend") })) return false;
    if (!words.length) return true;
    const text = ["model", "figure", "device", "way", "note"].map((name) => textOf(row, name)).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const body = document.getElementById("figure-rows");
  if (!body) return;
  body.replaceChildren();
  listed = 0;
  listMore();
  const shown = document.getElementById("shown");
  const models = state.models ? state.models.size : new Set(figures.rows.map((row) => row[column.model])).size;
  const of = matching.length === figures.rows.length ? `all ${figures.rows.length.toLocaleString("en")}` : `${matching.length.toLocaleString("en")} of ${figures.rows.length.toLocaleString("en")}`;
  if (shown) shown.textContent = `Showing ${of} figures of ${models} model${models === 1 ? "" : "s"}.`;
}

function listMore() {
  const body = document.getElementById("figure-rows");
  for (const row of matching.slice(listed, listed + PAGE)) {
    const line = element("tr");
    line.append(element("th", textOf(row, "model"), { scope: "row" }));
    line.append(element("td", textOf(row, "figure")), element("td", textOf(row, "value")));
    line.append(element("td", textOf(row, "ratio") || "–"));
    line.append(element("td", [textOf(row, "device"), textOf(row, "way")].filter(Boolean).join(", ") || "–"));
    line.append(element("td", textOf(row, "count") || "–"));
    line.append(element("td", [textOf(row, "method"), textOf(row, "note")].filter(Boolean).join("; ") || "–"));
    const last = element("td");
    const run = textOf(row, "run");
    last.append(run ? element("a", "record", { href: `#run-${encodeURIComponent(run)}` }) : "–");
    line.append(last);
    body.append(line);
  }
  listed = Math.min(listed + PAGE, matching.length);
  document.getElementById("more").hidden = listed >= matching.length;
  document.getElementById("counted").textContent = `${listed.toLocaleString("en")} of ${matching.length.toLocaleString("en")} figures are listed.`;
}

/* Records: a line each; what is in it is written when it is opened. */
const recordOf = new Map(content.records.map((record) => [record.run, record]));

const linesOf = new Map();

function listRecords() {
  const list = document.getElementById("record-list");
  if (!list) return;
  const bySession = content.sessions.map(() => []);
  for (const record of content.records) bySession[record.session].push(record);
  bySession.forEach((records, number) => {
    if (!records.length) return;
    const session = content.sessions[number];
    const group = element("details", null, { class: "session" });
    group.append(element("summary", `${minute(session.started)}, ${session.id}: ${records.length} record${records.length === 1 ? "" : "s"}`));
    group.append(element("p", null, { class: "command" }));
    group.lastChild.append(element("code", session.command));
    group.addEventListener("toggle", () => { if (group.open) listLines(group, records); });
    for (const record of records) linesOf.set(record.run, () => { listLines(group, records); group.open = true; });
    list.append(group);
    if (number === 0 && content.sessions.length === 1) { group.open = true; listLines(group, records); }
  });
}

function minute(moment) {
  return moment.slice(0, 16).replace("T", " ");
}

function listLines(group, records) {
  if (group.querySelector(".record")) return;
  const lines = document.createDocumentFragment();
  for (const record of records) {
    const line = element("details", null, { class: "record", id: `run-${record.run}` });
    for (const name of content.filters) if (record[name]) line.dataset[name] = record[name];
    const seed = record.seed ? `, seed ${record.seed}` : "";
    const status = record.status === "ok" ? "" : ` (${record.status})`;
    const task = record.task ? ` on ${record.task}` : "";
    line.append(element("summary", `${record.model}: ${record.kind}${task}${seed}${status}, ${minute(record.started)}`));
    line.addEventListener("toggle", () => { if (line.open) fill(line, record); });
    line.hidden = !passes(line.dataset);
    lines.append(line);
  }
  group.append(lines);
}

function fill(line, record) {
  if (line.querySelector("dl")) return;
  const list = element("dl");
  const session = content.sessions[record.session];
  const add = (title, text, code) => {
    if (!text) return;
    list.append(element("dt", title));
    const told = element("dd");
    told.append(code ? element("code", text) : text);
    list.append(told);
  };
  add("Run", record.run, true);
  add("Command", session.command, true);
  add("Session", `${session.id}, suite ${session.suite}${session.version ? `, bertbench ${session.version}` : ""}`);
  add("Started", `${record.started}${record.took ? `, took ${record.took}` : ""}`);
  add("Checkpoint", record.checkpoint);
  add("Weights", record.weights);
  add("Error", record.error);
  add("Warnings", (record.warnings || []).join("\n"));
  const settings = content.settings[record.settings] || {};
  add("Settings", Object.entries(settings).map(([name, value]) => `${name}: ${value}`).join("\n"));
  for (const [name, value] of Object.entries(content.environments[record.environment] || {})) add(name, value);
  add("All readings", `bertbench show ${record.run}`, true);
  add("Measure again", session.again, true);
  line.append(list);
}

function openTarget() {
  const hash = location.hash;
  if (!hash.startsWith("#run-")) return;
  let run;
  try { run = decodeURIComponent(hash.slice(5)); } catch { return; }
  if (!recordOf.has(run)) return;
  linesOf.get(run)();
  const line = document.getElementById(`run-${run}`);
  document.querySelectorAll(".record.here").forEach((other) => other.classList.remove("here"));
  line.hidden = false;
  line.classList.add("here");
  line.open = true;
  fill(line, recordOf.get(run));
  line.scrollIntoView({ block: "start" });
  line.querySelector("summary").focus({ preventScroll: true });
}

/* Charts. Colours are those of the style sheet. */
const CONFIG = {
  background: "transparent",
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
  view: { stroke: null },
  axis: { labelColor: "var(--ink)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--soft)", tickColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", },
  legend: { labelColor: "var(--ink)", titleColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", symbolFillColor: "var(--soft)", symbolBaseFillColor: "var(--soft)", symbolStrokeColor: "var(--soft)", symbolOpacity: 1, layout: { top: { direction: "vertical", anchor: "start", margin: 8 } } },
  range: { category: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `var(--m${number})`) },
  aria: false,
};
const drawings = new Map();
let ready = false;

function pointsOf(chart) {
  const at = Object.fromEntries(chart.fields.map((name, index) => [name, index]));
  const task = chart.oneTask ? state.task || chart.oneTask : null;
  const kept = [];
  for (const row of chart.rows) {
    const value = (name) => (at[name] === undefined ? null : row[at[name]]);
    if (!passes({ model: value("model"), task: value("task"), device: value("device"), backend: value("backend") })) continue;
    if (task && value("task") !== task) continue;
    const point = {};
    chart.fields.forEach((name, index) => { if (row[index] !== null) point[name] = row[index]; });
    kept.push(point);
  }
  return kept;
}

/* A bar takes 26 pixels; a row within a group of rows 14, with 10 between groups. */
function heightOf(bands, points) {
  const [rows, within] = bands.map((name) => new Set(points.map((point) => point[name])).size);
  return rows * (within === undefined ? 26 : within * 14 + 10);
}

/* As many columns as the longest label of a legend leaves room for. */
function columnsOf(spec, points, width) {
  const encodings = (spec.layer || [spec]).map((layer) => layer.encoding || {});
  const fields = new Set(encodings.flatMap((encoding) => ["color", "shape", "strokeDash"].map((channel) => encoding[channel] && encoding[channel].field)));
  let longest = 4;
  for (const field of fields) for (const point of points) longest = Math.max(longest, String((field && point[field]) || "").length);
  return Math.max(1, Math.min(6, Math.floor((width * 0.8) / (longest * 6.6 + 34))));
}

async function draw(node) {
  const chart = drawings.get(node);
    chart.stale = false;
  const points = pointsOf(chart.of);
  const figure = node.closest("figure");
  figure.querySelector(".empty").hidden = points.length > 0;
  node.hidden = points.length === 0;
  const task = figure.querySelector("[data-one-task]");
  const name = state.task || chart.of.oneTask;
  if (task) task.textContent = name === content.allTasks ? "mean of all tasks" : name;
  if (!points.length) return;
  const spec = { ...chart.of.spec, data: { name: "points", values: points } };
  if (chart.of.bands.length) spec.height = heightOf(chart.of.bands, points);
  const width = node.clientWidth;
  const columns = columnsOf(chart.of.spec, points, width);
  const labelLimit = Math.max(90, Math.round(width * 0.36));
  const config = { ...CONFIG, axis: { ...CONFIG.axis, labelLimit }, legend: { ...CONFIG.legend, columns, labelLimit: Math.round(width * 0.75) } };
  const before = chart.view;
  const made = await vegaEmbed(node, spec, { actions: false, renderer: "svg", config, logLevel: 1, tooltip: { theme: "custom" } });
  if (before) before.finalize();
  chart.view = made;
  node.querySelector("svg").setAttribute("aria-hidden", "true"); // the label and the table tell what it shows
  node.dataset.drawn = "yes";
}

let drawing = false;

function isInView(node) {
  const box = node.closest("figure").getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}

/* One chart after the other, those in view first; between two of them the page answers. */
async function drawStale() {
  if (drawing || !ready) return;
  drawing = true;
  for (;;) {
    const stale = [...drawings.keys()].filter((node) => drawings.get(node).stale);
    if (!stale.length) break;
    try {
      await draw(stale.find(isInView) || stale[0]);
    } catch (error) {
      console.error(error);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  drawing = false;
}

function drawCharts() {
  ready = true;
  drawStale();
}

function update() {
  readFilters();
  filterTables();
  filterFigures();
  for (const drawing of drawings.values()) drawing.stale = true;
  drawStale();
}

for (const chart of content.charts) drawings.set(document.querySelector(`[data-chart="${chart.name}"]`), { of: chart, stale: true, view: null });
listRecords();
if (form) {
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
}
if (document.getElementById("find")) document.getElementById("find").addEventListener("input", filterFigures);
if (document.getElementById("more")) document.getElementById("more").addEventListener("click", listMore);
addEventListener("hashchange", openTarget);
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href^='#run-']");
  if (link && link.getAttribute("href") === location.hash) openTarget();
});
update();
openTarget();
document.documentElement.dataset.ready = "yes";
