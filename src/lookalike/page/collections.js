/** The server's collections, their spaces, labels and tags. */

import * as api from "./api.js";
import { colorsOfLabels } from "./palette.js";
import { current } from "./state.js";

let list = [];
let unreadable = []; // { where, reason }: collections that cannot be read now
const colors = new Map(); // by collection: the function from a label to its color

/** Load the collections from the server. */
export async function loadCollections() {
  const answer = await api.collections();
  list = answer.collections;
  unreadable = answer.unavailable;
  colors.clear();
}

/** The collections that cannot be read now, each as `{ where, reason }`. */
export const unreadableCollections = () => unreadable;

/** All collections. */
export const allCollections = () => list;

/** The named collection, or the first. */
export function collection(name = current().collection) {
  return list.find((one) => one.name === name) ?? list[0];
}

/** The spaces to search: those of the address, or the first. */
export function spacesOf(state = current()) {
  const known = collection(state.collection).spaces.map(({ name }) => name);
  const named = state.spaces.filter((name) => known.includes(name));
  return named.length ? named : known.slice(0, 1);
}

/** The spaces of each answer: one answer of all chosen ones if they are fused, or one of each. */
export function searchesOf(state = current()) {
  const spaces = spacesOf(state);
  return state.fused ? [spaces] : spaces.map((space) => [space]);
}

// What the spaces compare, in a visitor's words.
const COMPARISONS = { content: "What is in it", appearance: "How it looks" };

/** The model behind a space, without the details that some have after a colon. */
export function modelOf(space) {
  const known = collection().spaces.find(({ name }) => name === space);
  return (known?.title ?? space).split(":")[0];
}

const PURPOSES = { "these-classes": "these labels", anything: "anything" };

// A tuned space's title: what it was tuned for, and its name where several were for the same.
function tunedTitle({ name, learned: { purpose } }, spaces) {
  const alike = spaces.filter(({ learned }) => learned?.purpose === purpose);
  const title = `Tuned for ${PURPOSES[purpose]}`;
  return alike.length === 1 ? title : `${title}: ${name}`;
}

/** A space's title: what it compares, or its model where several compare the same. */
export function titleOf(space) {
  const { spaces } = collection();
  const known = spaces.find(({ name }) => name === space);
  if (known?.learned) return tunedTitle(known, spaces);
  const isAlike = ({ compares, learned }) => compares === known?.compares && !learned;
  const alike = spaces.filter(isAlike);
  return alike.length === 1 ? COMPARISONS[known.compares] : modelOf(space);
}

/** The column of tags if they stand in for labels, which the collection has none of; or null. */
export function tagColumnOf(name = current().collection) {
  const { labels, tag_column: column } = collection(name);
  return labels.length ? null : column;
}

/** The labels of the current collection, or its tags, with their counts. */
export const namesOfKinds = () => (tagColumnOf() ? collection().tags : collection().labels);

/** The color of a label of the current collection, or of a tag where tags stand in for labels. */
export function colorOf(label) {
  const { name } = collection();
  if (!colors.has(name)) colors.set(name, colorsOfLabels(namesOfKinds()));
  return colors.get(name)(label);
}
