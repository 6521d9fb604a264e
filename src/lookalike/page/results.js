/** The results of a query: its examples, and a grid for each space. */

import * as api from "./api.js";
import { collection, colorOf, modelOf, searchesOf, spacesOf, titleOf } from "./collections.js";
import { $, announce, colorDot, h, icon, iconButton } from "./dom.js";
import { countLabels, drawFilters } from "./filters.js";
import { duration, isolate, nameOf, number, plural } from "./format.js";
import { Grid } from "./grid.js";
import { figureOf, fileOf, showFirst } from "./images.js";
import { current, go, MAX_K, sameExample } from "./state.js";
import { strengthSlider } from "./strength.js";
import { describeUnderstood, wordsForm } from "./words.js";

const EXAMPLE_SIDE = 512; // pixels
const DENSITY_BESIDE = 0.92; // of grids side by side
const GROWTH = 5; // how many times more results the button shows
const LABELS_DESCRIBED = 8;
const MOST_BUTTONS = 2; // spaces that have a button each

let panels = []; // one for each space: { element, grid, strip, facts }
let panelsKey = ""; // what the panels were made for
let focusNext = false;
let actions = {};

/** Set what can be done: onChoose, onDetail, onExample and onQueryDetail. */
export function prepareResults(given) {
  actions = given;
  $("#query-words").append(wordsForm());
  const unique = $("#unique");
  unique.addEventListener("change", () => go({ unique: unique.checked }, { replace: true }));
  const ranking = $("#ranking");
  ranking.addEventListener("change", () => go({ ranking: ranking.value }, { replace: true }));
}

const examplesOf = (state) => [...state.positive, ...state.negative];

// ---- the query ---------------------------------------------------------------------------------

/** Draw the query's examples and its name. */
export function drawQuery(state) {
  const isSingle = examplesOf(state).length === 1;
  const positive = state.positive.map((example) => makeExample(example, "positive", state));
  const negative = state.negative.map((example) => makeExample(example, "negative", state));
  const sign = h("li", { class: "sign", "aria-label": "less like" }, icon("minus"));
  const separator = negative.length ? [sign] : [];
  $("#examples").replaceChildren(...positive, ...separator, ...negative);
  $("#crop").hidden = state.positive.length !== 1 || Boolean(state.positive[0].text);
  document.body.classList.toggle("single", isSingle);
  drawOptions(state);
  drawQueryName(state);
}

function drawOptions({ negative, gamma, unique, ranking }) {
  $("#unique").checked = unique;
  $("#ranking").value = ranking;
  $("#strength").hidden = negative.length === 0;
  const change = (chosen) => go({ gamma: chosen }, { replace: true });
  // A slider that is being used stays.
  const isInUse = $("#strength").contains(document.activeElement);
  if (!isInUse) $("#strength").replaceChildren(strengthSlider(gamma, change));
}

function makeExample(example, kind, state) {
  const item = h("li", { class: `example ${kind}` });
  const figure = figureOf(example, EXAMPLE_SIDE, () => item.classList.add("missing"));
  const open = {
    type: "button",
    class: "open",
    "aria-label": "See the query",
    title: "See it",
    onclick: () => actions.onQueryDetail(example),
  };
  // Words have no more to see.
  item.append(example.text ? figure : h("button", open, figure));
  if (examplesOf(state).length > 1) {
    const others = state[kind].filter((one) => !sameExample(one, example));
    const remove = () => go({ [kind]: others });
    const label = example.text ? "Search without these words" : "Search without this image";
    item.append(iconButton("close", label, remove, { class: "small" }));
  }
  return item;
}

const seenRows = new Map(); // rows of earlier answers, so that a query has its name at once
const rowKey = (collectionName, id) => `${collectionName}/${id}`;

async function drawQueryName(state) {
  const [first] = state.positive;
  $("#query-label").hidden = true;
  if (examplesOf(state).length > 1) {
    $("#query-name").textContent = nameOfSeveral(state);
  } else if (first.text) {
    $("#query-name").textContent = `“${first.text}”`;
  } else if (first.upload) {
    $("#query-name").textContent = fileOf(first.upload)?.name ?? "Your image";
  } else {
    await drawRowName(collection(state.collection).name, first.id);
  }
}

