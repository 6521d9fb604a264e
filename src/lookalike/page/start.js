/** The start: upload an image, or take one of the collection. */

import * as api from "./api.js";
import { allCollections, collection } from "./collections.js";
import { $, h, icon } from "./dom.js";
import { number, plural } from "./format.js";
import { Grid } from "./grid.js";
import { go, NO_QUERY } from "./state.js";
import { chooseFiles, takePhotograph } from "./upload.js";

const PAGES = 8; // parts of the collection that rows are taken from
const PAGE_ROWS = 6;

let grid = null;
let shownCollection = "";
let actions = {};

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

function summaryOf({ name, images }) {
  if (!images) {
    return `${name} has no images yet. Add some with “lookalike index FOLDER”, then reload.`;
  }
  const count = allCollections().length;
  const others = count > 1 ? ` · ${number(count)} collections` : "";
  return `${plural(images, "image")} in ${name}${others}`;
}

/** Draw the start. */
export async function drawStart() {
  const shown = collection();
  $("#start-about").textContent = summaryOf(shown);
  $("#begin").hidden = !shown.images;
  if (!shown.images || shownCollection === shown.name) return;
  grid?.stop();
  grid = new Grid({
    label: "Images to begin with",
    collection: shown.name,
    onChoose: actions.onChoose,
    onExample: actions.onExample,
    onDetail: (index) => actions.onDetail(grid.rows, index, () => grid),
  });
  $("#begin-grid").replaceChildren(grid.element);
  shownCollection = shown.name;
  try {
    grid.show(await randomRows(shown));
  } catch (error) {
    shownCollection = "";
    actions.onFailure(error);
  }
}

/** Focus the images. */
export const focusStart = () => grid?.focus();

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
