/** The page: the state decides what is shown, and every action changes the state. */

import * as api from "./api.js";
import { allCollections, collection, loadCollections } from "./collections.js";
import { openCrop, prepareCrop } from "./crop.js";
import { openDetail, openUpload, prepareDetail } from "./detail.js";
import { $, h, icon, reducedMotion } from "./dom.js";
import { drawDuplicates } from "./duplicates.js";
import { addExample, clearExamples, onExampleFailure, searchByExamples } from "./examples.js";
import { drawFilters, focusFilter, showFilterProblem } from "./filters.js";
import { isolate } from "./format.js";
import { drawHealth } from "./health.js";
import { recordStep } from "./history.js";
import { followJobs } from "./jobs.js";
import { listenToKeys, showKeys } from "./keyboard.js";
import { describeFileProblem, describeOtherFile, hideMessage, showMessage } from "./message.js";
import { drawMap, leaveMap, mapKey } from "./map.js";
import { waitForServer } from "./offline.js";
import { loadPalette } from "./palette.js";
import { answersFor, cachedAnswers, searchByFiles, UploadExpired } from "./query.js";
import * as results from "./results.js";
import { drawReview } from "./review.js";
import { drawSetup, leaveSetup } from "./setup.js";
import { askForToken } from "./sign_in.js";
import { drawStart, focusStart, focusWords, prepareStart, restart } from "./start.js";
import {
  begin,
  current,
  exampleOf,
  format,
  go,
  hasQuery,
  NO_QUERY,
  onChange,
  VIEWS,
} from "./state.js";
import { makeThemeButton } from "./themes.js";
import { acceptUploads, chooseFiles } from "./upload.js";

const MAX_FILES = 16; // that one query may upload
const NAMES = { map: "Map", health: "Health", duplicates: "Duplicates", review: "Review" };
// Views that need nothing but the state.
const DRAW = { health: drawHealth, duplicates: drawDuplicates, review: drawReview };
const EMPTY_INTERVAL = 2000; // milliseconds between two looks for a first collection

let rendering = new AbortController(); // aborted by the next state
let isPending = false; // uploaded files are on their way to the server
let setReady;
const ready = new Promise((resolve) => {
  setReady = resolve;
});

// ---- rendering ---------------------------------------------------------------------------------

function startRendering() {
  rendering.abort();
  rendering = new AbortController();
  return rendering.signal;
}

