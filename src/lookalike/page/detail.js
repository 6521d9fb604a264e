// One picture, large, with its facts.

import * as api from "./api.js";
import { collection, colourOf } from "./collections.js";
import { $, bytes, h, icon, iconButton, nameOf, number } from "./dom.js";
import { addresses, showFirst } from "./images.js";

const LARGEST = 2.5; // times its own size

const dialog = $("#detail");
let rows = [], at = 0, acts = {}, gridOf = null, asked = 0;

/** `acts` are what can be done with a picture: onChoose, onExample, onCrop. */
export const prepareDetail = (given) => { acts = given; };

/** Open one of some rows; `grid()` is where they lie, for the focus to come back to. */
export function openDetail(all, index, grid = null) {
  [rows, at, gridOf] = [all, index, grid];
  draw();
  if (dialog.open) return;
  dialog.showModal();
  dialog.focus();
}

/** Open an upload, of which nothing is known but the picture. */
export function openUpload(example) {
  openDetail([{ ...example, name: "Your picture", uri: "" }], 0);
}

function step(by) {
  const next = at + by;
  if (next < 0 || next >= rows.length) return;
  at = next;
  draw();
}

const fact = (name, value) => (value === undefined || value === null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);

function draw() {
  const row = rows[at], example = row.upload ? { upload: row.upload } : { id: row.id };
  const image = h("img", { alt: [nameOf(row), row.label].filter(Boolean).join(", "), draggable: "false" });
  const stage = h("div", { class: "stage" }, image), facts = h("dl");
  const missing = () => stage.classList.add("missing");
  // A small picture is enlarged, but not until one sees its pixels.
  if (row.width) Object.assign(image.style, { aspectRatio: `${row.width} / ${row.height}`, maxWidth: `min(100%, ${LARGEST * row.width}px)` });
  showFirst(image, addresses(example, 512), missing);
  if (!row.upload && collection().originals) sharpen(image, row);
  fill(facts, row);
  const close = (act) => () => { dialog.close(); act(); };
  const original = !row.upload && collection().originals;
  dialog.replaceChildren(
    stage,
    iconButton("back", "Previous", () => step(-1), { class: "turn back", disabled: at === 0, title: "Previous (←)" }),
    iconButton("forward", "Next", () => step(1), { class: "turn forward", disabled: at === rows.length - 1, title: "Next (→)" }),
    h("aside", {},
      h("header", {}, h("p", {}, rows.length > 1 ? `${number(at + 1)} of ${number(rows.length)}` : ""), iconButton("close", "Close", () => dialog.close(), { title: "Close (Escape)" })),
      h("h2", {}, nameOf(row)),
      row.label ? h("p", { class: "label" }, h("i", { style: { "--colour": colourOf(row.label) } }), row.label) : null,
      facts,
      h("div", { class: "ways" },
        h("button", { type: "button", class: "strong", onclick: close(() => acts.onChoose(example)) }, icon("search"), "Search by this"),
        h("button", { type: "button", onclick: close(() => acts.onCrop(example, nameOf(row))) }, icon("crop"), "A part of it"),
        h("button", { type: "button", onclick: () => acts.onExample(example, "plus") }, icon("plus"), "More like this"),
        h("button", { type: "button", onclick: () => acts.onExample(example, "minus") }, icon("minus"), "Less like this"),
        original ? h("a", { class: "plain", href: api.original(collection().name, row.id), target: "_blank", rel: "noopener" }, icon("open"), "Open the original") : null)));
  for (const near of [rows[at + 1], rows[at - 1]]) if (near?.id !== undefined) new Image().src = api.thumbnail(collection().name, near.id, 512);
}

// The small picture is there at once; the original takes its place when it is.
async function sharpen(image, row) {
  const large = new Image();
  large.src = api.original(collection().name, row.id);
  try {
    await large.decode();
    if (image.isConnected) { image.onload = image.onerror = null; image.src = large.src; image.classList.add("ready", "original"); }
  } catch { /* A browser need not know the format: the small picture stays. */ }
}

async function fill(facts, row) {
  const put = (known) => facts.replaceChildren(
    ...fact("Distance", row.distance?.toFixed(4)), ...fact("Rank", row.rank && number(row.rank)),
    ...fact("Pixels", known.width && `${number(known.width)} × ${number(known.height)}`), ...fact("File", known.size && bytes(known.size)),
    ...fact("Changed", known.mtime && new Date(known.mtime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })),
    ...Object.entries(known.metadata ?? {}).flatMap(([name, value]) => fact(name, value === null ? null : String(value))),
    ...fact("Path", known.uri && h("span", { class: "path" }, known.uri)));
  put(row);
  if (row.upload) return;
  const ticket = ++asked;
  try {
    const known = await api.row(collection().name, row.id);
    if (ticket === asked) put(known);
  } catch { /* What the answer told is shown. */ }
}

dialog.addEventListener("click", (event) => { if (event.target === dialog || event.target.classList.contains("stage")) dialog.close(); });
dialog.addEventListener("close", () => { if (rows.length > 1) gridOf?.()?.focus(at); });
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const row = rows[at], example = row.upload ? { upload: row.upload } : { id: row.id };
  const keys = { ArrowLeft: () => step(-1), ArrowUp: () => step(-1), ArrowRight: () => step(1), ArrowDown: () => step(1), i: () => dialog.close(),
    "+": () => acts.onExample(example, "plus"), "=": () => acts.onExample(example, "plus"), "-": () => acts.onExample(example, "minus"), c: () => { dialog.close(); acts.onCrop(example, nameOf(row)); } };
  if (event.key === "Enter" && !event.target.closest("button, a")) keys.Enter = () => { dialog.close(); acts.onChoose(example); };
  if (event.key === " " && !event.target.closest("button, a")) keys[" "] = () => dialog.close();
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const had = document.activeElement?.getAttribute("aria-label");
  keys[event.key]();
  // The dialog is drawn anew: the focus stays where it was.
  if (dialog.open && !dialog.contains(document.activeElement)) (dialog.querySelector(`[aria-label="${CSS.escape(had ?? "")}"]:enabled`) ?? dialog).focus();
});
dialog.tabIndex = -1;

let touched = null;
dialog.addEventListener("touchstart", (event) => { touched = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
dialog.addEventListener("touchend", (event) => {
  if (!touched) return;
  const [end] = event.changedTouches, across = end.clientX - touched.clientX;
  if (Math.abs(across) > 60 && Math.abs(end.clientY - touched.clientY) < 60) step(across < 0 ? 1 : -1);
  touched = null;
}, { passive: true });
