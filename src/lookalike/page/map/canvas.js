// What is drawn of the map: dots, the pictures that find room among them, and where the query lies.

import { colourOf } from "../collections.js";
import { calm } from "../dom.js";
import { parts, warmth } from "../palette.js";
import { isDark } from "../themes.js";
import { Camera } from "./camera.js";
import { makeDots } from "./dots.js";
import { Thumbnails } from "./thumbnails.js";

const SIDE = 40, GAP = 9, LARGEST = 150; // CSS pixels: a picture's longer side, the least space between two
const GROWTH = 1.16; // from one level of zoom to the next, of which there are two for each doubling
const FADE = 180, FAINT = 34; // milliseconds; of 255
const CROWDED = 20_000; // dots, of which one sees through more, so that the dense stands out

const sideAt = (depth) => Math.min(LARGEST, SIDE * GROWTH ** depth);

export class Plane {
  /** `room()` says how much of the screen is covered: left and bottom. */
  constructor(points, collection, dotted, canvas, room) {
    Object.assign(this, { points, canvas, dotted, room, off: new Set(), selected: null, far: null, query: null, hovered: -1, drawn: [], lasso: null, frame: 0 });
    this.context = canvas.getContext("2d");
    this.dots = makeDots(dotted, points);
    this.camera = new Camera(() => this.redraw());
    this.thumbnails = new Thumbnails(collection, () => this.redraw());
    this.watch = new ResizeObserver(() => this.measure());
    this.watch.observe(canvas.parentElement);
    this.colourByLabel();
  }

  stop() {
    this.camera.stop();
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
  }

