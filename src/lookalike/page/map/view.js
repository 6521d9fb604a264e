// The map: every picture of a Space at its place, like near like.

import * as api from "../api.js";
import { question, reminding } from "../query.js";
import { collection, load, spaces, titleOf } from "../collections.js";
import { $, h, iconButton } from "../dom.js";
import { progress } from "../jobs.js";
import { lost } from "../offline.js";
import { addresses, showFirst } from "../images.js";
import { asks, current } from "../state.js";
import { onTheme } from "../themes.js";
import { Panel } from "./panel.js";
import { Plane } from "./canvas.js";
import { point } from "./pointing.js";
import { Points } from "./points.js";

const box = $("#map-view");
const kept = new Map(); // maps that were fetched, by collection, version and Space
let plane = null, panel = null, pointing = null, shown = "", placed = null;

export function leaveMap() {
  pointing?.still();
}

export const mapKey = (event) => (current().view === "map" && pointing ? pointing.key(event) : false);

function keyOf(state) {
  const here = collection(state.collection);
  return JSON.stringify([here.name, here.version, spaces(state)[0]]);
}

async function fetchMap(state) {
  const key = keyOf(state), here = collection(state.collection), [space] = spaces(state);
  if (!kept.has(key)) kept.set(key, await api.keptMap({ collection: here.name, space }));
  return kept.get(key);
}

/** `acts` are onChoose(row), onDetail(rows, index) and onTogether(examples). */
export async function drawMap(state, acts) {
  const key = keyOf(state);
  if (key !== shown) {
    stop();
    box.replaceChildren(h("p", { class: "making" }, "Fetching the map…"));
    let data;
    try {
      data = await fetchMap(state);
    } catch (error) {
      if (error.status !== 404) { box.replaceChildren(); throw error; }
      offer(state, acts);
      return;
    }
    if (acts.signal.aborted) return;
    build(data, state, acts);
    shown = key;
  }
  await drawQuery(state, acts.signal);
}

function stop() {
  plane?.stop();
  pointing?.stop();
  [plane, panel, pointing, shown, placed] = [null, null, null, "", null];
}

function offer(state, acts) {
  const here = collection(state.collection), [space] = spaces(state);
  if (here.images < 3) { box.replaceChildren(h("div", { class: "making" }, h("p", {}, "A map needs a few more pictures."))); return; }
  box.replaceChildren(h("div", { class: "making" }, h("h1", {}, "No map yet"),
    h("p", {}, `A map gives every picture a place on a plane, like near like, as ${titleOf(space)} sees it. It is kept with the collection.`),
    progress({
      text: "Make the map", running: "Making the map", strong: true, request: { kind: "map", collection: here.name, space },
      onDone: async () => { await load(); if (current().view === "map") drawMap(current(), { ...acts, signal: new AbortController().signal }); }, onGone: () => lost(() => offer(state, acts)),
    })));
}

function build(data, state, acts) {
  const points = new Points(data), name = collection(state.collection).name;
  const dots = h("canvas", { "aria-hidden": "true" });
  const canvas = h("canvas", { id: "plane", tabindex: 0, role: "application", "aria-label": `Map of ${name}. Arrows move, plus and minus zoom, 0 shows all, l draws a lasso, Enter searches by the picture in the middle.` });
  const card = h("button", { type: "button", id: "card", hidden: true });
  const zoom = h("div", { id: "zoom", role: "group", "aria-label": "Zoom" },
    iconButton("lasso", "Lasso", () => pointing.lasso(), { title: "Draw a lasso (l), or drag with Shift", id: "lasso", "aria-pressed": "false" }),
    iconButton("plus", "Zoom in", () => plane.camera.fly(plane.camera.zoomed(1.8)), { title: "Zoom in (+)" }),
    iconButton("minus", "Zoom out", () => plane.camera.fly(plane.camera.zoomed(1 / 1.8)), { title: "Zoom out (-)" }),
    iconButton("fit", "Show all of the map", () => plane.camera.fly(plane.camera.all()), { title: "Show all (0)" }));
  panel = new Panel(points, data, {
    onColour: (by) => colourBy(by), onLabels: (off) => { plane.hide(off); pointing.still(); },
    onChoose: acts.onChoose, onTogether: acts.onTogether, onClear: () => pointing.clear(),
  });
  box.replaceChildren(dots, canvas, panel.element, zoom, card);
  plane = new Plane(points, name, dots, canvas, () => panel.room());
  pointing = point(plane, card, { onChoose: acts.onChoose, onSelect: (rows) => { plane.select(rows); panel.list(rows); } });
  plane.measure();
}

// ---- the query on the map -----------------------------------------------------------------------------------------

const asked = (state, space) => {
  const { collection: name, positive, negative } = question(state, space);
  return { collection: name, space, positive, negative };
};

async function drawQuery(state, signal) {
  const query = asks(state) ? asked(state, spaces(state)[0]) : null, key = JSON.stringify(query);
  if (key === placed) return;
  placed = key;
  panel.allowDistance(Boolean(query));
  plane.place(null);
  if (!query) { await colourBy("label"); return; }
  const marker = showFirst(new Image(), addresses(state.plus[0] ?? state.minus[0], 128));
  try {
    const where = await reminding(state, () => api.placeOf(query, signal));
    await marker.decode().catch(() => {});
    plane.place({ ...where, image: marker });
    if (panel.by === "distance") await colourBy("distance");
  } catch (error) {
    placed = null;
    throw error;
  }
}

async function colourBy(by) {
  panel.choose(by);
  if (by === "label") { plane.colourByLabel(); return; }
  const query = asked(current(), spaces(current())[0]);
  try {
    const { ids, distances } = await reminding(current(), () => api.distances(query));
    if (panel.by !== by) return;
    const far = new Float32Array(plane.points.count).fill(Number.NaN);
    ids.forEach((id, at) => { const row = plane.points.rows.get(id); if (row !== undefined) far[row] = distances[at]; });
    panel.scale(plane.colourByDistance(far));
  } catch (error) {
    if (error instanceof api.Gone) lost(() => colourBy(by));
    else panel.say(error.message);
  }
}

onTheme(() => plane?.recolour());
