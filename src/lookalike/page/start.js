/** The start: upload an image, or take one of the collection. */

import * as api from "./api.js";
import { allCollections, collection } from "./collections.js";
import { $, h, icon, withNames } from "./dom.js";
import { isolate, number, plural } from "./format.js";
import { Grid } from "./grid.js";
import { activeJobs } from "./jobs.js";
import { firstFolderForm } from "./setup.js";
import { go, NO_QUERY } from "./state.js";
import { chooseFiles, takePhotograph } from "./upload.js";
import { wordsForm } from "./words.js";

const PAGES = 8; // parts of the collection that rows are taken from
const PAGE_ROWS = 6;

let grid = null;
let shownCollection = ""; // whose images the grid shows
let shownVersion = 0; // of that collection, while it grows
let actions = {};

const words = wordsForm();
$("#start-words").append(words);

/** Set what can be done with an image: onChoose, onDetail, onExample and onFailure. */
export function prepareStart(given) {
  actions = given;
}

/** Rows from all over the collection, different ones each time. */
async function randomRows({ name, images }) {
  const pages = await Promise.all(pageRequests(name, images).map(api.rows));
  // Two pages may overlap.
  const rows = new Map(pages.flatMap((page) => page.rows).map((row) => [row.id, row]));
  const keyed = [...rows.values()].map((row) => ({ key: Math.random(), row }));
  keyed.sort((first, second) => first.key - second.key);
  return keyed.map(({ row }) => row);
}

function pageRequests(name, images) {
  const total = PAGES * PAGE_ROWS;
  if (images <= total) return [{ collection: name, limit: total }];
  return Array.from({ length: PAGES }, (_, page) => {
    const position = Math.floor(((page + Math.random()) * images) / PAGES);
    const after = position - PAGE_ROWS;
    return { collection: name, limit: PAGE_ROWS, ...(after >= 0 ? { after } : {}) };
  });
}

// The rows that came last, while images arrive.
async function latestRows({ name, images }) {
  const after = images - PAGES * PAGE_ROWS - 1;
  const request = { collection: name, limit: PAGES * PAGE_ROWS, ...(after >= 0 ? { after } : {}) };
  const { rows } = await api.rows(request);
  return rows.reverse();
}

function summaryOf({ name, images }) {
  const count = allCollections().length;
  const others = count > 1 ? ` · ${number(count)} collections` : "";
  return `${plural(images, "image")} in ${isolate(name)}${others}`;
}

const isGrowing = ({ name }) =>
  activeJobs().some(({ kind, asked }) => kind === "index" && asked.collection === name);

/** Draw the start. */
export async function drawStart() {
  const shown = collection();
  const isEmpty = !shown.images;
  $("#hero").hidden = isEmpty;
  $("#begin").hidden = isEmpty;
  $("#first").hidden = !isEmpty;
  if (isEmpty) {
    shownCollection = "";
    await drawFirst(shown);
    return;
  }
  firstShown = "";
  $("#start-about").replaceChildren(...withNames(summaryOf(shown)));
  const grows = isGrowing(shown);
  $("#again").hidden = grows;
  const isNewer = grows && shownVersion !== shown.version;
  if (shownCollection === shown.name && !isNewer) return;
  if (shownCollection !== shown.name) makeGrid(shown);
  shownCollection = shown.name;
  shownVersion = shown.version;
  try {
    grid.show(await (grows ? latestRows(shown) : randomRows(shown)));
  } catch (error) {
    shownCollection = "";
    actions.onFailure(error);
  }
}

function makeGrid({ name }) {
  grid?.stop();
  grid = new Grid({
    label: "Images to begin with",
    collection: name,
    onChoose: actions.onChoose,
    onExample: actions.onExample,
    onDetail: (index) => actions.onDetail(grid.rows, index, () => grid),
  });
  $("#begin-grid").replaceChildren(grid.element);
}

let firstShown = ""; // what the box of an empty collection shows

// An empty collection: how its first images come in, or that they are on their way.
async function drawFirst(shown) {
  const { name } = shown;
  const grows = isGrowing(shown);
  const key = `${grows} ${name}`;
  if (firstShown === key) return;
  firstShown = key;
  const box = $("#first");
  if (grows) {
    const text = "They can be searched as soon as they appear here.";
    box.replaceChildren(h("h1", {}, "The first images are on their way"), h("p", {}, text));
    return;
  }
  const title = h("h1", {}, h("bdi", {}, name), " has no images yet");
  const lead = "Add a folder. The images stay where they are, unchanged.";
  box.replaceChildren(title, h("p", {}, lead));
  try {
    const form = await firstFolderForm(name);
    if (firstShown === key) box.append(form);
  } catch (error) {
    firstShown = "";
    actions.onFailure(error);
  }
}

/** Focus the images. */
export const focusStart = () => grid?.focus();

/** Focus the box for words. */
export const focusWords = () => $("input", words).focus();

/** Return to the start. */
export const restart = () => go({ view: "search", ...NO_QUERY, spaces: [] });

$("#choose").append(icon("image"), h("span", {}, "Choose an image"));
$("#photograph").append(icon("camera"), h("span", {}, "Take a photo"));
$("#choose").addEventListener("click", chooseFiles);
$("#photograph").addEventListener("click", takePhotograph);
$("#again").addEventListener("click", () => {
  shownCollection = "";
  drawStart();
});
