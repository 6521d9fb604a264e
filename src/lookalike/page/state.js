/**
 * The page's state: one value, kept in the address. Anyone who opens it sees the same thing.
 *
 * @typedef {{id: number} | {upload: string} | {text: string}} Example  A row, an upload by its
 *   sha256, or words.
 *
 * @typedef {object} State
 * @property {"search" | "map" | "health" | "duplicates" | "review"} view
 * @property {string} collection  Empty for the first.
 * @property {string[]} spaces  Up to two; empty for the first.
 * @property {boolean} fused  Whether two spaces give one answer, instead of one each.
 * @property {Example[]} positive
 * @property {Example[]} negative
 * @property {number} k
 * @property {string[]} labels  The chosen labels, or tags where a collection has no labels; the
 *   empty text stands for images without a label.
 * @property {number} gamma  The strength of the negative examples.
 * @property {boolean} unique  Whether each content is shown once.
 * @property {"plain" | "centered" | "context"} ranking
 * @property {string} tier  The tier of duplicates that is shown; empty for all.
 * @property {"clusters" | "outliers" | "labels" | "diverse"} part  The part of a review.
 * @property {string} where  The text of the filter box: words, or an expression.
 */

import { expressionOf } from "./where.js";

const DEFAULT_K = 200;
const DEFAULT_GAMMA = 0.1;
const MAX_GAMMA = 1;
export const MAX_K = 1000;
export const VIEWS = ["search", "map", "health", "duplicates", "review"];
const TIERS = ["identical", "copy", "similar"];
// The first is the default.
const RANKINGS = ["plain", "centered", "context"];
const PARTS = ["clusters", "outliers", "labels", "diverse"];

/** The parts of a state that make no query. */
export const NO_QUERY = { positive: [], negative: [], labels: [], where: "" };

// ---- examples ----------------------------------------------------------------------------------

const TEXT = "text:";

function parseExample(word) {
  if (word.startsWith(TEXT)) return parseText(word.slice(TEXT.length));
  if (/^[0-9a-f]{64}$/.test(word)) return { upload: word };
  if (/^\d{1,19}$/.test(word)) return { id: Number(word) };
  return null;
}

// Commas stand between examples, so that one in a text is escaped.
const escapeText = (text) => text.replaceAll("%", "%25").replaceAll(",", "%2C");

function parseText(encoded) {
  try {
    return { text: decodeURIComponent(encoded) };
  } catch {
    // An address that was cut.
    return null;
  }
}

function formatExample({ id, upload, text }) {
  if (text) return TEXT + escapeText(text);
  return upload ?? String(id);
}

/** Whether two examples are the same row, upload or words. */
export function sameExample(first, second) {
  return formatExample(first) === formatExample(second);
}

/** A row, an upload or words as an example, without its other facts. */
export function exampleOf({ id, upload, text }) {
  if (text) return { text };
  return upload ? { upload } : { id };
}

// ---- the address -------------------------------------------------------------------------------

