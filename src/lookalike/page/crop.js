/** A part of an image as a query: drawn with the pointer, cut out by the browser, and uploaded. */

import * as api from "./api.js";
import { collection } from "./collections.js";
import { $, h, iconButton } from "./dom.js";
import { number } from "./format.js";
import { fileOf, imageAddresses, showFirst } from "./images.js";

const MIN_SIDE = 16; // pixels of the image
const MAX_PNG = 6e6; // pixels: larger parts are sent as JPEG
const JPEG_QUALITY = 0.95;
const MAX_WIDTH = 880; // CSS pixels of the dialog
const CHROME_HEIGHT = 170; // CSS pixels of the dialog without the image
const MIN_DRAG = 0.01; // of the image, below which a drag draws nothing
const KEY_STEP = 0.02; // of the image
const INITIAL_BOX = { x: 0.2, y: 0.2, width: 0.6, height: 0.6 };

const dialog = $("#cropper");

let image = null;
let rectangle = null;
let box = null; // in parts of the image, so that resizing the window keeps it
let fileName = "";
let actions = {};

/** Set what happens: `onFile(file)` with the part, `onFailure(error)`. */
export function prepareCrop(given) {
  actions = given;
}

// The sharpest first: the original, then an uploaded file, then a thumbnail.
function addressesOf(example) {
  const isRow = example.id !== undefined;
  const addresses = imageAddresses(example, 512);
  if (isRow && collection().originals) {
    return [api.originalUrl(collection().name, example.id), ...addresses];
  }
  // Not every browser shows an uploaded file's format; the server's thumbnail is next.
  return fileOf(example.upload) ? [addresses[0], ...addresses] : addresses;
}

/** Let the reader draw a part of an example, which has a name. */
export function openCrop(example, name) {
  fileName = `Crop of ${name}`;
  box = null;
  image = h("img", { alt: "The image to crop", draggable: "false" });
  rectangle = makeRectangle();
  const frame = h("div", { class: "frame" }, image, rectangle);
  showFirst(image, addressesOf(example), () => {
    dialog.close();
    actions.onFailure(new Error("This image is no longer available. Please upload it again."));
  });
  image.addEventListener("load", () => {
    fitImage();
    if (!box) setBox(INITIAL_BOX);
    rectangle.focus();
  });
  const title = h("h2", { id: "cropper-name" }, "Crop");
  const hint = h("p", { class: "hint" }, "Draw over the part that matters.");
  const close = iconButton("close", "Close", () => dialog.close());
  const send = { type: "button", class: "strong", onclick: sendPart };
  const extent = h("p", { class: "extent", role: "status" });
  dialog.replaceChildren(
    h("header", {}, title, hint, close),
    frame,
    h("footer", {}, extent, h("button", send, "Search with this crop")),
  );
  listenToPointer(frame);
  listenToKeys();
  dialog.showModal();
}

function makeRectangle() {
  const corners = ["nw", "ne", "sw", "se"].map((corner) =>
    h("span", { class: `corner ${corner}`, data: { corner } }),
  );
  const attributes = {
    class: "rectangle",
    tabindex: 0,
    role: "application",
    hidden: true,
    "aria-label": "The part. Arrow keys move it, with Shift they resize it, Enter searches.",
  };
  return h("div", attributes, corners);
}

function fitImage() {
  if (!image?.naturalWidth) return;
  const { naturalWidth, naturalHeight } = image;
  const width = Math.min(MAX_WIDTH, innerWidth - 24);
  const height = innerHeight - CHROME_HEIGHT;
  const scale = Math.min(width / naturalWidth, height / naturalHeight);
  image.style.width = `${naturalWidth * scale}px`;
}
addEventListener("resize", fitImage);

// ---- the box -----------------------------------------------------------------------------------

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function setBox(wanted) {
  const minWidth = Math.min(1, MIN_SIDE / image.naturalWidth);
  const minHeight = Math.min(1, MIN_SIDE / image.naturalHeight);
  const width = clamp(wanted.width, minWidth, 1);
  const height = clamp(wanted.height, minHeight, 1);
  const x = clamp(wanted.x, 0, 1 - width);
  const y = clamp(wanted.y, 0, 1 - height);
  box = { x, y, width, height };
  rectangle.hidden = false;
  rectangle.style.left = `${100 * x}%`;
  rectangle.style.top = `${100 * y}%`;
  rectangle.style.width = `${100 * width}%`;
  rectangle.style.height = `${100 * height}%`;
  const pixels = boxInPixels();
  const text = `${number(pixels.width)} × ${number(pixels.height)} pixels`;
  $(".extent", dialog).textContent = text;
}

function boxInPixels() {
  const { naturalWidth, naturalHeight } = image;
  return {
    x: Math.round(box.x * naturalWidth),
    y: Math.round(box.y * naturalHeight),
    width: Math.max(1, Math.round(box.width * naturalWidth)),
    height: Math.max(1, Math.round(box.height * naturalHeight)),
  };
}

// The box between two opposite corners.
function boxBetween(first, second) {
  return {
    x: Math.min(first.x, second.x),
    y: Math.min(first.y, second.y),
    width: Math.abs(second.x - first.x),
    height: Math.abs(second.y - first.y),
  };
}

function pointOf(event) {
  const bounds = image.getBoundingClientRect();
  return {
    x: clamp((event.clientX - bounds.left) / bounds.width, 0, 1),
    y: clamp((event.clientY - bounds.top) / bounds.height, 0, 1),
  };
}

function oppositeCorner(corner) {
  return {
    x: corner.includes("w") ? box.x + box.width : box.x,
    y: corner.includes("n") ? box.y + box.height : box.y,
  };
}

// A drag moves the rectangle, pulls one of its corners, or draws a new one.
function listenToPointer(frame) {
  let start = null; // where the drag began, or the corner that stays
  let movedBox = null; // the box before it is moved; null if the drag draws
  let isPullingCorner = false;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !image.naturalWidth) return;
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    const { corner } = event.target.dataset;
    isPullingCorner = Boolean(corner);
    movedBox = event.target === rectangle ? { ...box } : null;
    start = isPullingCorner ? oppositeCorner(corner) : pointOf(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!start) return;
    const point = pointOf(event);
    const dx = point.x - start.x;
    const dy = point.y - start.y;
    if (movedBox) setBox({ ...movedBox, x: movedBox.x + dx, y: movedBox.y + dy });
    else if (isPullingCorner || Math.hypot(dx, dy) > MIN_DRAG) setBox(boxBetween(start, point));
  });
  const end = () => {
    start = null;
    rectangle.focus();
  };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
}

const KEY_DIRECTIONS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function listenToKeys() {
  rectangle.addEventListener("keydown", (event) => {
    if (event.key === "Enter") sendPart();
    const direction = KEY_DIRECTIONS[event.key];
    if (!direction || !box) return;
    event.preventDefault();
    const [dx, dy] = direction.map((sign) => sign * KEY_STEP);
    if (event.shiftKey) setBox({ ...box, width: box.width + dx, height: box.height + dy });
    else setBox({ ...box, x: box.x + dx, y: box.y + dy });
  });
}

// ---- the part ----------------------------------------------------------------------------------

async function sendPart() {
  if (!box) return;
  const { x, y, width, height } = boxInPixels();
  const canvas = h("canvas", { width, height });
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  const type = width * height <= MAX_PNG ? "image/png" : "image/jpeg";
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, JPEG_QUALITY));
  dialog.close();
  actions.onFile(new File([blob], fileName, { type }));
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
