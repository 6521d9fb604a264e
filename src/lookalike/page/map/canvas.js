/** The drawn map: dots, the images that have room among them, the query and the lasso. */

import { reducedMotion } from "../dom.js";
import { distanceColor, rgbOf } from "../palette.js";
import { isDark } from "../themes.js";
import { Camera } from "./camera.js";
import { makeDots } from "./dots.js";
import { Levels } from "./levels.js";
import { SpatialIndex } from "./spatial_index.js";

// CSS pixels: an image's longer side at the overview and at most, the least space between two.
const BASE_SIDE = 40;
const MAX_SIDE = 150;
const GAP = 9;
// Images grow by this much from one level of zoom to the next; two levels double the zoom.
const GROWTH = 1.16;

const FADE = 180; // milliseconds
const DARK_LIFT = 0.24; // how much lighter labels' colors are on a dark ground

// Opacities of dots, of 255. Crowded dots are more transparent, so that dense regions stand out.
const FAINT = 34;
const CROWDED = 150;
const STRONG = 235;
const CROWD = 20_000;
const FAINT_IMAGE = 0.16; // of 1

// At the most zoom, even the nearest neighbors of a sample are this many images apart.
const APART = 2;
const NEIGHBOR_SAMPLE = 500; // rows
const MOST_ZOOMS = [4, 200]; // the bounds of the most zoom

const QUERY_RADIUS = 25; // CSS pixels
const OUTLIERS = 0.98; // distances beyond this quantile share the last color

const sideAt = (depth) => Math.min(MAX_SIDE, BASE_SIDE * GROWTH ** depth);

export class MapCanvas {
  /**
   * @param {MapData} data
   * @param {HTMLCanvasElement} dotsCanvas  Below; holds the dots.
   * @param {HTMLCanvasElement} canvas  Above; holds all else and takes the pointer.
   * @param {() => {left: number, bottom: number}} covered  How much of the screen is covered.
   *
   * `onView(isOverview, isEmpty)` is called with each frame.
   */
  constructor(data, dotsCanvas, canvas, covered) {
    Object.assign(this, { data, dotsCanvas, canvas, covered });
    this.hidden = new Set(); // indices of labels
    this.highlighted = null; // a set of rows, or null: all are alike
    this.onlyImages = false; // whether only highlighted rows are images
    this.distances = null; // what colorByDistance() found, or null: colors are those of labels
    this.query = null; // { x, y, image }
    this.hovered = -1;
    this.lasso = null; // points of the screen
    this.drawn = []; // the images of the last frame: { row, left, top, width, height }
    this.frame = 0;
    this.onView = () => {};

    this.context = canvas.getContext("2d");
    this.dots = makeDots(dotsCanvas, data.positions);
    this.index = new SpatialIndex(data.positions);
    this.levels = new Levels(data.positions);
    this.leastDistance = this.findLeastDistance();
    this.camera = new Camera(() => this.redraw());
    data.thumbnails.onLoad = () => this.redraw();
    this.resizing = new ResizeObserver(() => this.measure());
    this.resizing.observe(canvas.parentElement);
    this.colorByLabel();
  }

  stop() {
    this.camera.stop();
    this.resizing.disconnect();
    cancelAnimationFrame(this.frame);
    this.data.thumbnails.onLoad = () => {};
  }

