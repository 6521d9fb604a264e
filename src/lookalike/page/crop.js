// A part of a picture, drawn with the pointer, as a query of its own. It is cut out here and sent.

import * as api from "./api.js";
import { collection } from "./collections.js";
import { $, h, iconButton, number } from "./dom.js";
import { addresses, fileOf, showFirst } from "./images.js";

const dialog = $("#cutter"), LEAST = 16, EXACT = 6e6; // pixels of the picture; pixels up to which a PNG is sent
let image = null, box = null, part = "", onFile = () => {}, fail = () => {};

/** `acts` are `onFile(file)`, for what was cut out, and `onFailure(error)`. */
export function prepareCrop(acts) { [onFile, fail] = [acts.onFile, acts.onFailure]; }

const sources = (example) => {
  const original = example.id !== undefined && collection().originals ? [api.original(collection().name, example.id)] : [];
  return [...original, ...(fileOf(example.upload) ? [addresses(example, 512)[0]] : []), ...addresses(example, 512)];
};

export function openCrop(example, name) {
  part = `Part of ${name}`;
  const frame = h("div", { class: "frame" }), rectangle = h("div", { class: "rectangle", tabindex: 0, role: "application", hidden: true,
    "aria-label": "The part. Arrows move it, with Shift they change its size, Enter searches." }, ["nw", "ne", "sw", "se"].map((corner) => h("span", { class: `corner ${corner}`, data: { corner } })));
  image = h("img", { alt: "The picture to take a part of", draggable: "false" });
  box = null;
  showFirst(image, sources(example), () => { dialog.close(); fail(new Error("This picture can no longer be had: give it again.")); });
  image.addEventListener("load", () => {
    fit();
    if (!box) set({ x: 0.2, y: 0.2, width: 0.6, height: 0.6 }, rectangle);
    rectangle.focus();
  });
  frame.append(image, rectangle);
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "cutter-name" }, "Search by a part"), h("p", { class: "hint" }, "Draw over what matters."), iconButton("close", "Close", () => dialog.close())),
    frame,
    h("footer", {}, h("p", { class: "extent", role: "status" }), h("button", { type: "button", class: "strong", onclick: send }, "Search by this part")));
  draw(frame, rectangle);
  dialog.showModal();
}

function fit() {
  if (!image?.naturalWidth) return;
  const scale = Math.min(Math.min(880, innerWidth - 24) / image.naturalWidth, (innerHeight - 170) / image.naturalHeight);
  image.style.width = `${image.naturalWidth * scale}px`;
}
addEventListener("resize", fit);

const bounded = (value, least, most) => Math.min(most, Math.max(least, value));

// The box is in parts of the picture, so that it stays where it is when the window changes.
function set(next, rectangle) {
  const least = { width: Math.min(1, LEAST / image.naturalWidth), height: Math.min(1, LEAST / image.naturalHeight) };
  const width = bounded(next.width, least.width, 1), height = bounded(next.height, least.height, 1);
  box = { x: bounded(next.x, 0, 1 - width), y: bounded(next.y, 0, 1 - height), width, height };
  rectangle.hidden = false;
  for (const [name, share] of [["left", box.x], ["top", box.y], ["width", width], ["height", height]]) rectangle.style[name] = `${100 * share}%`;
  const { width: across, height: down } = pixels();
  $(".extent", dialog).textContent = `${number(across)} × ${number(down)} pixels`;
}

const pixels = () => ({
  x: Math.round(box.x * image.naturalWidth), y: Math.round(box.y * image.naturalHeight),
  width: Math.max(1, Math.round(box.width * image.naturalWidth)), height: Math.max(1, Math.round(box.height * image.naturalHeight)),
});

function draw(frame, rectangle) {
  let from = null, before = null, corner = null;
  const place = (event) => {
    const bounds = image.getBoundingClientRect();
    return { x: bounded((event.clientX - bounds.left) / bounds.width, 0, 1), y: bounded((event.clientY - bounds.top) / bounds.height, 0, 1) };
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !image.naturalWidth) return;
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    corner = event.target.dataset.corner ?? null;
    before = corner || event.target === rectangle ? { ...box } : null;
    from = place(event);
    if (corner) from = { x: corner.includes("w") ? box.x + box.width : box.x, y: corner.includes("n") ? box.y + box.height : box.y };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = place(event);
    if (before && !corner) set({ ...before, x: before.x + to.x - from.x, y: before.y + to.y - from.y }, rectangle);
    else if (corner || Math.hypot(to.x - from.x, to.y - from.y) > 0.01) {
      set({ x: Math.min(from.x, to.x), y: Math.min(from.y, to.y), width: Math.abs(to.x - from.x), height: Math.abs(to.y - from.y) }, rectangle);
    }
  });
  const end = () => { from = null; rectangle.focus(); };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
  rectangle.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") send();
    if (!by || !box) return;
    event.preventDefault();
    const [x, y] = by.map((part) => part * 0.02);
    set(event.shiftKey ? { ...box, width: box.width + x, height: box.height + y } : { ...box, x: box.x + x, y: box.y + y }, rectangle);
  });
}

async function send() {
  if (!box) return;
  const { x, y, width, height } = pixels(), canvas = h("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  const type = width * height <= EXACT ? "image/png" : "image/jpeg";
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, 0.95));
  dialog.close();
  onFile(new File([blob], part, { type }));
}

dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
