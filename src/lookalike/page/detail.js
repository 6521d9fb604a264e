/** One image, large, with its facts. */

import * as api from "./api.js";
import { collection, colorOf, spacesOf } from "./collections.js";
import { $, colorDot, h, icon, iconButton } from "./dom.js";
import { makeExplanation } from "./explanation.js";
import { bytes, nameOf, number } from "./format.js";
import { imageAddresses, showFirst } from "./images.js";
import { current, exampleOf } from "./state.js";

const MAX_ENLARGEMENT = 2.5; // of small images, before their pixels show
const SWIPE = 60; // CSS pixels

const dialog = $("#detail");

let rows = [];
let index = 0;
let space = null; // the space of the rows' distances, or null for the first
let isExplaining = false; // whether the stage shows why the row matches
let gridOf = null; // a function that returns the grid of the rows, or null
let actions = {};

/** Set what can be done with an image: onChoose, onExample and onCrop. */
export function prepareDetail(given) {
  actions = given;
}

/** Show one of some rows; afterwards `grid()`, if given, gets the focus back. */
export function openDetail(allRows, at, grid = null, ofSpace = null) {
  rows = allRows;
  index = at;
  gridOf = grid;
  space = ofSpace;
  isExplaining = false;
  draw();
  if (dialog.open) return;
  dialog.showModal();
  dialog.focus();
}

/** Show an upload: nothing is known about it but its image. */
export function openUpload(example) {
  openDetail([{ ...example, name: "Your image", uri: "" }], 0);
}

function step(by) {
  const next = index + by;
  if (next < 0 || next >= rows.length) return;
  index = next;
  draw();
}

// ---- drawing -----------------------------------------------------------------------------------

const isOnWeb = (row) => /^https?:/.test(row.uri ?? "");
// The server fetches no addresses: only a link leads to them.
const hasOriginal = (row) => !row.upload && !isOnWeb(row) && collection().originals;

function draw() {
  const row = rows[index];
  const facts = h("dl");
  dialog.replaceChildren(
    isExplaining && isMatch(row) ? explainRow(row) : makeStage(row),
    iconButton("back", "Previous", () => step(-1), {
      class: "turn back",
      disabled: index === 0,
      title: "Previous (←)",
    }),
    iconButton("forward", "Next", () => step(1), {
      class: "turn forward",
      disabled: index === rows.length - 1,
      title: "Next (→)",
    }),
    makeAside(row, facts),
  );
  drawFacts(facts, row);
  preload(rows[index + 1]);
  preload(rows[index - 1]);
}

// Only a match has a distance; it is explained beside the first image of the query.
const queryImage = () => current().positive.find(({ text }) => !text);
const isMatch = (row) => row.distance !== undefined && Boolean(queryImage());

function explainRow(row) {
  return makeExplanation(row, queryImage(), space ?? spacesOf(current())[0]);
}

function toggleExplanation() {
  isExplaining = !isExplaining;
  draw();
  $("button.why", dialog)?.focus();
}

function preload(row) {
  if (row?.id !== undefined) new Image().src = api.thumbnailUrl(collection().name, row.id, 512);
}

function makeStage(row) {
  const alt = [nameOf(row), row.label].filter(Boolean).join(", ");
  const image = h("img", { alt, draggable: "false" });
  const stage = h("div", { class: "stage" }, image);
  if (row.width) {
    image.style.aspectRatio = `${row.width} / ${row.height}`;
    image.style.maxWidth = `min(100%, ${MAX_ENLARGEMENT * row.width}px)`;
  }
  const addresses = imageAddresses(exampleOf(row), 512);
  showFirst(image, addresses, () => stage.classList.add("missing"));
  if (hasOriginal(row)) showOriginal(image, row);
  return stage;
}

// The thumbnail is shown at once, and the original once it is loaded.
async function showOriginal(image, row) {
  const original = new Image();
  original.src = api.originalUrl(collection().name, row.id);
  try {
    await original.decode();
  } catch {
    // A browser does not show every format: the thumbnail stays.
    return;
  }
  if (!image.isConnected) return;
  image.onload = null;
  image.onerror = null;
  image.src = original.src;
  image.classList.add("ready", "original");
}

function makeAside(row, facts) {
  const position = rows.length > 1 ? `${number(index + 1)} of ${number(rows.length)}` : "";
  const close = () => dialog.close();
  const closeButton = iconButton("close", "Close", close, { title: "Close (Escape)" });
  const label = row.label
    ? h("p", { class: "label" }, colorDot(colorOf(row.label)), h("bdi", {}, row.label))
    : null;
  return h(
    "aside",
    {},
    h("header", {}, h("p", {}, position), closeButton),
    h("h2", { dir: "auto" }, nameOf(row)),
    label,
    facts,
    makeButtons(row),
  );
}

function originalAddress(row) {
  if (isOnWeb(row)) return row.uri;
  return hasOriginal(row) ? api.originalUrl(collection().name, row.id) : null;
}

