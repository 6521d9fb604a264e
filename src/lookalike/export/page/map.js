"use strict";
// A map of images on one canvas: dots when far out, and more and more of the images as one comes nearer.

const THUMB = 46, GAP = 5, LARGEST = 128; // CSS pixels: an image's longer side, the least space between two
const SHARE = 0.12, NEAR = 1.7; // images are shown once so many of the rows in question find room, or so near
const NEAREST = 64; // how far one can zoom in, from the whole map
const LISTED = 100;

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector) => document.querySelector(selector);
const count = data.names.length;
const places = decodePlaces(data.places);
const sheets = data.sheets.map((source) => { const image = new Image(); image.onload = redraw; image.src = source; return image; });
const canvas = $("#map"), context = canvas.getContext("2d", { alpha: false });
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const view = { x: 0.5, y: 0.5, scale: 1 }; // the place in the middle of the free area, and pixels a unit
const area = { width: 1, height: 1, ratio: 1, left: 0, top: 0, whole: 1 };
const off = new Set(); // labels that are switched off
let matches = null; // rows that the search found, or null
let found = null; // the same as a set
let pool = [], levels = []; // rows that may be images, and which of them are at each level of zoom
let drawn = []; // images on the canvas now: [row, left, top, width, height]
let hovered = -1, frame = 0, flight = 0, colours = {};

function decodePlaces(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), words = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, index) => words.getUint16(2 * index, true) / 65535);
}

const labelOf = (row) => data.labels[data.label[row]];
const pathOf = (row) => data.folders[data.folder[row]][0] + data.names[row];
function linkOf(row) {
  const [, link] = data.folders[data.folder[row]];
  return link && link + (data.tails[row] || data.names[row]);
}

// ---- what is shown ------------------------------------------------------------------------------------------

const shown = (row) => !off.has(data.label[row]);

function repool() {
  const rows = matches ?? data.order;
  pool = rows.filter((row) => shown(row) && data.sprite[row] >= 0);
  levels = [];
  redraw();
}

// The images of a level lie at least one image apart. Each level keeps those of the one before, so that nothing
// vanishes as one comes nearer, and adds what finds room.
function level(number) {
  for (let index = levels.length; index <= number; index++) {
    const apart = (THUMB + GAP) / (area.whole * 2 ** (index / 2)), cells = new Map(), rows = [];
    const free = (row) => {
      const [x, y] = [places[2 * row], places[2 * row + 1]];
      const [column, line] = [Math.floor(x / apart), Math.floor(y / apart)];
      for (let across = column - 1; across <= column + 1; across++) {
        for (let down = line - 1; down <= line + 1; down++) {
          const other = cells.get(across * 65536 + down);
          if (other !== undefined && Math.abs(places[2 * other] - x) < apart && Math.abs(places[2 * other + 1] - y) < apart) return;
        }
      }
      cells.set(column * 65536 + line, row);
      rows.push(row);
    };
    if (index) levels[index - 1].forEach(free);
    const before = new Set(rows);
    pool.forEach((row) => before.has(row) || free(row));
    levels.push(rows);
  }
  return levels[number];
}

function imagesNow() {
  if (!pool.length) return { rows: [], size: 0 };
  const zoom = view.scale / area.whole, number = Math.max(0, Math.floor(2 * Math.log2(zoom) + 1e-6));
  const rows = level(number);
  if (zoom < NEAR && rows.length < SHARE * pool.length) return { rows: [], size: 0 };
  // Where all have room they grow.
  let all = number;
  while (all && levels[all - 1].length === pool.length) all--;
  const room = rows.length === pool.length ? view.scale / area.whole / 2 ** (all / 2) : 1;
  return { rows, size: Math.min(LARGEST, THUMB * Math.max(1, room)) };
}

// ---- drawing ------------------------------------------------------------------------------------------------

const screenX = (x) => (x - view.x) * view.scale + area.left + (area.width - area.left) / 2;
const screenY = (y) => (y - view.y) * view.scale + area.top + (area.height - area.top) / 2;

function redraw() {
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
}

// How much of each pixel a dot covers, 0 to 256: `side` x `side` of them.
function dot(radius, alpha) {
  const side = 2 * Math.ceil(radius) + 1, middle = (side - 1) / 2, cover = new Uint16Array(side * side);
  for (let index = 0; index < cover.length; index++) {
    const away = Math.hypot((index % side) - middle, Math.floor(index / side) - middle);
    cover[index] = 256 * alpha * Math.min(1, Math.max(0, radius + 0.5 - away));
  }
  return { side, cover };
}

function draw() {
  const images = imagesNow(), asImage = new Set(images.rows);
  drawDots(asImage);
  context.setTransform(area.ratio, 0, 0, area.ratio, 0, 0);
  drawn = [];
  for (const row of images.rows) drawImage(row, images.size);
  if (hovered >= 0) drawHovered(images.size);
}

