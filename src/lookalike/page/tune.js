/** Tuned spaces in the Health view: the form that learns one, and how good each is. */

import { titleOf } from "./collections.js";
import { h, icon } from "./dom.js";
import { jobButton, lastDone } from "./jobs.js";
import { go } from "./state.js";

const LEAST_IMAGES = 6; // of a label
const PURPOSES = [
  {
    value: "these-classes",
    title: "These labels",
    text: "All images have one of these labels, such as the products of a shop.",
    labels: 2, // that it needs
  },
  {
    value: "anything",
    title: "Anything",
    text: "Images of other kinds are searched as well.",
    labels: 3,
  },
];
const QUERIES = [
  ["new_images", "New images of these labels"],
  ["new_labels", "Images of labels left out"],
];
const wanted = { purpose: "", base: "" }; // of the next job

/** The section of tuned spaces, or null where there is nothing to say. */
export function makeTuning(shown) {
  const learned = shown.spaces.filter((space) => space.learned);
  const form = shown.read_only ? null : tuneForm(shown);
  const refused = refusal(shown);
  if (!form && !learned.length) return null;
  const text =
    "Labels can make a search better. A space that is learned from them takes seconds, reads no " +
    "image, and is added only if it finds more on images that it was not learned from.";
  return h(
    "section",
    { class: "tuning", "aria-label": "Learn from labels" },
    h("h2", {}, "Learn from labels"),
    h("p", { class: "quiet" }, text),
    form,
    refused ? outcome("Not added", refused) : null,
    learned.map((space) => outcome(titleOf(space.name), space.learned, searchButton(space))),
  );
}

// ---- the form ----------------------------------------------------------------------------------

function tuneForm(shown) {
  const usable = shown.labels.filter(({ count }) => count >= LEAST_IMAGES).length;
  if (usable < PURPOSES[0].labels) {
    const text = `It needs two labels with ${LEAST_IMAGES} different images each.`;
    return h("p", { class: "quiet" }, text);
  }
  const slot = h("div");
  const draw = () => {
    const request = requestOf(shown);
    slot.replaceChildren(jobButton({ text: "Learn a space", running: "Learning", request }));
  };
  const change = ({ target }) => {
    wanted[target.name] = target.value;
    draw();
  };
  const choice = purposeChoice(usable, change);
  const base = baseChoice(shown, change);
  draw();
  return h("div", { class: "setup" }, choice, h("div", { class: "find" }, base, slot));
}

function purposeChoice(usable, onchange) {
  const possible = PURPOSES.filter(({ labels }) => labels <= usable);
  const isPossible = possible.some(({ value }) => value === wanted.purpose);
  if (!isPossible) wanted.purpose = possible.at(-1).value;
  const options = PURPOSES.map(({ value, title, text, labels }) => {
    const isEnough = labels <= usable;
    const attributes = {
      type: "radio",
      name: "purpose",
      value,
      checked: value === wanted.purpose,
      disabled: !isEnough,
      onchange,
    };
    const hint = isEnough ? text : `It needs ${labels} labels with ${LEAST_IMAGES} images each.`;
    const words = h("span", {}, h("b", {}, title), h("small", {}, hint));
    return h("label", {}, h("input", attributes), words);
  });
  return h("fieldset", {}, h("legend", {}, "Tune it for"), options);
}

const basesOf = ({ spaces }) => spaces.filter(({ learned }) => !learned);

function baseChoice(shown, onchange) {
  const bases = basesOf(shown);
  if (!bases.some(({ name }) => name === wanted.base)) wanted.base = bases[0].name;
  if (bases.length < 2) return null;
  const options = bases.map(({ name }) => h("option", { value: name }, titleOf(name)));
  const select = h("select", { name: "base", "aria-label": "Learn from", onchange }, options);
  select.value = wanted.base;
  return select;
}

function requestOf(shown) {
  const { purpose, base } = wanted;
  const name = nameFor(shown);
  return { kind: "tune", collection: shown.name, purpose, space: base, name };
}

// The name of the purpose, numbered where it is taken. A space that lacks vectors is completed.
function nameFor({ spaces }) {
  const { purpose, base } = wanted;
  const vectors = spaces.find(({ name }) => name === base).vectors;
  const isFree = (name) => {
    const known = spaces.find((space) => space.name === name);
    if (!known) return true;
    const { learned } = known;
    const isAlike = learned?.purpose === purpose && learned.base === base;
    return isAlike && known.vectors < vectors;
  };
  let name = purpose;
  for (let number = 2; !isFree(name); number += 1) name = `${purpose}-${number}`;
  return name;
}

// ---- outcomes ----------------------------------------------------------------------------------

// What the last job of this visit refused to add.
function refusal({ name }) {
  const result = lastDone("tune", name)?.result;
  return result && !result.stored ? result : null;
}

function searchButton({ name }) {
  const onclick = () => go({ view: "search", spaces: [name] });
  const label = `Search in ${titleOf(name)}`;
  const attributes = { type: "button", class: "plain", "aria-label": label, onclick };
  return h("button", attributes, icon("search"), "Search in it");
}

function outcome(title, { verdict, ...measured }, button = null) {
  const rows = QUERIES.filter(([key]) => measured[key]);
  const lines = rows.map(([key, text]) => gainLine(text, measured[key]));
  return h(
    "article",
    { class: "outcome" },
    h("header", {}, h("h3", {}, title), button),
    h("p", {}, verdict),
    rows.length ? [h("ul", { class: "gains" }, lines), legend()] : null,
  );
}

const score = (value) => value.toFixed(3);
const change = (value) => `${value < 0 ? "−" : "+"}${score(Math.abs(value))}`;
const place = (value) => `${(100 * value).toFixed(2)}%`;

// The scores before and after, from 0 to 1, and their difference.
function gainLine(text, { plain, tuned, gain }) {
  const left = Math.min(plain.value, tuned.value);
  const width = Math.abs(tuned.value - plain.value);
  const [low, high] = gain.interval;
  const isSure = low > 0 || high < 0;
  const kind = isSure ? (low > 0 ? "better" : "worse") : "unsure";
  const track = h(
    "div",
    { class: "track", "aria-hidden": "true" },
    h("b", { style: { left: place(left), width: place(width) } }),
    h("i", { class: "before", style: { left: place(plain.value) } }),
    h("i", { class: "after", style: { left: place(tuned.value) } }),
  );
  return h(
    "li",
    { class: kind },
    h("span", {}, text),
    track,
    h("span", {}, `${score(plain.value)} → ${score(tuned.value)}`),
    h("span", {}, h("b", {}, change(gain.value)), ` [${change(low)}, ${change(high)}]`),
  );
}

function legend() {
  const key = (kind, text) => h("span", { class: "key" }, h("i", { class: kind }), text);
  const text = "mean of the labels’ mAPs, from 0 to 1; in brackets the 95 % interval of the gain";
  return h("p", { class: "gain-key" }, key("before", "before"), key("after", "after"), text);
}
