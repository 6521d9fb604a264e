// The tray: examples gathered for the next query, for it and against it.

import { $, announce, h, iconButton, plural } from "./dom.js";
import { dropTarget } from "./upload.js";
import { addresses, send, showFirst } from "./images.js";
import { current, go, same } from "./state.js";

const NAMES = { plus: "More like", minus: "Less like" };
let draft = null; // what is gathered, or null while nothing is
let fail = () => {};

export const onFailure = (listener) => { fail = listener; };
export const gathered = () => draft ?? { plus: [], minus: [] };

/** Put an example in; the tray begins with what is being searched by. */
export function add(example, kind) {
  const { plus, minus } = draft ?? current(), other = kind === "plus" ? "minus" : "plus";
  const without = { plus, minus };
  for (const name of ["plus", "minus"]) without[name] = without[name].filter((one) => !same(one, example));
  draft = { [kind]: [...without[kind], example], [other]: without[other] };
  announce(`${NAMES[kind]} this: ${plural(draft.plus.length + draft.minus.length, "example")} in the tray.`);
  draw();
}

export function remove(example) {
  draft = { plus: draft.plus.filter((one) => !same(one, example)), minus: draft.minus.filter((one) => !same(one, example)) };
  if (!draft.plus.length && !draft.minus.length) draft = null;
  draw();
  $("#tray .find:not([disabled])")?.focus();
}

export function clear() {
  draft = null;
  draw();
}

export function search() {
  if (!draft?.plus.length) return;
  const { plus, minus } = draft;
  clear();
  scrollTo({ top: 0, behavior: "instant" });
  go({ view: current().view === "map" ? "map" : "search", plus, minus });
}

function exampleIn(example) {
  const image = h("img", { alt: "", draggable: "false" }), item = h("li", {}, image);
  showFirst(image, addresses(example, 128), () => item.classList.add("missing"));
  item.append(iconButton("close", "Take this example out", () => remove(example), { class: "small" }));
  return item;
}

function zone(kind) {
  const examples = draft?.[kind] ?? [];
  const element = h("section", { class: `zone ${kind}`, "aria-label": `${NAMES[kind]} these` },
    h("h2", {}, NAMES[kind]), h("ul", {}, examples.map(exampleIn), h("li", { class: "hint" }, examples.length ? "" : "drag here")));
  dropTarget(element, async (example, files) => {
    try {
      for (const one of example ? [example] : await send(files)) add(one, kind);
    } catch (error) {
      fail(error);
    }
    dragging(false);
  });
  return element;
}

function draw() {
  const tray = $("#tray"), open = Boolean(draft);
  tray.replaceChildren(zone("plus"), zone("minus"),
    h("div", { class: "do" },
      h("button", { type: "button", class: "find strong", disabled: !draft?.plus.length, onclick: search }, "Search together"),
      h("button", { type: "button", class: "plain", disabled: !open, onclick: clear }, "Clear")));
  tray.classList.toggle("open", open);
  tray.inert = !open && !tray.classList.contains("wanted");
  document.body.classList.toggle("gathering", open);
}

// While a picture is dragged the tray shows where it may go.
function dragging(yes) {
  const tray = $("#tray");
  tray.classList.toggle("wanted", yes);
  tray.inert = !yes && !draft;
}

addEventListener("dragstart", (event) => { if (event.target.closest?.(".tile")) setTimeout(() => dragging(true)); });
addEventListener("dragend", () => dragging(false));
draw();
