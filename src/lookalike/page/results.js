// The results of a query: its pictures, the filters, and a grid for each Space asked.

import * as api from "./api.js";
import { collection, colourOf, spaces, titleOf } from "./collections.js";
import { $, announce, h, icon, iconButton, milliseconds, nameOf, number, plural } from "./dom.js";
import { countLabels, drawFilters } from "./filters.js";
import { Grid } from "./grid.js";
import { addresses, fileOf, showFirst } from "./images.js";
import { MOST, current, go, same } from "./state.js";

let grids = [], parts = [], shape = "", acts = {};

/** `acts` are what can be done with a result: onChoose, onDetail, onExample, onCrop, onQueryDetail. */
export const prepare = (given) => { acts = given; };

// ---- the query --------------------------------------------------------------------------------------------------

function figure(example, kind, state) {
  const alone = state.plus.length + state.minus.length === 1, image = h("img", { alt: "" });
  const open = h("button", { type: "button", class: "open", "aria-label": "See the query", title: "See it", onclick: () => acts.onQueryDetail(example) }, image);
  const element = h("li", { class: `example ${kind}` }, open);
  showFirst(image, addresses(example, 512), () => element.classList.add("missing"));
  if (!alone) {
    element.append(iconButton("close", "Search without this picture", () => go({ [kind]: state[kind].filter((one) => !same(one, example)) }), { class: "small" }));
  }
  return element;
}

export function drawQuery(state) {
  $("#examples").replaceChildren(...state.plus.map((one) => figure(one, "plus", state)),
    ...(state.minus.length ? [h("li", { class: "sign", "aria-label": "less like" }, icon("minus"))] : []),
    ...state.minus.map((one) => figure(one, "minus", state)));
  $("#crop").hidden = state.plus.length !== 1;
  name(state);
  document.body.classList.toggle("alone", state.plus.length + state.minus.length === 1);
}

const known = new Map(); // rows that were seen, so that the query has its name at once

async function name(state) {
  const { plus, minus } = state, [{ id, upload }] = plus, alone = plus.length + minus.length === 1;
  $("#query-label").hidden = true;
  if (!alone) $("#query-name").textContent = minus.length ? `Like ${number(plus.length)}, unlike ${number(minus.length)}` : `${plural(plus.length, "picture")} together`;
  else if (upload) $("#query-name").textContent = fileOf(upload)?.name ?? "Your picture";
  if (!alone || upload) return;
  const key = `${collection(state.collection).name}/${id}`;
  if (!known.has(key)) {
    $("#query-name").textContent = " ";
    try { known.set(key, await api.row(collection(state.collection).name, id)); } catch { return; /* The answer says what is wrong. */ }
  }
  if (current().plus[0]?.id !== id) return;
  const row = known.get(key);
  $("#query-name").textContent = nameOf(row);
  $("#query-label").hidden = row.label === null;
  $("#query-label").replaceChildren(h("i", { style: { "--colour": colourOf(row.label) } }), row.label ?? "");
}

/** Show a picture as the query before the server has seen it. */
export function drawPending(urls, names) {
  $("#query-name").textContent = names.length > 1 ? `${plural(names.length, "picture")} together` : names[0];
  $("#query-label").hidden = true;
  $("#examples").replaceChildren(...urls.map((url) => h("li", { class: "example plus" }, showFirst(h("img", { alt: "Your picture" }), [url]))));
  $("#crop").hidden = true;
  $("#count").textContent = "Searching…";
  wait();
}

/** The answer is on its way: what is there still stays, a little paler after a while. */
export const wait = () => $("#answers").classList.add("waiting");
export const arrived = () => $("#answers").classList.remove("waiting");

export function drawSpaces(state) {
  const known = collection().spaces, chosen = spaces(state), box = $("#spaces");
  box.hidden = known.length < 2;
  if (known.length < 2) return;
  const press = (names) => () => go({ spaces: names });
  const button = (names, text, title) => h("button", { type: "button", "aria-pressed": String(names.join() === chosen.join()), onclick: press(names), title }, text);
  const pair = chosen.length === 2 ? chosen : [chosen[0], known.find(({ name }) => name !== chosen[0]).name].sort((one, other) => place(one) - place(other));
  function place(name) { return known.findIndex((space) => space.name === name); }
  box.replaceChildren(...known.map(({ name, title }) => button([name], titleOf(name), title)), button(pair, "Side by side", "Compare two spaces (v)"));
}

export function toggleCompare() {
  const known = collection().spaces.map(({ name }) => name), chosen = spaces();
  if (known.length < 2) return;
  go({ spaces: chosen.length === 2 ? chosen.slice(0, 1) : [chosen[0], known.find((name) => name !== chosen[0])].sort((one, other) => known.indexOf(one) - known.indexOf(other)) });
}

// ---- the answers ------------------------------------------------------------------------------------------------