/** Parse the part of an address from "#" on. */
function parse(hash) {
  const [view, search = ""] = hash.replace(/^#/, "").split("?");
  const parameters = new URLSearchParams(search);
  const words = (name) => (parameters.get(name) ?? "").split(",").filter(Boolean);
  const examples = (name) => words(name).map(parseExample).filter(Boolean);
  const k = Number.parseInt(parameters.get("k"), 10) || DEFAULT_K;
  const gamma = Number.parseFloat(parameters.get("gamma"));
  return {
    view: VIEWS.includes(view) ? view : "search",
    collection: parameters.get("collection") ?? "",
    spaces: words("space").slice(0, 2),
    fused: parameters.get("fused") === "yes",
    positive: examples("positive"),
    negative: examples("negative"),
    k: Math.min(MAX_K, Math.max(1, k)),
    gamma: Number.isNaN(gamma) ? DEFAULT_GAMMA : Math.min(MAX_GAMMA, Math.max(0, gamma)),
    unique: parameters.get("unique") === "yes",
    ranking: RANKINGS.find((name) => name === parameters.get("ranking")) ?? RANKINGS[0],
    labels: parameters.getAll("label"),
    tier: TIERS.find((name) => name === parameters.get("tier")) ?? "",
    part: PARTS.find((name) => name === parameters.get("part")) ?? PARTS[0],
    where: parameters.get("where") ?? "",
  };
}

/** Format a state as the part of an address from "#" on. */
export function format(state) {
  const parameters = new URLSearchParams();
  if (state.collection) parameters.set("collection", state.collection);
  if (state.spaces.length) parameters.set("space", state.spaces.join(","));
  if (state.fused && state.spaces.length > 1) parameters.set("fused", "yes");
  for (const name of ["positive", "negative"]) {
    const words = state[name].map(formatExample);
    if (words.length) parameters.set(name, words.join(","));
  }
  if (state.gamma !== DEFAULT_GAMMA) parameters.set("gamma", state.gamma);
  if (state.k !== DEFAULT_K) parameters.set("k", state.k);
  if (state.unique) parameters.set("unique", "yes");
  if (state.ranking !== RANKINGS[0]) parameters.set("ranking", state.ranking);
  if (state.view === "duplicates" && state.tier) parameters.set("tier", state.tier);
  const hasPart = state.view === "review" && state.part !== PARTS[0];
  if (hasPart) parameters.set("part", state.part);
  for (const label of state.labels) parameters.append("label", label);
  if (state.where) parameters.set("where", state.where);
  // Commas and colons read better as they are.
  const text = parameters.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return `#${state.view}${text ? `?${text}` : ""}`;
}

/** Whether there is something to be similar to; negative examples alone make no query. */
export const hasQuery = (state) => state.positive.length > 0;

// ---- the filter --------------------------------------------------------------------------------

const quote = (text) => `'${text.replaceAll("'", "''")}'`;

function conditionsOfTags(tags, column) {
  return tags.filter(Boolean).map((tag) => `\`${column}\` contains ${quote(tag)}`);
}

function conditionsOfLabels(labels) {
  const names = labels.filter(Boolean).map(quote);
  const conditions = [];
  if (names.length === 1) conditions.push(`label = ${names[0]}`);
  if (names.length > 1) conditions.push(`label in (${names.join(", ")})`);
  if (labels.includes("")) conditions.push("label is null");
  return conditions;
}

/**
 * The filter that the chosen labels and the filter box make together, or undefined.
 *
 * With a column of tags, they are chosen in place of labels.
 */
export function filterOf({ labels, where }, tagColumn = null) {
  const conditions = tagColumn ? conditionsOfTags(labels, tagColumn) : conditionsOfLabels(labels);
  const ofLabels = conditions.join(" or ");
  const expression = expressionOf(where);
  if (!expression) return ofLabels || undefined;
  return ofLabels ? `(${ofLabels}) and (${expression})` : expression;
}

// ---- the current state and its changes ---------------------------------------------------------

let now = parse(location.hash);
const listeners = [];

/** The current state. */
export const current = () => now;

/** Call `listener(state, arrival)` on every change; `arrival` is `{ step, pushed }`. */
export const onChange = (listener) => listeners.push(listener);

function change(state, arrival) {
  now = state;
  for (const listener of listeners) listener(now, arrival);
}

const currentStep = () => history.state?.step ?? 0;

/** Change parts of the state; with `replace`, Back does not return to the state before. */
export function go(changes, { replace = false } = {}) {
  const state = { ...now, ...changes };
  const hash = format(state);
  if (hash === format(now)) return;
  const step = currentStep() + (replace ? 0 : 1);
  if (replace) history.replaceState({ step }, "", hash);
  else history.pushState({ step }, "", hash);
  change(state, { step, pushed: !replace });
}

addEventListener("popstate", (event) => {
  // An address typed by hand has no step yet.
  if (event.state === null) history.replaceState({ step: 0 }, "");
  change(parse(location.hash), { step: currentStep(), pushed: false });
});

/** Announce the state that the page was opened with. */
export function begin() {
  history.replaceState({ step: currentStep() }, "");
  change(now, { step: currentStep(), pushed: false });
}
