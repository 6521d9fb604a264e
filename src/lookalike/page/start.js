// Where one begins: give a picture, or take one of the collection's.

import * as api from "./api.js";
import { all, collection } from "./collections.js";
import { $, h, icon, number, plural } from "./dom.js";
import { Grid } from "./grid.js";
import { choose, photograph } from "./upload.js";
import { go } from "./state.js";

const AT_ONCE = 6, PARTS = 8;
let grid = null, shownOf = "", acts = {};

/** `acts` are what can be done with a picture: onChoose, onDetail, onExample, onFailure. */
export const prepareStart = (given) => { acts = given; };

/** Some rows from all over the collection, other ones each time. */
async function some({ name, images }) {
  const parts = images <= AT_ONCE * PARTS ? [-1] : Array.from({ length: PARTS }, (_, index) => Math.floor(((index + Math.random()) * images) / PARTS) - AT_ONCE);
  const limit = parts.length === 1 ? AT_ONCE * PARTS : AT_ONCE;
  const pages = await Promise.all(parts.map((after) => api.rows({ collection: name, limit, ...(after >= 0 ? { after } : {}) })));
  const rows = new Map(pages.flatMap((page) => page.rows).map((row) => [row.id, row]));
  return [...rows.values()].map((row) => [Math.random(), row]).sort(([one], [other]) => one - other).map(([, row]) => row);
}

export async function drawStart() {
  const here = collection();
  $("#start-about").textContent = here.images
    ? `${plural(here.images, "picture")} in ${here.name}${all().length > 1 ? ` · ${number(all().length)} collections` : ""}`
    : `${here.name} holds no pictures yet. Fill it with “lookalike index FOLDER”, and reload.`;
  $("#begin").hidden = !here.images;
  if (!here.images || shownOf === here.name) return;
  grid?.stop();
  grid = new Grid({ label: "Pictures to begin with", collection: here.name, onChoose: acts.onChoose, onExample: acts.onExample, onDetail: (index) => acts.onDetail(grid.rows, index, () => grid) });
  $("#begin-grid").replaceChildren(grid.element);
  shownOf = here.name;
  try {
    grid.show(await some(here));
  } catch (error) {
    shownOf = "";
    acts.onFailure(error);
  }
}

export const focusStart = () => grid?.focus();
export const restart = () => go({ view: "search", plus: [], minus: [], labels: [], where: "", spaces: [] });

$("#choose").append(icon("picture"), h("span", {}, "Choose a picture"));
$("#photograph").append(icon("camera"), h("span", {}, "Take a photograph"));
$("#choose").addEventListener("click", choose);
$("#photograph").addEventListener("click", photograph);
$("#again").addEventListener("click", () => { shownOf = ""; drawStart(); });