function showView(state) {
  const isSearch = state.view === "search";
  const hasResults = hasQuery(state) || isPending;
  document.body.dataset.view = state.view;
  $("#start").hidden = !isSearch || hasResults;
  $("#results").hidden = !isSearch || !hasResults;
  for (const view of Object.keys(NAMES)) $(`#${view}-view`).hidden = state.view !== view;
  const isFirstStep = (history.state?.step ?? 0) === 0;
  $("#queries").hidden = !hasQuery(state) && isFirstStep;
  for (const view of VIEWS) {
    const link = $(`#to-${view}`);
    link.href = format({ ...state, view });
    if (view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const ofSearch = hasQuery(state) ? "Results" : "Start";
  document.title = `${NAMES[state.view] ?? ofSearch} · Lookalike`;
}

function drawCollections() {
  const makeOption = ({ name }) => h("option", { value: name, dir: "auto" }, name);
  const options = allCollections().map(makeOption);
  $("#collection-choice").hidden = options.length < 2;
  $("#collection").replaceChildren(...options);
  $("#collection").value = collection().name;
}

async function render(state) {
  const signal = startRendering();
  showView(state);
  showNotice();
  hideMessage();
  showFilterProblem("");
  if (state.view !== "map") leaveMap();
  drawCollections();
  try {
    await drawView(state, signal);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
}

async function drawView(state, signal) {
  if (state.view === "map") {
    await drawMap(state, { signal, onChoose: searchBy, onSearchTogether: searchTogether });
  } else if (state.view in DRAW) {
    await DRAW[state.view](state, { signal });
  } else if (hasQuery(state)) {
    await drawResults(state, signal);
  } else {
    await drawStart();
    if (!collection(state.collection).images) setTimeout(lookForImages, EMPTY_INTERVAL, signal);
  }
}

async function drawResults(state, signal) {
  results.drawQuery(state);
  results.drawSpaces(state);
  drawFilters(state);
  const cached = cachedAnswers(state);
  if (!cached) results.setWaiting(true);
  const answers = cached ?? (await answersFor(state, signal));
  if (!signal.aborted) results.drawAnswers(state, answers);
}

// ---- problems ----------------------------------------------------------------------------------

function showNotice(...content) {
  $("#notice").hidden = !content.length;
  $("#notice").replaceChildren(...content);
}

// Problems that concern every view; return whether it is one.
function failEverywhere(error) {
  results.setWaiting(false);
  const isUnreachable = error instanceof api.ServerUnreachable;
  if (isUnreachable) waitForServer(start);
  else if (error.status === 401) askForToken(start);
  else return false;
  return true;
}

/** An action failed: the view stays, and a message says why. */
function report(error) {
  if (failEverywhere(error)) return;
  showMessage(error.fileName ? describeFileProblem([error.fileName], error) : error.message);
}

/** The view cannot be drawn. */
function fail(error) {
  if (failEverywhere(error)) return;
  const isExpected = error instanceof api.Problem || error instanceof UploadExpired;
  if (!isExpected) console.error(error);
  const state = current();
  const isSearch = state.view === "search";
  const isAboutFilter = error.status === 422 && state.where && isSearch;
  if (isAboutFilter) {
    showFilterProblem(error.message);
  } else if (isSearch) {
    showFailedSearch(error);
  } else {
    showMessage(error.message);
  }
}

function showFailedSearch(error) {
  $("#start").hidden = true;
  $("#results").hidden = false;
  results.forgetResults();
  $("#answers").replaceChildren();
  for (const selector of ["#more", "#crop", "#none"]) $(selector).hidden = true;
  $("#count").textContent = "";
  const needsImage = error instanceof UploadExpired || [404, 422].includes(error.status);
  showNotice(h("p", {}, error.message), needsImage ? chooseButton() : retryButton());
}

function chooseButton() {
  const attributes = { type: "button", class: "strong", onclick: chooseFiles };
  return h("button", attributes, icon("image"), "Choose an image");
}

function retryButton() {
  const attributes = { type: "button", class: "plain", onclick: () => render(current()) };
  return h("button", attributes, "Try again");
}

// ---- searching ---------------------------------------------------------------------------------

/** Search by uploaded files; their images are shown at once. */
async function searchFiles(given) {
  const files = given.slice(0, MAX_FILES);
  const signal = startRendering();
  const state = { ...current(), view: "search", ...NO_QUERY };
  isPending = true;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  clearExamples();
  showView(state);
  showNotice();
  hideMessage();
  showFilterProblem("");
  scrollTo({ top: 0, behavior: "instant" });
  const urls = files.map((file) => URL.createObjectURL(file));
  results.drawPending(
    urls,
    files.map((file) => file.name),
  );
  results.drawSpaces(state);
  try {
    const next = await searchByFiles(files, state, signal);
    isPending = false;
    // The same file again is no change of the state.
    if (format(next) === format(current())) render(next);
    else go(next);
  } catch (error) {
    if (error.name === "AbortError") return;
    isPending = false;
    // What was shown before comes back.
    render(current());
    if (failEverywhere(error)) return;
    const names = files.map(({ name }) => name);
    showMessage(describeFileProblem(names, error));
  }
}

/** Say that files cannot be searched by. */
function refuseFiles(files) {
  showMessage(describeOtherFile(isolate(files[0].name)));
}

/** Search by a row or an upload; `tile`, if given, is where its image is on the screen. */
function searchBy(example, tile) {
  const image = tile?.querySelector("img");
  const from = image?.getBoundingClientRect();
  if (tile) results.focusNextAnswer();
  go({ view: "search", positive: [exampleOf(example)], negative: [] });
  scrollTo({ top: 0, behavior: "instant" });
  if (from && !reducedMotion.matches) flyToQuery(image, from);
}

// The image that was clicked moves to the query's place.
function flyToQuery(image, from) {
  const to = $("#examples img").closest("li").getBoundingClientRect();
  const width = Math.min(240, (to.height * from.width) / from.height);
  const flying = h("img", { alt: "", class: "flown", src: image.src });
  const frame = (box, boxWidth) => ({
    transform: `translate(${box.left}px, ${box.top}px)`,
    width: `${boxWidth}px`,
    height: `${box.height}px`,
  });
  document.body.append(flying);
  const frames = [frame(from, from.width), frame(to, width)];
  const timing = { duration: 360, easing: "cubic-bezier(.2, .8, .2, 1)" };
  flying.animate(frames, timing).finished.finally(() => flying.remove());
}

function searchTogether(examples) {
  go({ view: "search", ...NO_QUERY, positive: examples });
}

// ---- actions -----------------------------------------------------------------------------------

async function showQueryDetail(example) {
  if (example.upload) {
    openUpload(example);
    return;
  }
  try {
    openDetail([await api.row(collection().name, example.id)], 0);
  } catch (error) {
    report(error);
  }
}

function cropQuery() {
  const { positive } = current();
  const [first] = positive;
  if (positive.length === 1 && !first.text) openCrop(first, $("#query-name").textContent);
}

const actions = {
  onChoose: searchBy,
  onExample: (row, kind) => addExample(exampleOf(row), kind),
  onDetail: openDetail,
  onCrop: openCrop,
  onQueryDetail: showQueryDetail,
  onFailure: fail,
};
results.prepareResults(actions);
prepareStart(actions);
prepareDetail(actions);
prepareCrop({ onFile: (file) => searchFiles([file]), onFailure: report });
onExampleFailure(report);
// Files that come in before the collections are known wait for them.
acceptUploads(
  (files) => ready.then(() => searchFiles(files)),
  (files) => ready.then(() => refuseFiles(files)),
);

$("#back").append(icon("back"));
$("#forward").append(icon("forward"));
$("#help").append(icon("keyboard"));
$("#theme").append(icon("theme"));
$("#add").append(icon("plus"), h("span", {}, "Image"));
$("#add").setAttribute("aria-label", "Choose an image");
$("#crop").append(icon("crop"), h("span", {}, "Crop"));
$("#home").addEventListener("click", restart);
$("#add").addEventListener("click", chooseFiles);
$("#help").addEventListener("click", showKeys);
$("#crop").addEventListener("click", cropQuery);
$("#collection").addEventListener("change", () => {
  go(otherCollection($("#collection").value));
});
makeThemeButton($("#theme"));
for (const view of VIEWS) {
  $(`#to-${view}`).addEventListener("click", (event) => {
    // With a modifier the browser opens the link by itself.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ view });
  });
}

// ---- keys --------------------------------------------------------------------------------------

const inSearch = (action) => () => (current().view === "search" ? action() : false);

function enterGrid(event) {
  if (current().view === "map") return mapKey(event);
  const isElsewhere = event.target.closest?.("#top, #chips, #spaces");
  if (current().view !== "search" || isElsewhere) return false;
  return hasQuery(current()) ? results.focusResults() : focusStart();
}

listenToKeys({
  "/": inSearch(() => (hasQuery(current()) ? focusFilter() : focusWords())),
  "?": showKeys,
  u: chooseFiles,
  s: searchByExamples,
  v: inSearch(results.toggleCompare),
  c: inSearch(cropQuery),
  1: () => go({ view: "search" }),
  2: () => go({ view: "map" }),
  3: () => go({ view: "health" }),
  4: () => go({ view: "duplicates" }),
  5: () => go({ view: "review" }),
  ArrowDown: enterGrid,
  ArrowRight: enterGrid,
  ArrowUp: mapKey,
  ArrowLeft: mapKey,
  "+": mapKey,
  "=": mapKey,
  "-": mapKey,
  0: mapKey,
  l: mapKey,
  Escape: (event) => {
    hideMessage();
    if (mapKey(event) === false) clearExamples();
  },
});

// ---- start -------------------------------------------------------------------------------------

onChange((state, arrival) => {
  if (!allCollections().length) return;
  isPending = false;
  recordStep(state, arrival);
  render(state);
});

// Both are requested at once; if the server is down, the collections say so.
async function loadAll() {
  const palette = loadPalette(new URL("palette.json", import.meta.url));
  palette.catch(() => {});
  await loadCollections();
  await palette;
}

async function start() {
  try {
    await loadAll();
  } catch (error) {
    fail(error);
    return;
  }
  followJobs({
    onProgress: showArrivals,
    onEnd: showOutcome,
    onShowFailures: (name) => go({ ...otherCollection(name), view: "health" }),
    canShow: (name) => name !== collection()?.name && isServed(name),
    onShow: (name) => go({ ...otherCollection(name), view: "search" }),
    onFailure: fail,
  });
  if (allCollections().length) beginSearching();
  else await waitForCollection();
}

function beginSearching() {
  leaveSetup();
  document.body.classList.remove("bare");
  begin();
  setReady();
}

// Without any collection, every view shows how to make one; the first one is opened by itself.
async function waitForCollection() {
  document.body.classList.add("bare");
  let roots;
  try {
    roots = await api.roots();
  } catch (error) {
    fail(error);
    return;
  }
  // A job may have opened a collection meanwhile.
  if (!isBare()) return;
  drawSetup(roots);
  setTimeout(lookForCollection, EMPTY_INTERVAL);
}

async function lookForCollection() {
  if (!isBare()) return;
  try {
    await loadCollections();
  } catch (error) {
    fail(error);
    return;
  }
  if (!isBare()) return;
  if (allCollections().length) beginSearching();
  else await waitForCollection();
}

// Another program may fill an empty collection.
async function lookForImages(signal) {
  if (signal.aborted) return;
  try {
    await loadCollections();
  } catch (error) {
    if (!signal.aborted) fail(error);
    return;
  }
  if (!signal.aborted) render(current());
}

const isBare = () => document.body.classList.contains("bare");

const showsStart = () => current().view === "search" && !hasQuery(current()) && !isPending;

// ---- jobs --------------------------------------------------------------------------------------

const versions = () => JSON.stringify(allCollections().map(({ name, version }) => [name, version]));

/** While images are added, the start shows them as they arrive. */
async function showArrivals({ kind, asked }) {
  if (kind !== "index") return;
  const isNew = !isServed(asked.collection);
  if (!isBare() && !showsStart() && !isNew) return;
  const before = versions();
  try {
    await loadCollections();
  } catch {
    // The next look at the job says more.
    return;
  }
  if (versions() === before) return;
  // The visitor may have begun a search meanwhile.
  if (isBare()) beginSearching();
  else if (showsStart()) render(current());
  else drawCollections();
}

/** After a job the view shows its outcome. */
async function showOutcome() {
  try {
    await loadCollections();
  } catch (error) {
    fail(error);
    return;
  }
  if (!allCollections().length) return;
  if (isBare()) beginSearching();
  if (!isPending) render(current());
}

const isServed = (name) => allCollections().some((one) => one.name === name);

// The parts of the state that belong to a collection.
function otherCollection(name) {
  if (name === collection()?.name) return {};
  return { collection: name, spaces: [], ...NO_QUERY };
}

start();
