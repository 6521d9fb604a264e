// What the server has: its collections, their Spaces and labels.

import * as api from "./api.js";
import { colouring } from "./palette.js";
import { current } from "./state.js";

let list = [];
const colours = new Map();

export async function load() {
  list = await api.collections();
  colours.clear();
}

export const all = () => list;
export const collection = (name = current().collection) => list.find((one) => one.name === name) ?? list[0];

/** The Spaces to search in: those named in the address, or the first. */
export function spaces(state = current()) {
  const known = collection(state.collection).spaces.map(({ name }) => name);
  const named = state.spaces.filter((name) => known.includes(name));
  return named.length ? named : known.slice(0, 1);
}

/** A Space's title, without the particulars that some have after a colon. */
export const titleOf = (space) => (collection().spaces.find(({ name }) => name === space)?.title ?? space).split(":")[0];

export function colourOf(label) {
  const { name, labels } = collection();
  if (!colours.has(name)) colours.set(name, colouring(labels));
  return colours.get(name)(label);
}
