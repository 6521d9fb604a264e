// Filters: labels as chips with their counts, and an expression.

import { collection, colourOf } from "./collections.js";
import { $, h, number } from "./dom.js";
import { current, go } from "./state.js";

const SHOWN = 40;
let found = new Map(), of = "", open = false; // how often each label is among the nearest, and of which query

const input = $("#where"), error = $("#where-error");

/** Count the labels of an answer: those that are found most come first. */
export function countLabels(matches, state) {
  const query = JSON.stringify([state.collection, state.plus, state.minus, state.where]);
  // The nearest of some labels say nothing of the others: what was counted of all of them stays.
  if (state.labels.length && query === of) return;
  of = query;
  found = new Map();
  for (const { label } of matches) found.set(label ?? "", (found.get(label ?? "") ?? 0) + 1);
}

export function drawFilters(state) {
  if (document.activeElement !== input) input.value = state.where;
  const labels = collection().labels.map(({ label, count }) => ({ label: label ?? "", count }));
  const rank = ({ label }) => (found.get(label) ?? 0) + (state.labels.includes(label) ? 1e6 : 0);
  labels.sort((one, other) => rank(other) - rank(one) || other.count - one.count);
  const shown = open ? labels : labels.slice(0, SHOWN), chips = $("#chips"), focus = document.activeElement?.dataset?.label;
  chips.replaceChildren(...shown.map((entry) => chip(entry, state)));
  if (labels.length > shown.length) {
    chips.append(h("button", { type: "button", class: "chip", onclick: () => { open = true; drawFilters(current()); } }, `${number(labels.length - shown.length)} more`));
  }
  if (state.labels.length) {
    chips.prepend(h("button", { type: "button", class: "chip clear", onclick: () => go({ labels: [] }) }, "All labels"));
  }
  chips.hidden = labels.length < 2 && !state.labels.length;
  if (focus !== undefined) [...chips.children].find((one) => one.dataset.label === focus)?.focus();
}

function chip({ label, count }, state) {
  const pressed = state.labels.includes(label), name = label || "no label";
  const toggled = pressed ? state.labels.filter((one) => one !== label) : [...state.labels, label];
  return h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), data: { label }, onclick: () => go({ labels: toggled }) },
    h("i", { style: { "--colour": colourOf(label) } }), h("span", {}, name), h("small", {}, number(count)));
}

export function whereFailed(message) {
  error.textContent = message;
  error.hidden = !message;
  input.setAttribute("aria-invalid", String(Boolean(message)));
}

const apply = () => go({ where: input.value.trim() });
input.addEventListener("change", apply);
input.addEventListener("search", apply); // the field's own cross
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter") apply();
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  input.value = current().where;
  input.blur();
});
export const focusFilter = () => input.select();