function nameOfSeveral({ positive, negative }) {
  const noun = positive.some(({ text }) => text) ? "example" : "image";
  if (!negative.length) return `${plural(positive.length, noun)} together`;
  return `Like ${number(positive.length)}, unlike ${number(negative.length)}`;
}

async function drawRowName(collectionName, id) {
  const key = rowKey(collectionName, id);
  if (!seenRows.has(key)) {
    // The line keeps its height.
    $("#query-name").textContent = " ";
    try {
      seenRows.set(key, await api.row(collectionName, id));
    } catch {
      // The search reports what is wrong.
      return;
    }
  }
  // The reader may have moved on.
  if (current().positive[0]?.id !== id) return;
  const row = seenRows.get(key);
  $("#query-name").textContent = nameOf(row);
  $("#query-label").hidden = row.label === null;
  $("#query-label").replaceChildren(colorDot(colorOf(row.label)), h("bdi", {}, row.label ?? ""));
}

/** Show images as the query before the server has seen them. */
export function drawPending(urls, names) {
  $("#query-name").textContent =
    names.length > 1 ? `${plural(names.length, "image")} together` : names[0];
  $("#query-label").hidden = true;
  const items = urls.map((url) => {
    const image = showFirst(h("img", { alt: "Your image" }), [url]);
    return h("li", { class: "example positive" }, image);
  });
  $("#examples").replaceChildren(...items);
  $("#crop").hidden = true;
  $("#count").textContent = "Searching…";
  setWaiting(true);
}

/** While an answer is on its way, the results stay and turn paler after a while. */
export const setWaiting = (waiting) => $("#answers").classList.toggle("waiting", waiting);

// ---- the spaces --------------------------------------------------------------------------------

const knownSpaces = () => collection().spaces.map(({ name }) => name);

// Two spaces to compare, in the collection's order: the chosen ones, or the chosen and the next.
function spacesToCompare(known, chosen) {
  if (chosen.length === 2) return chosen;
  const pair = [chosen[0], known.find((name) => name !== chosen[0])];
  return pair.sort((first, second) => known.indexOf(first) - known.indexOf(second));
}

/** Draw the choice of the space. */
export function drawSpaces(state) {
  const { spaces } = collection();
  const box = $("#spaces");
  box.hidden = spaces.length < 2;
  if (spaces.length < 2) return;
  const chosen = spacesOf(state);
  const makeButton = (names, text, title, fused = false) => {
    const isChosen = names.join() === chosen.join() && isFused(state) === fused;
    const attributes = { type: "button", title, "aria-pressed": String(isChosen) };
    return h("button", { ...attributes, onclick: () => go({ spaces: names, fused }) }, text);
  };
  const choices =
    spaces.length <= MOST_BUTTONS
      ? spaces.map(({ name, title }) => makeButton([name], titleOf(name), title))
      : [spaceMenu(spaces, chosen)];
  const pair = spacesToCompare(knownSpaces(), chosen);
  const compare = makeButton(pair, "Side by side", "Compare two spaces (v)");
  const fuse = makeButton(pair, "Together", "One answer of two spaces, by rank", true);
  box.replaceChildren(...choices, compare, fuse);
}

const isFused = (state) => state.fused && spacesOf(state).length > 1;

// More spaces than there is room for side by side.
function spaceMenu(spaces, [chosen]) {
  const options = spaces.map(({ name }) => h("option", { value: name }, titleOf(name)));
  const select = h("select", { "aria-label": "Space" }, options);
  select.value = chosen;
  select.addEventListener("change", () => go({ spaces: [select.value], fused: false }));
  return select;
}

/** Compare two spaces, or stop comparing. */
export function toggleCompare() {
  const known = knownSpaces();
  if (known.length < 2) return;
  const chosen = spacesOf();
  const isComparing = chosen.length === 2 && !isFused(current());
  const spaces = isComparing ? chosen.slice(0, 1) : spacesToCompare(known, chosen);
  go({ spaces, fused: false });
}

// ---- the answers -------------------------------------------------------------------------------

