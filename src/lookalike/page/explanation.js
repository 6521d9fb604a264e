/** Why an image matches: both images under the colors of the parts that make them alike. */

import * as api from "./api.js";
import { collection } from "./collections.js";
import { h } from "./dom.js";
import { imageAddresses, showFirst } from "./images.js";
import { distanceColor, distanceStops } from "./palette.js";

const SIDE = 512; // pixels

const WORDS = {
  likeness: { least: "adds nothing", most: "adds most to the likeness", peak: "counts most" },
  difference: { least: "no difference", most: "largest difference", peak: "differs most" },
};

/**
 * A stage that shows why a row matches an example in a space.
 *
 * It says that it waits, and draws the answer, or the server's reason against it.
 */
export function makeExplanation(row, example, space) {
  const status = h("p", { class: "quiet", role: "status" }, "Comparing the parts of both images…");
  const stage = h("div", { class: "stage explanation" }, status);
  fill(stage, status, { query: example, match: row.id, space });
  return stage;
}

async function fill(stage, status, { query, match, space }) {
  let answer;
  try {
    answer = await api.explain({ collection: collection().name, space, query, match });
  } catch (error) {
    status.textContent = error.message;
    return;
  }
  const words = WORDS[answer.kind];
  status.textContent = "";
  stage.replaceChildren(
    makeFigure("Query", query, answer.query, words),
    makeFigure("Match", { id: match }, answer.match, words),
    makeLegend(words),
    status,
  );
}

function makeFigure(name, example, explained, words) {
  const image = h("img", { alt: name, draggable: "false" });
  const framed = h("div", { class: "heat" }, image, makeCanvas(explained));
  showFirst(image, imageAddresses(example, SIDE), () => framed.classList.add("missing"));
  const place = describePlace(explained.peak);
  const note = explained.is_thumbnail ? " (of the thumbnail: the original cannot be read)" : "";
  const caption = h("figcaption", {}, h("b", {}, name), ` ${words.peak} ${place}${note}`);
  return h("figure", {}, framed, caption);
}

// One pixel for each cell; the browser scales it smoothly to its part of the image.
function makeCanvas({ heat, area }) {
  const rows = heat.length;
  const columns = heat[0].length;
  const [x, y, width, height] = area.map((share) => `${100 * share}%`);
  const style = { left: x, top: y, width, height };
  const canvas = h("canvas", { width: columns, height: rows, style, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const values = heat.flat();
  const largest = Math.max(...values);
  values.forEach((value, index) => {
    const share = largest > 0 ? Math.max(0, value / largest) : 0;
    pixels.data.set([...distanceColor(1 - share, true), 255], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function makeLegend({ least, most }) {
  const stops = [...distanceStops(true)].reverse().join(", ");
  const scale = h("i", { style: { background: `linear-gradient(to right, ${stops})` } });
  return h("p", { class: "legend" }, h("span", {}, least), scale, h("span", {}, most));
}

/** A place of an image in words: x and y are fractions of it. */
function describePlace([x, y]) {
  const third = (value) => Math.min(2, Math.floor(3 * value));
  const vertical = ["upper", "", "lower"][third(y)];
  const horizontal = ["left", "", "right"][third(x)];
  if (!vertical && !horizontal) return "in the middle";
  if (!vertical) return `in the middle on the ${horizontal}`;
  if (!horizontal) return `in the ${vertical} middle`;
  return `in the ${vertical} ${horizontal}`;
}
