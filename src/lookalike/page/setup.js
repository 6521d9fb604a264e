/** How to begin: make a collection of a folder, or add a folder to an empty collection. */

import * as api from "./api.js";
import { allCollections, unreadableCollections } from "./collections.js";
import { $, h } from "./dom.js";
import { startJob } from "./jobs.js";

const section = $("#setup");
// As the server accepts them: a letter or a digit, then those, spaces and some signs.
const UNUSABLE = /[^\p{L}\p{N}_ .()+-]+/gu;
const UNUSABLE_START = /^[^\p{L}\p{N}]+/u;
const MAX_NAME = 64;

let shown = ""; // what the section was drawn for: a form keeps what was typed

/** Remove the section's content. */
export function leaveSetup() {
  shown = "";
  section.hidden = true;
  section.replaceChildren();
}

/** Draw the section in the place of every view: the server, with these roots, has no collection. */
export function drawSetup({ roots, new_collections: folder }) {
  const unreadable = unreadableCollections();
  const key = JSON.stringify([roots, folder, unreadable]);
  section.hidden = false;
  if (key === shown) return;
  shown = key;
  document.title = "Begin · Lookalike";
  const lead =
    "A collection is what can be searched: a small image and some numbers for each of your " +
    "images. The images themselves stay where they are, unchanged.";
  const canMake = roots.length && folder;
  section.replaceChildren(
    h("h1", {}, "No collection yet"),
    ...(unreadable.length ? [listUnreadable(unreadable)] : []),
    h("p", {}, lead),
    canMake ? newCollectionForm(roots) : commands(),
  );
}

function listUnreadable(unreadable) {
  const items = unreadable.map(({ where, reason }) =>
    h("li", {}, h("b", { dir: "auto" }, where), h("span", { class: "why", dir: "auto" }, reason)),
  );
  return h(
    "section",
    { "aria-label": "Collections that cannot be read" },
    h("h2", {}, "These cannot be read now"),
    h("ul", { class: "failures" }, items),
  );
}

/** The commands that make a collection, where the page cannot. */
function commands() {
  const command = (text) => h("pre", { tabindex: 0 }, h("code", {}, text));
  return h(
    "div",
    { class: "steps" },
    h("p", {}, "To make one here, start the server with a folder of images:"),
    command("lookalike serve --root FOLDER"),
    h("p", {}, "Or make one in a terminal. This page shows it as soon as it has images:"),
    command("lookalike index FOLDER"),
  );
}

// ---- forms -------------------------------------------------------------------------------------

function nameFor(path) {
  const last = path.split(/[\\/]/).findLast(Boolean) ?? "";
  const usable = last.replace(UNUSABLE, "-").replace(UNUSABLE_START, "");
  const base = usable.slice(0, MAX_NAME - 4).replace(/[ .]+$/, "") || "images";
  const names = new Set(allCollections().map(({ name }) => name));
  let name = base;
  for (let number = 2; names.has(name); number += 1) name = `${base} ${number}`;
  return name;
}

/** Let the visitor choose one of several folders: `{ element, chosen() }`. */
function rootChoice(roots, onChange = () => {}) {
  const options = roots.map(({ root, path }, index) => {
    const attributes = { type: "radio", name: "root", value: root, checked: index === 0 };
    return h("label", {}, h("input", attributes), h("span", { class: "path", dir: "auto" }, path));
  });
  const element = h("fieldset", {}, h("legend", {}, "Folder"), options);
  const chosen = () => roots.find(({ root }) => root === Number($(":checked", element).value));
  element.addEventListener("change", () => onChange(chosen()));
  return { element, chosen };
}

function makeForm(parts, text, requestOf) {
  const problem = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { type: "submit", class: "strong" }, text);
  const form = h("form", { class: "setup" }, parts, h("div", {}, button), problem);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    button.disabled = true;
    try {
      await startJob(requestOf());
      form.dispatchEvent(new Event("started"));
    } catch (error) {
      problem.textContent = error.message;
    }
    button.disabled = false;
  });
  return form;
}

/** The form that makes a collection of a folder; it emits "started". */
export function newCollectionForm(roots) {
  const name = h("input", {
    id: "new-name",
    class: "line",
    value: nameFor(roots[0].path),
    required: true,
    maxlength: MAX_NAME,
    autocomplete: "off",
    spellcheck: "false",
    dir: "auto",
  });
  let isOwn = false; // whether the visitor has typed a name
  name.addEventListener("input", () => {
    isOwn = true;
  });
  const choice = rootChoice(roots, ({ path }) => {
    if (!isOwn) name.value = nameFor(path);
  });
  const label = h("label", { for: "new-name" }, "Name of the collection");
  const parts = [choice.element, h("div", { class: "named" }, label, name)];
  return makeForm(parts, "Make the collection", () => ({
    kind: "index",
    collection: name.value.trim(),
    root: choice.chosen().root,
    create: true,
  }));
}

/** The form that adds a folder to an empty collection, or the command that does. */
export async function firstFolderForm(collection) {
  const { roots } = await api.roots(collection);
  if (!roots.length) return commands();
  const choice = rootChoice(roots);
  return makeForm([choice.element], "Add the images", () => ({
    kind: "index",
    collection,
    root: choice.chosen().root,
  }));
}