// Straight into the pixels: ten thousand dots take a few milliseconds, drawn one by one ten times as long.
function drawDots(asImage) {
  const { width, height } = canvas, image = area.image, pixels = new Uint32Array(image.data.buffer);
  const radius = Math.min(7, Math.max(1.8, 60 / Math.sqrt(count)) * Math.sqrt(Math.min(view.scale / area.whole, 6)));
  const [strong, faint] = [dot(radius * area.ratio, 0.9), dot(radius * area.ratio, 0.14)], { side } = strong;
  pixels.fill(packed(colours.ground));
  const stamp = (row, cover) => {
    const left = Math.round(screenX(places[2 * row]) * area.ratio - side / 2);
    const top = Math.round(screenY(places[2 * row + 1]) * area.ratio - side / 2);
    if (left + side <= 0 || top + side <= 0 || left >= width || top >= height) return;
    const [red, green, blue] = colours.labels[data.label[row]];
    for (let y = Math.max(0, -top); y < side && top + y < height; y++) {
      for (let x = Math.max(0, -left); x < side && left + x < width; x++) {
        const share = cover[y * side + x], at = (top + y) * width + left + x, under = pixels[at];
        if (!share) continue;
        const [r, g, b] = [under & 255, (under >> 8) & 255, (under >> 16) & 255];
        pixels[at] = 0xff000000 | ((b + (((blue - b) * share) >> 8)) << 16) | ((g + (((green - g) * share) >> 8)) << 8)
          | (r + (((red - r) * share) >> 8));
      }
    }
  };
  const rows = data.order.filter((row) => shown(row) && !asImage.has(row));
  if (found) for (const row of rows) found.has(row) || stamp(row, faint.cover);
  for (const row of rows) if (!found || found.has(row)) stamp(row, strong.cover);
  context.putImageData(image, 0, 0);
}

// A colour as a canvas keeps it in memory: alpha, blue, green, red.
const packed = ([red, green, blue]) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
const css = (parts) => `rgb(${parts.join(" ")})`;

function fitted(row, size) {
  const ratio = data.ratios[row];
  return ratio > 1 ? [size, Math.max(4, size / ratio)] : [Math.max(4, size * ratio), size];
}

function drawImage(row, size) {
  const [width, height] = fitted(row, size);
  const left = screenX(places[2 * row]) - width / 2, top = screenY(places[2 * row + 1]) - height / 2;
  if (left + width < 0 || top + height < 0 || left > area.width || top > area.height) return;
  context.fillStyle = css(colours.labels[data.label[row]]);
  context.fillRect(left - 2, top - 2, width + 4, height + 4);
  drawSprite(context, row, left, top, width, height);
  drawn.push([row, left - 2, top - 2, width + 4, height + 4]);
}

function drawSprite(pen, row, left, top, width, height) {
  const sprite = data.sprite[row], onSheet = data.columns ** 2;
  const sheet = sheets[Math.floor(sprite / onSheet)], index = sprite % onSheet;
  if (sprite < 0 || !sheet.complete) return;
  const x = (index % data.columns) * data.side, y = Math.floor(index / data.columns) * data.side;
  // Half a pixel in, so that no neighbour on the sheet shines through.
  pen.drawImage(sheet, x + 0.5, y + 0.5, data.side - 1, data.side - 1, left, top, width, height);
}

function drawHovered(size) {
  const x = screenX(places[2 * hovered]), y = screenY(places[2 * hovered + 1]);
  context.strokeStyle = colours.ink;
  context.lineWidth = 2;
  const image = drawn.find(([row]) => row === hovered);
  if (image) {
    drawImage(hovered, size);
    context.strokeRect(image[1] - 1, image[2] - 1, image[3] + 2, image[4] + 2);
    return;
  }
  context.beginPath();
  context.arc(x, y, 9, 0, 7);
  context.stroke();
}

// A picture in a canvas of its own: the small one at once, the larger one when it is decoded.
function paint(target, row, size) {
  const [width, height] = fitted(row, size);
  Object.assign(target, { width: Math.round(width * area.ratio), height: Math.round(height * area.ratio) });
  Object.assign(target.style, { width: `${width}px`, height: `${height}px` });
  target.dataset.row = row;
  const pen = target.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.fillStyle = css(colours.labels[data.label[row]]);
  if (data.sprite[row] < 0) pen.fillRect(0, 0, target.width, target.height);
  drawSprite(pen, row, 0, 0, target.width, target.height);
  if (!data.previews[row] || size <= data.side) return;
  const preview = new Image();
  preview.onload = () => Number(target.dataset.row) === row && pen.drawImage(preview, 0, 0, target.width, target.height);
  preview.src = data.previews[row];
}

// ---- moving -------------------------------------------------------------------------------------------------