/** Draw the answers, one for each space or one of two spaces. */
export function drawAnswers(state, answers) {
  // A match of several spaces is explained in the first.
  const spaces = searchesOf(state).map(([first]) => first);
  makePanels(collection(state.collection).name, spaces);
  setWaiting(false);
  countLabels(answers[0].matches, state);
  for (const { collection: name, matches } of answers) {
    for (const row of matches) seenRows.set(rowKey(name, row.id), row);
  }
  answers.forEach((answer, index) => {
    const panel = panels[index];
    const marks = marksOf(answer, answers[1 - index]);
    panel.grid.show(answer.matches, withCopies(marks, answer.matches), alikeCount(answer));
    drawStrip(panel.strip, answer.matches);
    if (answers.length > 1) panel.facts.textContent = describeShared(answer, marks.size);
  });
  drawSummary(state, answers);
  drawUnderstood(answers[0]);
  drawFilters(state);
  if (focusNext) panels[0].grid.focus(0, { scroll: false });
  focusNext = false;
}

function makePanels(collectionName, spaces) {
  const key = JSON.stringify([collectionName, spaces]);
  if (key === panelsKey) return;
  forgetResults();
  panelsKey = key;
  panels = spaces.map((_, index) => makePanel(collectionName, spaces, index));
  $("#answers").replaceChildren(...panels.map(({ element }) => element));
  $("#answers").classList.toggle("beside", spaces.length > 1);
}

function makePanel(collectionName, spaces, index) {
  const isComparing = spaces.length > 1;
  const grid = new Grid({
    label: isComparing ? `Results: ${titleOf(spaces[index])}` : "Results",
    collection: collectionName,
    density: isComparing ? DENSITY_BESIDE : 1,
    onChoose: (row, tile) => actions.onChoose(row, tile),
    onExample: (row, kind) => actions.onExample(row, kind),
    onDetail: (at) => actions.onDetail(grid.rows, at, () => grid, spaces[index]),
    onPoint: (row) => isComparing && markTwins(row),
  });
  const strip = h("div", { class: "strip", role: "img" });
  const facts = h("p", { class: "facts" });
  const choice = isComparing ? spaceChoice(spaces, index) : null;
  const header = h("header", { hidden: !isComparing }, choice, facts);
  const element = h("section", { class: "answer" }, header, strip, grid.element);
  return { element, grid, strip, facts };
}

// Which space this side shows; choosing the other side's exchanges the two.
function spaceChoice(spaces, index) {
  const known = knownSpaces();
  const [own] = spaces.slice(index);
  if (known.length === 2) return h("h2", { title: modelOf(own) }, titleOf(own));
  const options = known.map((name) => h("option", { value: name }, titleOf(name)));
  const label = index ? "Compared on the right" : "Compared on the left";
  const select = h("select", { "aria-label": label }, options);
  select.value = spaces[index];
  select.addEventListener("change", () => {
    const chosen = [...spaces];
    if (chosen[1 - index] === select.value) chosen[1 - index] = spaces[index];
    chosen[index] = select.value;
    go({ spaces: chosen });
  });
  return h("h2", {}, select);
}

// Side by side, a row that both spaces found is marked with its rank in the other.
function marksOf(answer, other) {
  const marks = new Map();
  if (!other) return marks;
  const ranks = new Map(other.matches.map(({ id }, index) => [id, index + 1]));
  const title = titleOf(other.space);
  for (const { id } of answer.matches) {
    const rank = ranks.get(id);
    const description = `number ${rank} in “${title}”`;
    if (rank) marks.set(id, { text: `⇄ ${rank}`, description });
  }
  return marks;
}

// An image with copies is marked with their number.
function withCopies(marks, matches) {
  const all = new Map(marks);
  for (const { id, copies } of matches) {
    if (!(copies > 1)) continue;
    const mark = marks.get(id);
    const text = [mark?.text, `× ${copies}`].filter(Boolean).join("  ");
    const description = [mark?.description, `${copies} copies`].filter(Boolean).join(", ");
    all.set(id, { text, description });
  }
  return all;
}

function describeShared({ matches, seconds }, shared) {
  return `${number(shared)} of ${number(matches.length)} in both · ${duration(seconds)}`;
}

