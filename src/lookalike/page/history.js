/** The queries of this visit in order, to see and click: what Back and Forward step through. */

import { $, h } from "./dom.js";
import { figureOf } from "./images.js";
import { hasQuery } from "./state.js";

const SHOWN = 7;
const BEFORE_CURRENT = 3;
const STORAGE_KEY = "history";

let steps = loadSteps(); // states by step of the browser's history

function loadSteps() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]");
  } catch {
    // Without storage the history starts empty.
    return [];
  }
}

function saveSteps() {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(steps));
  } catch {
    // As above.
  }
}

/** Record the state of a step, and draw the history. */
export function recordStep(state, { step, pushed }) {
  // A new step removes those that Forward would have led to.
  if (pushed) steps.length = step;
  while (steps.length < step) steps.push(null);
  steps[step] = state;
  saveSteps();
  draw(step);
}

const queryKey = ({ collection, positive, negative }) =>
  JSON.stringify([collection, positive, negative]);

// Steps in a row with one query, such as its filters or its place on the map, are one stop. A stop
// leads to the step where the reader left it.
function stopsOf(currentStep) {
  const stops = [];
  steps.forEach((state, step) => {
    if (!state || !hasQuery(state)) return;
    const isCurrent = step === currentStep;
    const last = stops.at(-1);
    if (!last || queryKey(last.state) !== queryKey(state)) {
      stops.push({ state, step, isCurrent });
    } else if (isCurrent || !last.isCurrent) {
      Object.assign(last, { state, step, isCurrent });
    }
  });
  return stops;
}

function draw(currentStep) {
  const stops = stopsOf(currentStep);
  const current = stops.findIndex(({ isCurrent }) => isCurrent);
  const wanted = current < 0 ? stops.length : current - BEFORE_CURRENT;
  const first = Math.max(0, Math.min(stops.length - SHOWN, wanted));
  const shown = stops.slice(first, first + SHOWN);
  $("#back").disabled = currentStep === 0;
  $("#forward").disabled = currentStep >= steps.length - 1;
  const items = shown.map((stop, index) => {
    const name = `Query ${first + index + 1} of ${stops.length}`;
    return makeItem(stop, name, currentStep);
  });
  $("#history").replaceChildren(...items);
}

function makeItem({ state, step, isCurrent }, name, currentStep) {
  const attributes = {
    type: "button",
    title: name,
    "aria-label": name,
    "aria-current": isCurrent ? "step" : null,
    onclick: () => step !== currentStep && history.go(step - currentStep),
  };
  const button = h("button", attributes);
  const examples = [...state.positive, ...state.negative];
  button.append(figureOf(examples[0], 128, () => button.classList.add("missing")));
  if (examples.length > 1) button.append(h("small", {}, examples.length));
  return h("li", {}, button);
}

$("#back").addEventListener("click", () => history.back());
$("#forward").addEventListener("click", () => history.forward());