function measure() {
  const box = canvas.getBoundingClientRect(), panel = $("#panel").getBoundingClientRect(), narrow = box.width <= 640;
  const before = area.whole;
  Object.assign(area, { width: box.width, height: box.height, ratio: devicePixelRatio || 1 });
  Object.assign(area, { left: narrow ? 0 : panel.right, top: narrow ? $("#panel search").getBoundingClientRect().bottom : 0 });
  canvas.width = Math.round(box.width * area.ratio);
  canvas.height = Math.round(box.height * area.ratio);
  area.image = context.createImageData(Math.max(1, canvas.width), Math.max(1, canvas.height));
  area.whole = 0.9 * Math.max(120, Math.min(area.width - area.left, area.height - area.top));
  view.scale *= area.whole / before;
  const style = getComputedStyle(document.documentElement);
  const lift = parseFloat(style.getPropertyValue("--lift")) / 100;
  colours = { ground: lifted(style.getPropertyValue("--ground"), 0), ink: style.getPropertyValue("--ink") };
  colours.labels = data.labels.map(({ colour }) => lifted(colour, lift));
  levels = [];
  redraw();
}

// A colour nearer to white, as the style sheet has it on a dark ground.
function lifted(colour, share) {
  const parts = [1, 3, 5].map((start) => parseInt(colour.trim().slice(start, start + 2), 16));
  return parts.map((part) => Math.round(part + (255 - part) * share));
}

function bounded(next) {
  next.scale = Math.min(area.whole * NEAREST, Math.max(area.whole / 2, next.scale));
  next.x = Math.min(1, Math.max(0, next.x));
  next.y = Math.min(1, Math.max(0, next.y));
  return next;
}

function go(next) {
  cancelAnimationFrame(flight);
  flight = 0;
  Object.assign(view, bounded(next));
  redraw();
}

function fly(next) {
  cancelAnimationFrame(flight);
  bounded(next);
  if (calm.matches) { go(next); return; }
  const from = { ...view }, start = performance.now();
  const step = (now) => {
    const part = Math.min(1, Math.max(0, now - start) / 260), eased = 1 - (1 - part) ** 3;
    view.scale = from.scale * (next.scale / from.scale) ** eased;
    // The place moves as the scale does: what is in the middle of the two views stays so.
    const share = Math.abs(next.scale - from.scale) < 1e-6 * from.scale ? eased
      : (1 / from.scale - 1 / view.scale) / (1 / from.scale - 1 / next.scale);
    view.x = from.x + (next.x - from.x) * share;
    view.y = from.y + (next.y - from.y) * share;
    // What was rounded on the way is not kept.
    if (part === 1) Object.assign(view, next);
    draw();
    flight = part < 1 ? requestAnimationFrame(step) : 0;
  };
  flight = requestAnimationFrame(step);
}

// The view that zooms by a factor and leaves a point of the screen where it is.
function zoomed(factor, x = screenX(view.x), y = screenY(view.y)) {
  const scale = bounded({ ...view, scale: view.scale * factor }).scale;
  const [dx, dy] = [x - screenX(view.x), y - screenY(view.y)];
  return { scale, x: view.x + dx / view.scale - dx / scale, y: view.y + dy / view.scale - dy / scale };
}

const whole = () => ({ x: 0.5, y: 0.5, scale: area.whole });

function around(rows) {
  const xs = rows.map((row) => places[2 * row]), ys = rows.map((row) => places[2 * row + 1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const extent = Math.max(right - left, bottom - top, 0.08);
  return { x: (left + right) / 2, y: (top + bottom) / 2, scale: area.whole / extent / 1.15 };
}

// ---- pointing -----------------------------------------------------------------------------------------------

function rowAt(x, y) {
  for (let index = drawn.length - 1; index >= 0; index--) {
    const [row, left, top, width, height] = drawn[index];
    if (x >= left && y >= top && x <= left + width && y <= top + height) return row;
  }
  let nearest = -1, least = 14 ** 2;
  for (let row = 0; row < count; row++) {
    if (!shown(row) || (found && !found.has(row))) continue;
    const distance = (screenX(places[2 * row]) - x) ** 2 + (screenY(places[2 * row + 1]) - y) ** 2;
    if (distance < least) [nearest, least] = [row, distance];
  }
  return nearest;
}

function setLabel(element, row) {
  element.querySelector("i").style.setProperty("--colour", labelOf(row).colour);
  element.querySelector("span").textContent = data.texts[row] ?? labelOf(row).name;
}

function hover(row, x = 0, y = 0) {
  const card = $("#card");
  if (row !== hovered) {
    hovered = row;
    canvas.classList.toggle("over", row >= 0);
    card.hidden = row < 0;
    if (row >= 0) {
      paint(card.querySelector("canvas"), row, data.previews[row] ? 208 : 160);
      card.querySelector(".name").textContent = data.names[row];
      setLabel(card.querySelector(".label"), row);
    }
    redraw();
  }
  if (row < 0) return;
  const box = card.getBoundingClientRect(), image = drawn.find(([other]) => other === row);
  const [from, to] = image ? [image[1] - 10, image[1] + image[3] + 10] : [x - 18, x + 18];
  const left = to + box.width > area.width - 8 ? from - box.width : to;
  const top = Math.min(Math.max(8, y - box.height / 2), area.height - box.height - 8);
  card.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
}
