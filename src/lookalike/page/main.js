// The page: what is asked decides what is shown, and whatever one does changes what is asked.

import * as api from "./api.js";
import { answersTo, answerFiles, Forgotten, known } from "./query.js";
import { all, collection, load, spaces } from "./collections.js";
import { openCrop, prepareCrop } from "./crop.js";
import { openDetail, openUpload, prepareDetail } from "./detail.js";
import { $, announce, calm, h, icon } from "./dom.js";
import { drawFilters, focusFilter, whereFailed } from "./filters.js";
import { drawHealth, leaveHealth } from "./health.js";
import { choose, takeIn } from "./upload.js";
import { listen, showKeys } from "./keyboard.js";
import { drawMap, leaveMap, mapKey } from "./map/view.js";
import { lost } from "./offline.js";
import * as results from "./results.js";
import { drawStart, focusStart, prepareStart, restart } from "./start.js";
import { asks, begin, current, format, go, onChange } from "./state.js";
import { chooseTheme } from "./themes.js";
import { follow } from "./history.js";
import * as tray from "./examples.js";

let asking = new AbortController(), pending = false, begun;
const ready = new Promise((resolve) => { begun = resolve; });

// ---- what is shown ----------------------------------------------------------------------------------------------

function show(state) {
  const searching = state.view === "search", asked = asks(state);
  document.body.dataset.view = state.view;
  $("#start").hidden = !searching || asked || pending;
  $("#results").hidden = !searching || (!asked && !pending);
  $("#map-view").hidden = state.view !== "map";
  $("#health-view").hidden = state.view !== "health";
  $("#way").hidden = !asked && (history.state?.step ?? 0) === 0;
  for (const view of ["search", "map", "health"]) {
    const link = $(`#to-${view}`);
    link.href = format({ ...state, view });
    if (view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const names = { search: asked ? "Results" : "Begin", map: "Map", health: "Health" };
  document.title = `${names[state.view]} · Lookalike`;
}

async function render(state) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  show(state);
  complain();
  whereFailed("");
  if (state.view !== "map") leaveMap();
  if (state.view !== "health") leaveHealth();
  drawCollections();
  try {
    if (state.view === "map") await drawMap(state, { signal, onChoose: chooseOnMap, onDetail: openDetail, onTogether: searchTogether });
    else if (state.view === "health") await drawHealth(state, { signal, onFailure: fail });
    else if (asks(state)) await answer(state, signal);
    else await drawStart();
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
}

async function answer(state, signal) {
  results.drawQuery(state);
  results.drawSpaces(state);
  drawFilters(state);
  const kept = known(state);
  if (!kept) results.wait();
  const answers = kept ?? await answersTo(state, signal);
  if (!signal.aborted) results.drawAnswers(state, answers);
}

function drawCollections() {
  $("#which").hidden = all().length < 2;
  $("#collection").replaceChildren(...all().map(({ name }) => h("option", { value: name }, name)));
  $("#collection").value = collection().name;
}

// ---- what went wrong --------------------------------------------------------------------------------------------

function complain(...content) {
  $("#notice").hidden = !content.length;
  $("#notice").replaceChildren(...content);
}

function fail(error) {
  results.arrived();
  const state = current(), again = h("button", { type: "button", class: "strong", onclick: choose }, icon("picture"), "Choose a picture");
  if (error instanceof api.Gone) { lost(start); return; }
  if (!(error instanceof api.Problem || error instanceof Forgotten)) console.error(error);
  if (error.status === 401) { complain(h("p", {}, "This server asks for a token: open the address that it printed when it was started.")); return; }
  if (error.status === 422 && state.where && state.view === "search" && !pending) { whereFailed(error.message); return; }
  if (state.view === "search" && ($("#results").hidden || pending)) { $("#start").hidden = true; $("#results").hidden = false; }
  $("#answers").replaceChildren();
  results.forget();
  for (const one of ["#more", "#crop", "#none"]) $(one).hidden = true;
  $("#count").textContent = "";
  const picture = error instanceof Forgotten || error.status === 404 || error.status === 422 || pending;
  complain(h("p", {}, error instanceof Forgotten ? `${error.message} Give it again to search by it.` : error.message),
    picture ? again : h("button", { type: "button", class: "plain", onclick: () => render(current()) }, "Try again"));
}

// ---- what one does ----------------------------------------------------------------------------------------------

/** Show the pictures at once, and what the server finds when it has. */
async function searchFiles(files) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking, state = { ...current(), view: "search", labels: [], where: "", plus: [], minus: [] };
  pending = true;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  tray.clear();
  show(state);
  complain();
  whereFailed("");
  scrollTo({ top: 0, behavior: "instant" });
  const urls = files.slice(0, 16).map((file) => URL.createObjectURL(file));
  results.drawPending(urls, files.map((file) => file.name));
  results.drawSpaces(state);
  try {
    const next = await answerFiles(files.slice(0, 16), state, signal);
    pending = false;
    if (format(next) === format(current())) render(next);
    else go(next);
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error);
    pending = false;
  }
}

