/** Filters: labels, or tags, as chips with their counts, and an expression. */

import { collection, colorOf, namesOfKinds, tagColumnOf } from "./collections.js";
import { makeCompletion } from "./completion.js";
import { $, colorDot, h } from "./dom.js";
import { number } from "./format.js";
import { current, go } from "./state.js";
import { completionsOf } from "./where.js";

const SHOWN = 40;
const CHOSEN_RANK = 1e6; // above any count

const input = $("#where");
const problem = $("#where-error");

let counts = null; // how often each label occurs in the answer; null before the first answer
let countedQuery = ""; // the query that they belong to
let showsAll = false;

/** Count the labels of an answer: the most frequent ones come first. */
export function countLabels(matches, state) {
  const { collection: name, positive, negative, where } = state;
  const query = JSON.stringify([name, positive, negative, where]);
  // Matches narrowed to some labels say nothing about the others, so the counts stay.
  if (state.labels.length && query === countedQuery) return;
  countedQuery = query;
  counts = new Map();
  const hasTags = tagColumnOf() !== null;
  for (const { label, tags } of matches) {
    const names = hasTags ? tags : [label ?? ""];
    for (const key of names) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
}

// Chosen labels first, then those among the nearest, then the collection's most frequent.
function sortedLabels(state) {
  const labels = namesOfKinds().map(({ label, count }) => ({ label: label ?? "", count }));
  const rank = ({ label }) =>
    (counts?.get(label) ?? 0) + (state.labels.includes(label) ? CHOSEN_RANK : 0);
  return labels.sort((first, second) => rank(second) - rank(first) || second.count - first.count);
}

/** Draw the filters of a state. */
export function drawFilters(state) {
  if (document.activeElement !== input) input.value = state.where;
  const labels = sortedLabels(state);
  const shown = showsAll ? labels : labels.slice(0, SHOWN);
  const chips = $("#chips");
  const focused = document.activeElement?.dataset?.label;
  chips.replaceChildren(...shown.map((entry) => makeChip(entry, state)));
  if (labels.length > shown.length) {
    const showAll = () => {
      showsAll = true;
      drawFilters(current());
    };
    const text = `${number(labels.length - shown.length)} more`;
    chips.append(h("button", { type: "button", class: "chip", onclick: showAll }, text));
  }
  if (state.labels.length) {
    const clear = () => go({ labels: [] });
    const attributes = { type: "button", class: "chip clear", onclick: clear };
    chips.prepend(h("button", attributes, tagColumnOf() ? "All tags" : "All labels"));
  }
  chips.hidden = labels.length < 2 && !state.labels.length;
  if (focused !== undefined) {
    [...chips.children].find((chip) => chip.dataset.label === focused)?.focus();
  }
}

function makeChip({ label, count }, state) {
  const isChosen = state.labels.includes(label);
  const toggled = isChosen ? state.labels.filter((one) => one !== label) : [...state.labels, label];
  const attributes = {
    type: "button",
    class: "chip",
    "aria-pressed": String(isChosen),
    data: { label },
    onclick: () => go({ labels: toggled }),
  };
  const name = h("span", { dir: "auto" }, label || "no label");
  const shown = counts && h("small", {}, `${number(counts.get(label) ?? 0)} of ${number(count)}`);
  return h("button", attributes, colorDot(colorOf(label)), name, shown);
}

/** Show a problem of the filter box below it, or none if the message is empty. */
export function showFilterProblem(message) {
  problem.textContent = message;
  problem.hidden = !message;
  input.setAttribute("aria-invalid", String(Boolean(message)));
}

/** Focus the filter box. */
export const focusFilter = () => input.select();

const apply = () => go({ where: input.value.trim() });
makeCompletion(
  input,
  $("#where-list"),
  (before) => {
    const open = collection();
    // Before its description has arrived, nothing is known that completes the text.
    return open ? completionsOf(before, open) : [];
  },
  () => showFilterProblem(""),
);
input.addEventListener("change", apply);
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter") apply();
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  input.value = current().where;
  input.blur();
});
