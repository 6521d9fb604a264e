/** Examples for the next query, positive and negative, collected at the bottom of the page. */

import { $, announce, h, iconButton } from "./dom.js";
import { plural } from "./format.js";
import { figureOf, uploadExamples } from "./images.js";
import { current, go, sameExample } from "./state.js";
import { strengthSlider } from "./strength.js";
import { makeDropTarget } from "./upload.js";

const NAMES = { positive: "More like", negative: "Less like" };
const element = $("#examples-bar");

let draft = null; // { positive, negative } being collected, or null
let strength = null; // the strength that was chosen for them, or null
let reportFailure = () => {};

/** Call a function with the error if an upload fails. */
export function onExampleFailure(listener) {
  reportFailure = listener;
}

const without = (examples, example) => examples.filter((one) => !sameExample(one, example));

/** Add an example of a kind; the first one joins those of the current query. */
export function addExample(example, kind) {
  const { positive, negative } = draft ?? current();
  draft = { positive: without(positive, example), negative: without(negative, example) };
  draft[kind].push(example);
  const count = draft.positive.length + draft.negative.length;
  announce(`${NAMES[kind]} this: ${plural(count, "example")} collected.`);
  draw();
}

function removeExample(example) {
  const positive = without(draft.positive, example);
  const negative = without(draft.negative, example);
  draft = positive.length || negative.length ? { positive, negative } : null;
  draw();
  $(".find:not([disabled])", element)?.focus();
}

/** Forget the collected examples. */
export function clearExamples() {
  draft = null;
  strength = null;
  draw();
}

/** Search by the collected examples together. */
export function searchByExamples() {
  if (!draft?.positive.length) return;
  const { positive, negative } = draft;
  const gamma = strength ?? current().gamma;
  clearExamples();
  scrollTo({ top: 0, behavior: "instant" });
  const view = current().view === "map" ? "map" : "search";
  go({ view, positive, negative, gamma });
}

function makeItem(example) {
  const item = h("li");
  item.append(figureOf(example, 128, () => item.classList.add("missing")));
  const remove = () => removeExample(example);
  item.append(iconButton("close", "Remove this example", remove, { class: "small" }));
  return item;
}

function makeZone(kind) {
  const examples = draft?.[kind] ?? [];
  const hint = h("li", { class: "hint" }, examples.length ? "" : "drag here");
  const attributes = { class: `zone ${kind}`, "aria-label": `${NAMES[kind]} these` };
  const list = h("ul", {}, examples.map(makeItem), hint);
  const zone = h("section", attributes, h("h2", {}, NAMES[kind]), list);
  makeDropTarget(zone, async (example, files) => {
    try {
      const dropped = example ? [example] : await uploadExamples(files);
      for (const one of dropped) addExample(one, kind);
    } catch (error) {
      reportFailure(error);
    }
    setWanted(false);
  });
  return zone;
}

function draw() {
  const isOpen = Boolean(draft);
  const search = {
    type: "button",
    class: "find strong",
    disabled: !draft?.positive.length,
    onclick: searchByExamples,
  };
  const clear = { type: "button", class: "plain", disabled: !isOpen, onclick: clearExamples };
  const slider = strengthSlider(strength ?? current().gamma, (gamma) => {
    strength = gamma;
  });
  slider.hidden = !draft?.negative.length;
  const buttons = [h("button", search, "Search together"), h("button", clear, "Clear")];
  element.replaceChildren(
    makeZone("positive"),
    makeZone("negative"),
    h("div", { class: "do" }, slider, buttons),
  );
  element.classList.toggle("open", isOpen);
  element.inert = !isOpen && !element.classList.contains("wanted");
  document.body.classList.toggle("collecting", isOpen);
}

// While an image is dragged, the bar shows where it can be dropped.
function setWanted(wanted) {
  element.classList.toggle("wanted", wanted);
  element.inert = !wanted && !draft;
}

addEventListener("dragstart", (event) => {
  // A change of the document during the event would end the drag.
  if (event.target.closest?.(".tile")) setTimeout(() => setWanted(true));
});
addEventListener("dragend", () => setWanted(false));
draw();