function refuse(files) {
  announce(`${files[0].name} is not a picture.`);
  pending = true;
  show(current());
  $("#examples").replaceChildren();
  fail(new api.Problem(415, { detail: `${files[0].name} is not a picture. JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC are read.` }));
  pending = false;
}

function search(example, tile) {
  const image = tile?.querySelector("img");
  const from = image?.getBoundingClientRect();
  if (tile) results.focusSoon();
  go({ view: "search", plus: [example.upload ? { upload: example.upload } : { id: example.id }], minus: [] });
  scrollTo({ top: 0, behavior: "instant" });
  if (from && !calm.matches) fly(image, from);
}

// The picture that was clicked goes to where the query is shown.
function fly(image, from) {
  const target = $("#examples img"), box = target.closest("li").getBoundingClientRect(), ratio = from.width / from.height;
  const to = { left: box.left, top: box.top, height: box.height, width: Math.min(240, box.height * ratio) };
  const flown = h("img", { alt: "", class: "flown", src: image.src });
  const frame = ({ left, top, width, height }) => ({ transform: `translate(${left}px, ${top}px)`, width: `${width}px`, height: `${height}px` });
  document.body.append(flown);
  flown.animate([frame(from), frame(to)], { duration: 360, easing: "cubic-bezier(.2, .8, .2, 1)" }).finished.finally(() => flown.remove());
}

const chooseOnMap = (row) => search(row);
const searchTogether = (examples) => go({ view: "search", plus: examples, minus: [], labels: [], where: "" });
const collect = (row, kind) => tray.add(row.upload ? { upload: row.upload } : { id: row.id }, kind);
const cropQuery = () => current().plus.length === 1 && openCrop(current().plus[0], $("#query-name").textContent);

async function openQuery(example) {
  if (example.upload) { openUpload(example); return; }
  try {
    openDetail([await api.row(collection().name, example.id)], 0);
  } catch (error) {
    fail(error);
  }
}

const acts = { onChoose: search, onExample: collect, onDetail: openDetail, onCrop: openCrop, onQueryDetail: openQuery, onFailure: fail };
results.prepare(acts);
prepareStart(acts);
prepareDetail(acts);
prepareCrop({ onFile: (file) => searchFiles([file]), onFailure: fail });
tray.onFailure(fail);
// What is dropped before the page knows the collections waits for it.
takeIn((files) => ready.then(() => searchFiles(files)), (files) => ready.then(() => refuse(files)));

for (const [name, symbol] of [["back", "back"], ["forward", "forward"], ["help", "keys"], ["theme", "theme"]]) $(`#${name}`).append(icon(symbol));
$("#add").append(icon("plus"), h("span", {}, "Picture"));
$("#add").setAttribute("aria-label", "Choose a picture");
$("#crop").append(icon("crop"), h("span", {}, "A part of it"));
$("#home").addEventListener("click", restart);
$("#add").addEventListener("click", choose);
$("#help").addEventListener("click", showKeys);
$("#crop").addEventListener("click", cropQuery);
$("#collection").addEventListener("change", () => go({ collection: $("#collection").value, spaces: [], plus: [], minus: [], labels: [], where: "" }));
chooseTheme($("#theme"));
for (const view of ["search", "map", "health"]) {
  $(`#to-${view}`).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ view });
  });
}

const onSearch = (act) => () => (current().view === "search" ? act() : false);
const intoGrid = (event) => {
  if (current().view === "map") return mapKey(event);
  if (current().view !== "search" || event.target.closest?.("#top, #chips, #spaces")) return false;
  return asks(current()) ? results.focusResults() : focusStart();
};
listen({
  "/": onSearch(() => (asks(current()) ? focusFilter() : false)), "?": showKeys, u: choose, s: () => tray.search(), v: onSearch(results.toggleCompare), c: onSearch(cropQuery),
  1: () => go({ view: "search" }), 2: () => go({ view: "map" }), 3: () => go({ view: "health" }),
  ArrowDown: intoGrid, ArrowRight: intoGrid, ArrowUp: mapKey, ArrowLeft: mapKey, "+": mapKey, "=": mapKey, "-": mapKey, 0: mapKey, l: mapKey,
  Escape: (event) => (mapKey(event) === false ? tray.clear() : undefined),
});

// ---- begin ------------------------------------------------------------------------------------------------------

onChange((state, before, arrival) => {
  if (!all().length) return;
  pending = false;
  follow(state, arrival);
  render(state);
});

async function start() {
  try {
    await load();
  } catch (error) {
    fail(error);
    return;
  }
  if (!all().length) {
    $("#main").replaceChildren(h("div", { id: "notice" }, h("p", {}, "This server holds no collection. Start it with one: lookalike serve COLLECTION.")));
    return;
  }
  begin();
  begun();
}
start();