  measure() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width) return;
    this.ratio = Math.min(2, devicePixelRatio);
    for (const canvas of [this.canvas, this.dotted]) Object.assign(canvas, { width: Math.round(width * this.ratio), height: Math.round(height * this.ratio) });
    const { left, bottom } = this.room();
    this.camera.resize(width, height, left, bottom);
    this.apart = (level) => (sideAt(level) + GAP) / this.camera.whole / 2 ** (level / 2);
    this.points.restart();
  }

  shown = (row) => !this.off.has(this.points.label[row]);

  // ---- colours ----------------------------------------------------------------------------------------------------

  colourByLabel() {
    this.far = null;
    this.recolour();
    this.points.pool([...this.points.mixed].filter(this.shown));
  }

  /** Colour by how far each row is from the query; returns the least and the largest distance. */
  colourByDistance(far) {
    const near = [...this.points.mixed].filter((row) => !Number.isNaN(far[row])).sort((one, other) => far[one] - far[other]);
    // A few that are very far take no colours from the others.
    const low = far[near[0]], high = far[near[Math.floor(0.98 * (near.length - 1))]];
    this.far = { values: far, near, low, high };
    this.recolour();
    this.points.pool(near.filter(this.shown));
    return { low, high };
  }

  recolour() {
    const { points } = this, dark = isDark(), lift = dark ? 0.24 : 0, colours = new Uint8Array(4 * points.count);
    const labels = [...points.labels, null].map((label) => parts(colourOf(label)).map((part) => part + (255 - part) * lift));
    const strong = points.count > CROWDED ? 150 : 235;
    const steps = Array.from({ length: 256 }, (_, step) => warmth(step / 255, dark));
    for (let row = 0; row < points.count; row++) {
      const far = this.far && (this.far.values[row] - this.far.low) / (this.far.high - this.far.low || 1);
      const colour = this.far ? steps[Math.round(255 * Math.min(1, Number.isNaN(far) ? 1 : far))] : labels.at(points.label[row]);
      colours.set(colour, 4 * row);
      colours[4 * row + 3] = !this.shown(row) ? 0 : this.selected && !this.selected.has(row) ? FAINT : strong;
    }
    this.colours = colours;
    this.dots.paint(colours, this.far ? this.order() : points.mixed);
    this.redraw();
  }

  // The nearest are drawn last, over the others.
  order() {
    const near = new Set(this.far.near), without = [...this.points.mixed].filter((row) => !near.has(row));
    return Uint32Array.from([...without, ...this.far.near.toReversed()]);
  }

  hide(off) {
    this.off = off;
    this.points.pool((this.far ? this.far.near : [...this.points.mixed]).filter(this.shown));
    this.recolour();
  }

  select(rows) {
    this.selected = rows ? new Set(rows) : null;
    this.recolour();
  }

  place(query) {
    this.query = query;
    this.redraw();
  }

  // ---- drawing ----------------------------------------------------------------------------------------------------

  redraw() {
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** Whether nothing moves any more. */
  get settled() {
    return !this.frame && !this.camera.flight;
  }

  pictures() {
    const { camera, points } = this, depth = Math.max(0, 2 * Math.log2(camera.zoom) + 1e-6);
    return { rows: points.level(Math.floor(depth), this.apart), side: sideAt(depth) };
  }

  draw() {
    const { context, camera, ratio } = this;
    if (!ratio) return;
    this.dots.draw(camera, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    context.imageSmoothingQuality = "high";
    this.drawn = [];
    this.fading = false;
    this.drawPictures();
    if (this.hovered >= 0) this.drawHovered();
    if (this.query) this.drawQuery();
    if (this.lasso) this.drawLasso();
    if (this.fading || this.points.unfinished) this.redraw();
  }

  drawPictures() {
    const { camera, points } = this, { rows, side } = this.pictures(), now = performance.now(), visible = [];
    this.side = side;
    for (const row of rows) {
      const x = camera.screenX(points.places[2 * row]), y = camera.screenY(points.places[2 * row + 1]);
      if (x < -side || y < -side || x > camera.width + side || y > camera.height + side) continue;
      visible.push(row);
      this.drawPicture(row, x, y, side, now);
    }
    this.thumbnails.want(visible.map((row) => points.ids[row]));
  }

  drawPicture(row, x, y, side, now) {
    const entry = this.thumbnails.get(this.points.ids[row]);
    if (!entry) return;
    const { context } = this, { naturalWidth: across, naturalHeight: down } = entry.image, scale = side / Math.max(across, down);
    const width = Math.max(6, across * scale), height = Math.max(6, down * scale), left = x - width / 2, top = y - height / 2;
    const age = calm.matches ? 1 : Math.min(1, (now - entry.born) / FADE), away = this.selected && !this.selected.has(row);
    if (age < 1) this.fading = true;
    context.globalAlpha = age * (away ? 0.16 : 1);
    context.fillStyle = `rgb(${this.colours.subarray(4 * row, 4 * row + 3).join(" ")})`;
    context.beginPath();
    context.roundRect(left - 2, top - 2, width + 4, height + 4, 5);
    context.fill();
    context.save();
    context.beginPath();
    context.roundRect(left, top, width, height, 3.5);
    context.clip();
    context.drawImage(entry.image, left, top, width, height);
    context.restore();
    context.globalAlpha = 1;
    this.drawn.push([row, left, top, width, height]);
  }

  drawHovered() {
    const { context, camera, points, hovered } = this, box = this.drawn.find(([row]) => row === hovered);
    context.strokeStyle = isDark() ? "#fff" : "#111";
    context.lineWidth = 2.5;
    context.beginPath();
    if (box) context.roundRect(box[1] - 3, box[2] - 3, box[3] + 6, box[4] + 6, 6);
    else context.arc(camera.screenX(points.places[2 * hovered]), camera.screenY(points.places[2 * hovered + 1]), 9, 0, 7);
    context.stroke();
  }

  drawQuery() {
    const { context, camera, query } = this, x = camera.screenX(query.x), y = camera.screenY(query.y), radius = 25;
    context.save();
    context.shadowColor = "rgb(0 0 0 / .4)";
    context.shadowBlur = 12;
    context.fillStyle = isDark() ? "#fff" : "#111";
    context.beginPath();
    context.arc(x, y, radius + 4, 0, 7);
    context.fill();
    context.restore();
    const { image } = query, { naturalWidth: across, naturalHeight: down } = image, side = Math.min(across, down);
    if (!side) return;
    context.save();
    context.beginPath();
    context.arc(x, y, radius + 1, 0, 7);
    context.clip();
    context.drawImage(image, (across - side) / 2, (down - side) / 2, side, side, x - radius - 1, y - radius - 1, 2 * radius + 2, 2 * radius + 2);
    context.restore();
  }

  drawLasso() {
    const { context, lasso } = this;
    context.beginPath();
    lasso.forEach(([x, y], at) => context[at ? "lineTo" : "moveTo"](x, y));
    context.closePath();
    context.fillStyle = "rgb(60 130 210 / .16)";
    context.fill();
    context.strokeStyle = isDark() ? "#8fc4ff" : "#1767b3";
    context.lineWidth = 2;
    context.stroke();
  }

  /** The row at a place of the screen, or -1. */
  at(x, y, reach = 14) {
    for (let index = this.drawn.length - 1; index >= 0; index--) {
      const [row, left, top, width, height] = this.drawn[index];
      if (x >= left && y >= top && x <= left + width && y <= top + height) return row;
    }
    return this.points.nearest(this.camera.placeX(x), this.camera.placeY(y), reach / this.camera.scale, this.shown);
  }
}