// The labels' shares of an answer, as one thin line in their colors.
function drawStrip(strip, matches) {
  const counts = new Map();
  for (const { label } of matches) counts.set(label, (counts.get(label) ?? 0) + 1);
  const sorted = [...counts].sort(([, first], [, second]) => second - first);
  const hasNoLabels = sorted.length === 1 && sorted[0][0] === null;
  strip.hidden = sorted.length === 0 || hasNoLabels;
  const parts = sorted.map(([label, count]) => {
    const style = { "--color": colorOf(label), "flex-grow": count };
    const name = label === null ? "no label" : isolate(label);
    return h("i", { title: `${name}: ${number(count)}`, style });
  });
  strip.replaceChildren(...parts);
  const descriptions = sorted
    .slice(0, LABELS_DESCRIBED)
    .map(([label, count]) => `${number(count)} ${label ?? "without a label"}`);
  strip.setAttribute("aria-label", `Of these: ${descriptions.join(", ")}`);
}

const LEAST_CONFIDENCE = 0.03;

// The number of matches up to the last one that is like the query; null without a calibration.
function alikeCount({ answer, matches }) {
  if (!answer) return null;
  return matches.findLastIndex(({ confidence }) => confidence >= LEAST_CONFIDENCE) + 1;
}

function describeLikeness({ answer }) {
  if (!answer || answer.match || answer.nearest === null) return "";
  return `Nothing here is like that (confidence ${answer.confidence.toFixed(3)}) · `;
}

function describeCount(count, state, total) {
  if (!count) return "No matches";
  const isAll = count === total || count < state.k;
  if (isAll) return `${plural(count, "image")}, nearest first`;
  return `The ${number(count)} nearest of ${number(total)}`;
}

function drawSummary(state, answers) {
  const [answer] = answers;
  const isComparing = answers.length > 1;
  const total = collection().images;
  const likeness = describeLikeness(answer);
  const text = likeness + describeCount(answer.matches.length, state, total);
  const isApproximate = !answer.exact && answer.recall;
  const recall = isApproximate ? ` · approximate, recall ${answer.recall.toFixed(2)}` : "";
  const details = ` · ${duration(answer.seconds)}${recall}`;
  $("#count").textContent = isComparing ? text : text + details;
  const how = isFused(state) ? "two spaces together" : titleOf(answer.space);
  announce(`${text} · ${isComparing ? "side by side" : how}`);
  drawMoreButton(state, answer.matches.length, total);
  drawNoneFound(answer.matches.length);
}

function drawUnderstood(answer) {
  const text = describeUnderstood(answer);
  if (!text) return;
  $("#query-label").hidden = false;
  $("#query-label").replaceChildren(h("span", { dir: "auto" }, text));
  announce(text);
}

function drawMoreButton(state, count, total) {
  const button = $("#more");
  button.hidden = count < state.k || state.k >= Math.min(MAX_K, total);
  const next = Math.min(MAX_K, total, state.k * GROWTH);
  button.textContent = `Show the ${number(next)} nearest`;
  button.onclick = () => go({ k: next }, { replace: true });
}

function drawNoneFound(count) {
  const box = $("#none");
  box.hidden = count > 0;
  if (count > 0) return;
  const clear = () => go({ labels: [], where: "" });
  const button = h("button", { type: "button", class: "plain", onclick: clear });
  button.append("Search without the filter");
  const reason = h("p", { class: "quiet" }, "No image satisfies the filter.");
  box.replaceChildren(h("h2", {}, "No matches"), reason, button);
}

// Side by side, the image that is pointed at is marked on both sides.
function markTwins(row) {
  for (const tile of $("#answers").querySelectorAll(".tile.twin")) tile.classList.remove("twin");
  if (!row) return;
  for (const { grid } of panels) grid.tiles.get(row.id)?.classList.add("twin");
}

/** Focus the results. */
export const focusResults = () => panels[0]?.grid.focus();

/** Let the next answer take the focus, since the element that has it may disappear. */
export function focusNextAnswer() {
  focusNext = true;
}

/** Remove the results: the next answer is drawn from scratch. */
export function forgetResults() {
  for (const { grid } of panels) grid.stop();
  panels = [];
  panelsKey = "";
}
