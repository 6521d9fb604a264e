/** Words as a query: the box to type them in, how they look as an example, and their names. */

import { h, icon } from "./dom.js";
import { go, NO_QUERY } from "./state.js";

const MAX_LENGTH = 1000; // characters that the server takes
const LABEL = "Search by words";

/** Make the box: words and Enter begin a new search. */
export function wordsForm() {
  const attributes = { type: "search", "aria-label": LABEL, placeholder: "grand piano" };
  const input = h("input", {
    ...attributes,
    name: "words",
    maxlength: MAX_LENGTH,
    autocomplete: "off",
    enterkeyhint: "search",
  });
  const button = h("button", { class: "round", "aria-label": LABEL, title: LABEL }, icon("search"));
  const form = h("form", { class: "words-form" }, input, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    input.blur();
    go({ view: "search", ...NO_QUERY, positive: [{ text }] });
  });
  return form;
}

/** An example's words, as an element. */
export const wordsOf = ({ text }) => h("span", { class: "words", dir: "auto" }, text);

const LEAST_CONFIDENCE = 0.5;

// Several words, and Spaces that read any text, have no confidence.
function describeConfidence(understood) {
  const doubtful = understood.find(({ confidence }) => (confidence ?? 1) < LEAST_CONFIDENCE);
  if (!doubtful) return "";
  return `Perhaps none of these shows it (confidence ${doubtful.confidence.toFixed(2)}) · `;
}

/** What an answer understood of the words of its query, or an empty text. */
export function describeUnderstood({ understood = [] }) {
  const known = understood.flatMap(({ words }) => words);
  const unknown = understood.flatMap((one) => one.unknown);
  const shown = known.slice(0, 6).join(", ");
  const others = known.length > 6 ? ` and ${known.length - 6} more` : "";
  const ignored = unknown.length ? ` · Not understood: ${unknown.join(", ")}` : "";
  const doubt = describeConfidence(understood);
  return known.length ? `${doubt}Searching for: ${shown}${others}${ignored}` : "";
}