function makeWhyButton() {
  const attributes = {
    type: "button",
    class: "why",
    title: "Show which parts make the images alike (w)",
    "aria-pressed": String(isExplaining),
    onclick: toggleExplanation,
  };
  return h("button", attributes, icon("info"), "Why this match?");
}

function makeButtons(row) {
  const example = exampleOf(row);
  const makeButton = (symbol, text, onclick, className) =>
    h("button", { type: "button", class: className, onclick }, icon(symbol), text);
  const closing = (action) => () => {
    dialog.close();
    action();
  };
  const search = closing(() => actions.onChoose(example));
  const crop = closing(() => actions.onCrop(example, nameOf(row)));
  const original = {
    class: "plain",
    href: originalAddress(row),
    target: "_blank",
    rel: "noopener noreferrer",
  };
  return h(
    "div",
    { class: "ways" },
    makeButton("search", "Search with this image", search, "strong"),
    isMatch(row) ? makeWhyButton() : null,
    makeButton("crop", "Crop", crop),
    makeButton("plus", "More like this", () => actions.onExample(example, "positive")),
    makeButton("minus", "Less like this", () => actions.onExample(example, "negative")),
    original.href ? h("a", original, icon("open"), "Open the original") : null,
  );
}

// ---- facts -------------------------------------------------------------------------------------

let latestRequest = 0;

// The facts of the answer are shown at once, and all others once the server has sent them.
async function drawFacts(list, row) {
  list.replaceChildren(...factsOf(row, row));
  if (row.upload) return;
  latestRequest += 1;
  const request = latestRequest;
  try {
    const complete = await api.row(collection().name, row.id);
    if (request === latestRequest) list.replaceChildren(...factsOf(row, complete));
  } catch {
    // The facts of the answer stay.
  }
}

function formatTime(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// `row` has its rank and distance from the answer; `complete` has the rest.
function factsOf(row, complete) {
  const { width, height, size, mtime, uri } = complete;
  const metadata = Object.entries(complete.metadata ?? {}).map(([name, value]) => [
    name,
    value === null ? null : h("bdi", {}, Array.isArray(value) ? value.join(", ") : String(value)),
  ]);
  const facts = [
    ["Distance", row.distance?.toFixed(4)],
    ["Confidence", row.confidence?.toFixed(3)],
    ["Rank", row.rank && number(row.rank)],
    ["Pixels", width && `${number(width)} × ${number(height)}`],
    ["File", size && bytes(size)],
    ["Changed", mtime && formatTime(mtime)],
    ...metadata,
    ["Path", uri && h("span", { class: "path", dir: "auto" }, uri)],
  ];
  const isKnown = ([, value]) => value !== undefined && value !== null && value !== "";
  const entry = ([name, value]) => [h("dt", { dir: "auto" }, name), h("dd", {}, value)];
  return facts.filter(isKnown).flatMap(entry);
}

// ---- pointer, keys and fingers -----------------------------------------------------------------

dialog.tabIndex = -1;
dialog.addEventListener("click", (event) => {
  const isOutside = event.target === dialog || event.target.classList.contains("stage");
  if (isOutside) dialog.close();
});
dialog.addEventListener("close", () => {
  if (rows.length > 1) gridOf?.()?.focus(index);
});

function actionOf({ key, target }) {
  const row = rows[index];
  const example = exampleOf(row);
  const isOnButton = target.closest("button, a");
  const closing = (action) => () => {
    dialog.close();
    action();
  };
  switch (key) {
    case "ArrowLeft":
    case "ArrowUp":
      return () => step(-1);
    case "ArrowRight":
    case "ArrowDown":
      return () => step(1);
    case "+":
    case "=":
      return () => actions.onExample(example, "positive");
    case "-":
      return () => actions.onExample(example, "negative");
    case "c":
      return closing(() => actions.onCrop(example, nameOf(row)));
    case "w":
      return isMatch(row) ? toggleExplanation : null;
    case "i":
      return () => dialog.close();
    // On a button these press it.
    case "Enter":
      return isOnButton ? null : closing(() => actions.onChoose(example));
    case " ":
      return isOnButton ? null : () => dialog.close();
    default:
      return null;
  }
}

dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  event.stopPropagation();
  const focusedLabel = document.activeElement?.getAttribute("aria-label") ?? "";
  action();
  // A step draws the dialog again: the button with the same name takes the focus.
  if (!dialog.open || dialog.contains(document.activeElement)) return;
  const same = dialog.querySelector(`[aria-label="${CSS.escape(focusedLabel)}"]:enabled`);
  (same ?? dialog).focus();
});

let touchStart = null;
dialog.addEventListener(
  "touchstart",
  (event) => {
    touchStart = event.touches.length === 1 ? event.touches[0] : null;
  },
  { passive: true },
);
dialog.addEventListener(
  "touchend",
  (event) => {
    if (!touchStart) return;
    const [end] = event.changedTouches;
    const across = end.clientX - touchStart.clientX;
    const down = end.clientY - touchStart.clientY;
    const isSwipe = Math.abs(across) > SWIPE && Math.abs(down) < SWIPE;
    if (isSwipe) step(across < 0 ? 1 : -1);
    touchStart = null;
  },
  { passive: true },
);
