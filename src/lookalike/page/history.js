// The queries of this visit, in order: what Back and Forward go through, to be seen and clicked.

import { $, h } from "./dom.js";
import { addresses, showFirst } from "./images.js";
import { asks, format } from "./state.js";

const SHOWN = 7;
let steps = []; // by step of the history: the state there

try { steps = JSON.parse(sessionStorage.getItem("trail") ?? "[]"); } catch { /* Without storage the trail begins anew. */ }

const key = ({ collection, plus, minus }) => JSON.stringify([collection, plus, minus]);

export function follow(state, { step, pushed }) {
  if (pushed) steps.length = step;
  while (steps.length < step) steps.push(null);
  steps[step] = state;
  try { sessionStorage.setItem("trail", JSON.stringify(steps)); } catch { /* as above */ }
  draw(step);
}

function draw(step) {
  // A query that was filtered or seen on the map between is one stop; one goes to where it was left.
  const stops = [];
  steps.forEach((state, index) => {
    if (!state || !asks(state)) return;
    if (stops.length && key(stops.at(-1).state) === key(state)) {
      const last = stops.at(-1);
      last.here ||= index === step;
      if (!last.here || index === step) Object.assign(last, { state, index });
    } else stops.push({ state, index, here: index === step });
  });
  const here = stops.findIndex((stop) => stop.here), first = Math.max(0, Math.min(stops.length - SHOWN, here < 0 ? stops.length : here - 3));
  $("#back").disabled = step === 0;
  $("#forward").disabled = step >= steps.length - 1;
  $("#trail").replaceChildren(...stops.slice(first, first + SHOWN).map((stop, index) => stopAt(stop, index + first, stops.length, step)));
}

function stopAt({ state, index, here }, place, count, step) {
  const image = h("img", { alt: "", draggable: "false" });
  const button = h("button", { type: "button", title: `Query ${place + 1} of ${count}`, "aria-label": `Query ${place + 1} of ${count}`, "aria-current": here ? "step" : null,
    data: { hash: format(state) }, onclick: () => index !== step && history.go(index - step) }, image);
  const several = state.plus.length + state.minus.length;
  if (several > 1) button.append(h("small", {}, several));
  showFirst(image, addresses(state.plus[0] ?? state.minus[0], 128), () => button.classList.add("missing"));
  return h("li", {}, button);
}

$("#back").addEventListener("click", () => history.back());
$("#forward").addEventListener("click", () => history.forward());
