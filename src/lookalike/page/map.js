/** The Map view: all images of a space at their positions, and where the query lies among them. */

import * as api from "./api.js";
import { collection, spacesOf, titleOf } from "./collections.js";
import { $, h } from "./dom.js";
import { imageAddresses, showFirst } from "./images.js";
import { jobButton } from "./jobs.js";
import { LiveMapData } from "./map/live.js";
import { followTheme, MapView } from "./map/view.js";
import { waitForServer } from "./offline.js";
import { MAX_EXAMPLES, requestFor, withReupload } from "./query.js";
import { current, go, hasQuery } from "./state.js";

const MIN_IMAGES = 3;
const MARKER_SIDE = 128; // pixels

const box = $("#map-view");
const maps = new Map(); // fetched maps by collection, version and space
let view = null; // the map that is shown, or null
let shownKey = "";
let shownQuery = null; // the query that is marked on it, as JSON

/** Point at nothing, before another view is shown. */
export function leaveMap() {
  view?.leave();
}

/** Handle a key of the Map view; return false if it means nothing there. */
export function mapKey(event) {
  return current().view === "map" && view ? view.key(event.key) : false;
}

function keyOf(state) {
  const { name, version } = collection(state.collection);
  return JSON.stringify([name, version, spacesOf(state)[0]]);
}

async function fetchMap(state) {
  const key = keyOf(state);
  if (!maps.has(key)) {
    const { name } = collection(state.collection);
    maps.set(key, await api.map({ collection: name, space: spacesOf(state)[0] }));
  }
  return maps.get(key);
}

/** Draw the view. `actions` are onChoose(example) and onSearchTogether(examples). */
export async function drawMap(state, actions) {
  const key = keyOf(state);
  if (key !== shownKey) {
    stop();
    box.replaceChildren(h("p", { class: "making" }, "Loading the map…"));
    let map;
    try {
      map = await fetchMap(state);
    } catch (error) {
      box.replaceChildren();
      if (error.status !== 404) throw error;
      offerMap(state);
      return;
    }
    if (actions.signal.aborted) return;
    build(map, state, actions);
    shownKey = key;
  }
  await drawQuery(state, actions.signal);
}

function stop() {
  view?.stop();
  view = null;
  shownKey = "";
  shownQuery = null;
}

function offerMap(state) {
  const { name, images, read_only: isReadOnly } = collection(state.collection);
  const [space] = spacesOf(state);
  if (images < MIN_IMAGES) {
    const text = "A map needs at least three images.";
    box.replaceChildren(h("div", { class: "making" }, h("p", {}, text)));
    return;
  }
  if (isReadOnly) {
    const text = "This server only reads the collection. Make its map with: lookalike map";
    box.replaceChildren(h("div", { class: "making" }, h("h1", {}, "No map yet"), h("p", {}, text)));
    return;
  }
  const text =
    "A map gives every image a position on a plane: similar images lie close together. " +
    `This one is of “${titleOf(space)}”. The collection stores it.`;
  const button = jobButton({
    text: "Make the map",
    running: "Making the map",
    strong: true,
    request: { kind: "map", collection: name, space },
  });
  const title = h("h1", {}, "No map yet");
  box.replaceChildren(h("div", { class: "making" }, title, h("p", {}, text), button));
}

function build(map, state, actions) {
  const { name } = collection(state.collection);
  const data = new LiveMapData(name, map);
  const exampleOf = (row) => ({ id: data.ids[row] });
  const options = {
    label:
      `Map of ${name}. Arrow keys move, plus and minus zoom, 0 shows all, l draws a lasso, ` +
      "Enter searches with the image in the middle.",
    heading: spaceChoice(state),
    maxExamples: MAX_EXAMPLES,
    tapText: "Search with this image",
  };
  view = new MapView(box, data, options, {
    onChoose: (row) => actions.onChoose(exampleOf(row)),
    onSearchTogether: (rows) => actions.onSearchTogether(rows.map(exampleOf)),
    onColor: colorBy,
  });
}

// Of two spaces that are fused too, the map is of the first.
const firstSpace = (state) => spacesOf(state).slice(0, 1);

// Where a collection has several spaces, the map's title chooses among them.
function spaceChoice(state) {
  const { spaces } = collection(state.collection);
  if (spaces.length < 2) return undefined;
  const options = spaces.map(({ name }) => h("option", { value: name }, titleOf(name)));
  const select = h("select", { "aria-label": "What is compared" }, options);
  select.addEventListener("change", () => go({ spaces: [select.value] }));
  select.value = spacesOf(state)[0];
  return select;
}

// ---- the query on the map ----------------------------------------------------------------------

async function drawQuery(state, signal) {
  const request = hasQuery(state) ? requestFor(state, firstSpace(state), { forMap: true }) : null;
  const key = JSON.stringify(request);
  if (key === shownQuery) return;
  shownQuery = key;
  view.panel.allowDistance(Boolean(request));
  view.canvas.showQuery(null);
  if (!request) {
    await colorBy("label");
    return;
  }
  const [example] = [...state.positive, ...state.negative];
  const image = new Image();
  if (!example.text) showFirst(image, imageAddresses(example, MARKER_SIDE));
  try {
    const position = knownPosition(state) ?? (await place(request, signal));
    view.canvas.showQuery({ ...position, image });
    // Until its image is there, the query is marked by an empty disk.
    await image.decode().catch(() => {});
    view?.canvas.redraw();
    if (view?.panel.colorBy === "distance") await colorBy("distance");
  } catch (error) {
    shownQuery = null;
    throw error;
  }
}

// A single row is a part of the map, so that its place is known.
function knownPosition({ positive, negative }) {
  if (positive.length !== 1 || negative.length) return null;
  const { data } = view;
  const row = data.rowOf.get(positive[0].id);
  if (row === undefined) return null;
  return { x: data.positions[2 * row], y: data.positions[2 * row + 1] };
}

// The place of anything else is computed by the server, the first time slowly.
async function place(request, signal) {
  const { panel } = view;
  panel.showHint("Finding the place of the query…");
  try {
    return await withReupload(api.mapPosition, request, signal);
  } finally {
    panel.showHint("");
  }
}

async function colorBy(by) {
  view.panel.setColorBy(by);
  if (by === "label") {
    view.canvas.colorByLabel();
    return;
  }
  const state = current();
  const request = requestFor(state, firstSpace(state), { forMap: true });
  try {
    const { ids, distances } = await withReupload(api.distances, request);
    // The reader may have chosen otherwise since.
    if (view?.panel.colorBy !== by) return;
    const { data } = view;
    const byRow = new Float32Array(data.count).fill(Number.NaN);
    ids.forEach((id, at) => {
      const row = data.rowOf.get(id);
      if (row !== undefined) byRow[row] = distances[at];
    });
    view.panel.showScale(view.canvas.colorByDistance(byRow));
  } catch (error) {
    if (error instanceof api.ServerUnreachable) waitForServer(() => colorBy(by));
    else view?.panel.showProblem(error.message);
  }
}

followTheme(() => view);