  /** Fit the canvases to the screen. */
  measure() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width) return;
    this.ratio = Math.min(2, devicePixelRatio);
    for (const canvas of [this.canvas, this.dotsCanvas]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    const { left, bottom } = this.covered();
    this.camera.resize(width, height, left, bottom);
    const leastPixels = this.leastDistance * this.camera.overviewScale;
    const separating = (APART * (MAX_SIDE + GAP)) / leastPixels;
    const [least, most] = MOST_ZOOMS;
    this.camera.maxZoom = Math.min(most, Math.max(least, separating));
    this.levels.restart();
  }

  // Of the rows' distances to their nearest neighbors, about the smallest.
  findLeastDistance() {
    const sample = [...this.data.order.subarray(0, NEIGHBOR_SAMPLE)];
    const distances = sample.map((row) => this.index.nearestDistance(row));
    return Math.min(1, ...distances);
  }

  /** Whether no shown row is near the part of the map on the screen. */
  get isEmptyView() {
    const { camera } = this;
    const reach = Math.hypot(camera.width, camera.height) / 2 / camera.scale;
    const x = camera.mapX(camera.width / 2);
    const y = camera.mapY(camera.height / 2);
    return this.index.nearest(x, y, reach, this.isShown) < 0;
  }

  /** Whether a row's label is shown. */
  isShown = (row) => !this.hidden.has(this.data.labelIndex[row]);

  isHighlighted = (row) => !this.highlighted || this.highlighted.has(row);

  // ---- what is shown, and in which colors ------------------------------------------------------

  colorByLabel() {
    this.distances = null;
    this.updateCandidates();
    this.recolor();
  }

  /** Color by each row's distance, NaN where there is none; return the scale's ends. */
  colorByDistance(distances) {
    const sorted = [...this.data.order].filter((row) => !Number.isNaN(distances[row]));
    sorted.sort((first, second) => distances[first] - distances[second]);
    const low = distances[sorted[0]];
    const high = distances[sorted[Math.floor(OUTLIERS * (sorted.length - 1))]];
    this.distances = { values: distances, sorted, low, high };
    this.updateCandidates();
    this.recolor();
    return { low, high };
  }

  /** Hide the rows of some labels. */
  hideLabels(hidden) {
    this.hidden = hidden;
    this.updateCandidates();
    this.recolor();
  }

  /** Make some rows stand out, or none if `rows` is null; others may stop being images. */
  highlight(rows, { onlyImages = false } = {}) {
    this.highlighted = rows && new Set(rows);
    this.onlyImages = onlyImages;
    this.updateCandidates();
    this.recolor();
  }

  showQuery(query) {
    this.query = query;
    this.redraw();
  }

  // Near ones are the first to become images; else a random choice stands for all.
  updateCandidates() {
    const rows = this.distances ? this.distances.sorted : [...this.data.order];
    const shown = rows.filter(this.isShown);
    this.levels.setCandidates(this.onlyImages ? shown.filter(this.isHighlighted) : shown);
    this.redraw();
  }

  /** Compute the colors again, after the labels, the distances or the theme changed. */
  recolor() {
    const { data } = this;
    const dark = isDark();
    const colorOf = this.distances ? this.distanceColors(dark) : this.labelColors(dark);
    const opacity = data.count > CROWD ? CROWDED : STRONG;
    const colors = new Uint8Array(4 * data.count);
    for (let row = 0; row < data.count; row++) {
      colors.set(colorOf(row), 4 * row);
      if (this.isShown(row)) colors[4 * row + 3] = this.isHighlighted(row) ? opacity : FAINT;
    }
    this.colors = colors;
    this.dots.paint(colors, this.drawingOrder());
    this.redraw();
  }

  labelColors(dark) {
    const lift = dark ? DARK_LIFT : 0;
    const lighten = (part) => part + (255 - part) * lift;
    const colors = this.data.labels.map(({ color }) => rgbOf(color).map(lighten));
    return (row) => colors[this.data.labelIndex[row]];
  }

  distanceColors(dark) {
    const steps = Array.from({ length: 256 }, (_, step) => distanceColor(step / 255, dark));
    const { values, low, high } = this.distances;
    const range = high - low || 1;
    return (row) => {
      const share = (values[row] - low) / range;
      return steps[Math.round(255 * Math.min(1, Number.isNaN(share) ? 1 : share))];
    };
  }

  // What matters is drawn last, over the rest: the nearest, or the highlighted.
  drawingOrder() {
    const rows = [...this.data.order];
    if (this.distances) {
      const near = new Set(this.distances.sorted);
      const others = rows.filter((row) => !near.has(row));
      return Uint32Array.from([...others, ...this.distances.sorted.toReversed()]);
    }
    if (!this.highlighted) return this.data.order;
    const others = rows.filter((row) => !this.highlighted.has(row));
    return Uint32Array.from([...others, ...rows.filter(this.isHighlighted)]);
  }

  // ---- drawing ---------------------------------------------------------------------------------

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** Whether nothing moves, and all images have been loaded and drawn. */
  get isSettled() {
    const isMoving = this.frame || this.camera.flight || this.levels.unfinished;
    return !isMoving && this.data.thumbnails.isLoaded;
  }

  /** The rows that are images at the current zoom, and the longer side of each. */
  imageRows() {
    const depth = Math.max(0, 2 * Math.log2(this.camera.zoom) + 1e-6);
    const overviewScale = this.camera.overviewScale;
    const spacing = (level) => (sideAt(level) + GAP) / (overviewScale * 2 ** (level / 2));
    return { rows: this.levels.at(Math.floor(depth), spacing), side: sideAt(depth) };
  }

  draw() {
    const { context, camera, ratio } = this;
    if (!ratio) return;
    this.dots.draw(camera, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    context.imageSmoothingQuality = "high";
    const fading = this.drawImages();
    if (this.hovered >= 0) this.drawHovered();
    if (this.query) this.drawQuery();
    if (this.lasso) this.drawLasso();
    this.onView(camera.isOverview, this.isEmptyView);
    if (fading || this.levels.unfinished) this.redraw();
  }

  screenPosition(row) {
    const { positions } = this.data;
    const x = this.camera.screenX(positions[2 * row]);
    const y = this.camera.screenY(positions[2 * row + 1]);
    return [x, y];
  }

  // Return whether an image is still fading in.
  drawImages() {
    const { rows, side } = this.imageRows();
    const { width, height } = this.camera;
    const now = performance.now();
    const visible = [];
    let fading = false;
    this.drawn = [];
    for (const row of rows) {
      const [x, y] = this.screenPosition(row);
      if (x < -side || y < -side || x > width + side || y > height + side) continue;
      visible.push(row);
      const opacity = this.drawImage(row, x, y, side, now);
      if (opacity < 1) fading = true;
    }
    this.data.thumbnails.want(visible, side * this.ratio);
    return fading;
  }

  // Return how far the image has faded in, 0 to 1.
  drawImage(row, x, y, side, now) {
    const { context } = this;
    const thumbnail = this.data.thumbnails.get(row, side * this.ratio);
    if (!thumbnail) return 1;
    const { ratio } = thumbnail;
    const width = Math.max(6, ratio > 1 ? side : side * ratio);
    const height = Math.max(6, ratio > 1 ? side / ratio : side);
    const left = x - width / 2;
    const top = y - height / 2;
    const age = (now - thumbnail.loadedAt) / FADE;
    const opacity = reducedMotion.matches ? 1 : Math.min(1, age);

    // The frame has the label's color.
    context.globalAlpha = opacity * (this.isHighlighted(row) ? 1 : FAINT_IMAGE);
    context.fillStyle = `rgb(${this.colors.subarray(4 * row, 4 * row + 3).join(" ")})`;
    context.beginPath();
    context.roundRect(left - 2, top - 2, width + 4, height + 4, 5);
    context.fill();
    context.save();
    context.beginPath();
    context.roundRect(left, top, width, height, 3.5);
    context.clip();
    context.drawImage(thumbnail.image, ...thumbnail.source, left, top, width, height);
    context.restore();
    context.globalAlpha = 1;
    this.drawn.push({ row, left, top, width, height });
    return opacity;
  }

  /** Where a row's image was drawn, or undefined: it is a dot. */
  boxOf(row) {
    return this.drawn.find((box) => box.row === row);
  }

  drawHovered() {
    const { context } = this;
    const box = this.boxOf(this.hovered);
    context.strokeStyle = isDark() ? "#fff" : "#111";
    context.lineWidth = 2.5;
    context.beginPath();
    if (box) {
      context.roundRect(box.left - 3, box.top - 3, box.width + 6, box.height + 6, 6);
    } else {
      context.arc(...this.screenPosition(this.hovered), 9, 0, 2 * Math.PI);
    }
    context.stroke();
  }

  // A round image with a border and a shadow.
  drawQuery() {
    const { context, camera, query } = this;
    const x = camera.screenX(query.x);
    const y = camera.screenY(query.y);
    context.save();
    context.shadowColor = "rgb(0 0 0 / .4)";
    context.shadowBlur = 12;
    context.fillStyle = isDark() ? "#fff" : "#111";
    context.beginPath();
    context.arc(x, y, QUERY_RADIUS + 4, 0, 2 * Math.PI);
    context.fill();
    context.restore();

    const { naturalWidth, naturalHeight } = query.image;
    const square = Math.min(naturalWidth, naturalHeight);
    if (!square) return;
    const radius = QUERY_RADIUS + 1;
    const source = [(naturalWidth - square) / 2, (naturalHeight - square) / 2, square, square];
    const target = [x - radius, y - radius, 2 * radius, 2 * radius];
    context.save();
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.clip();
    context.drawImage(query.image, ...source, ...target);
    context.restore();
  }

  drawLasso() {
    const { context } = this;
    context.beginPath();
    for (const [x, y] of this.lasso) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = "rgb(60 130 210 / .16)";
    context.fill();
    context.strokeStyle = isDark() ? "#8fc4ff" : "#1767b3";
    context.lineWidth = 2;
    context.stroke();
  }

  // ---- finding rows ----------------------------------------------------------------------------

  /** The row at a point of the screen, or -1; images first, then highlighted dots, then others. */
  rowAt(x, y, reach = 14) {
    const box = this.drawn.findLast(
      ({ left, top, width, height }) =>
        x >= left && y >= top && x <= left + width && y <= top + height,
    );
    if (box) return box.row;
    const nearest = (accepts) => {
      const { camera } = this;
      return this.index.nearest(camera.mapX(x), camera.mapY(y), reach / camera.scale, accepts);
    };
    const highlighted = nearest((row) => this.isShown(row) && this.isHighlighted(row));
    if (highlighted >= 0 || !this.highlighted) return highlighted;
    return nearest(this.isShown);
  }

  /** The shown row nearest to the middle of the screen, or -1. */
  rowInTheMiddle() {
    const { camera } = this;
    const reach = (0.25 * camera.overviewScale) / camera.scale;
    return this.index.nearest(camera.x, camera.y, reach, this.isShown);
  }

  /** The shown rows within a polygon of the screen. */
  rowsWithin(polygon) {
    const { camera } = this;
    const onMap = polygon.map(([x, y]) => [camera.mapX(x), camera.mapY(y)]);
    return this.index.within(onMap, this.isShown);
  }
}