function build(state, names) {
  const wanted = JSON.stringify([collection(state.collection).name, names]);
  if (wanted === shape) return;
  shape = wanted;
  for (const grid of grids) grid.stop();
  grids = [];
  parts = names.map((space, index) => {
    const grid = new Grid({
      label: names.length > 1 ? `Results in ${titleOf(space)}` : "Results", collection: collection(state.collection).name, dense: names.length > 1 ? 0.92 : 1,
      onChoose: (row, tile) => acts.onChoose(row, tile), onExample: (row, kind) => acts.onExample(row, kind),
      onDetail: (at) => acts.onDetail(grid.rows, at, () => grid), onPoint: (row) => names.length > 1 && point(row),
    });
    grids.push(grid);
    const strip = h("div", { class: "strip", role: "img" }), facts = h("p", { class: "facts" });
    const heading = h("header", { hidden: names.length < 2 }, names.length > 1 ? choice(index, names) : null, facts);
    return { element: h("section", { class: "answer" }, heading, strip, grid.element), strip, facts };
  });
  $("#answers").replaceChildren(...parts.map(({ element }) => element));
  $("#answers").classList.toggle("beside", names.length > 1);
}

// Which Space stands on this side; taking the other side's exchanges the two.
function choice(index, names) {
  const known = collection().spaces;
  if (known.length === 2) return h("h2", {}, titleOf(names[index]));
  const select = h("select", { "aria-label": index ? "The space on the right" : "The space on the left", onchange: () => {
    const other = names[1 - index] === select.value ? names[index] : names[1 - index];
    go({ spaces: index ? [other, select.value] : [select.value, other] });
  } }, known.map(({ name }) => h("option", { value: name }, titleOf(name))));
  select.value = names[index];
  return h("h2", {}, select);
}

export function drawAnswers(state, answers) {
  const names = answers.map(({ space }) => space);
  build(state, names);
  arrived();
  countLabels(answers[0].matches, state);
  const places = answers.map(({ matches }) => new Map(matches.map(({ id }, index) => [id, index + 1])));
  answers.forEach((answer, index) => {
    const marks = new Map(), other = places[1 - index];
    if (other) {
      for (const { id } of answer.matches) {
        if (other.has(id)) marks.set(id, { text: `⇄ ${other.get(id)}`, told: `number ${other.get(id)} in ${titleOf(names[1 - index])}` });
      }
    }
    for (const row of answer.matches) known.set(`${answer.collection}/${row.id}`, row);
    grids[index].show(answer.matches, marks);
    drawStrip(parts[index].strip, answer.matches);
    if (other) parts[index].facts.textContent = facts(answer, marks.size);
  });
  tell(state, answers);
  if (toFocus) grids[0].focus(0, { scroll: false });
  toFocus = false;
}

function facts({ matches, seconds }, shared) {
  return `${number(shared)} of ${number(matches.length)} in both · ${milliseconds(seconds)}`;
}

// What the answer is made of, in the colours of the labels, as one thin line.
function drawStrip(strip, matches) {
  const counts = new Map();
  for (const { label } of matches) counts.set(label, (counts.get(label) ?? 0) + 1);
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  strip.hidden = sorted.length === 0 || (sorted.length === 1 && sorted[0][0] === null);
  strip.replaceChildren(...sorted.map(([label, count]) => h("i", { title: `${label ?? "no label"}: ${number(count)}`, style: { "--colour": colourOf(label), "flex-grow": count } })));
  strip.setAttribute("aria-label", `Of these: ${sorted.slice(0, 8).map(([label, count]) => `${number(count)} ${label ?? "without a label"}`).join(", ")}`);
}

function tell(state, answers) {
  const [answer] = answers, count = answer.matches.length, whole = collection().images, both = answers.length > 1;
  const space = both ? "two spaces" : titleOf(answer.space);
  const text = count === whole || count < state.k ? `${plural(count, "picture")}, nearest first` : `The ${number(count)} nearest of ${number(whole)}`;
  const recall = answer.exact || !answer.recall ? "" : ` · approximate, recall ${answer.recall.toFixed(2)}`;
  $("#count").textContent = both ? text : `${text} · ${milliseconds(answer.seconds)}${recall}`;
  announce(`${text}, in ${space}`);
  const more = $("#more");
  more.hidden = count < state.k || state.k >= Math.min(MOST, whole);
  const next = Math.min(MOST, whole, state.k * 5);
  more.textContent = `Show the ${number(next)} nearest`;
  more.onclick = () => go({ k: next }, { replace: true });
  $("#none").hidden = count > 0;
  if (!count) $("#none").replaceChildren(h("p", {}, "No picture fits the filter."), h("button", { type: "button", class: "plain", onclick: () => go({ labels: [], where: "" }) }, "Search without it"));
  drawFilters(state);
}

// The same picture on both sides, when it is pointed at on one.
function point(row) {
  for (const tile of $("#answers").querySelectorAll(".tile.twin")) tile.classList.remove("twin");
  if (row) for (const grid of grids) grid.tiles.get(row.id)?.classList.add("twin");
}

export const focusResults = () => grids[0]?.focus();

let toFocus = false;
/** The next answer takes the focus, since what had it may be gone. */
export const focusSoon = () => { toFocus = true; };

/** Nothing is shown any more: the next answer is built anew. */
export function forget() {
  for (const grid of grids) grid.stop();
  [grids, shape] = [[], ""];
}
