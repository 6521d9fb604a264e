/** The part of the map on the screen. Map coordinates are 0 to 1, the screen's are CSS pixels. */

import { reducedMotion } from "../dom.js";

// From the overview: the least and the most zoom, the most before the map has set its own.
const MIN_ZOOM = 0.5;
const MAX_ZOOM = 200;
const FLIGHT = 280; // milliseconds
const MARGIN = 0.9; // the share of the free area that the overview fills

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * A view is `{ x, y, scale }`: the map point in the middle of the free area, and CSS pixels a unit.
 */
export class Camera {
  /** `onMove()` is called whenever the view changes. */
  constructor(onMove) {
    this.onMove = onMove;
    this.x = 0.5;
    this.y = 0.5;
    this.scale = 1;
    this.overviewScale = 1;
    this.maxZoom = MAX_ZOOM;
    this.width = 1;
    this.height = 1;
    this.left = 0;
    this.bottom = 0;
    this.flight = 0;
  }

  /** Set the screen's size, and how much of it the panel covers at the left and at the bottom. */
  resize(width, height, left, bottom) {
    const isFirst = this.width === 1;
    const previousScale = this.overviewScale;
    Object.assign(this, { width, height, left, bottom });
    const freeSide = Math.max(120, Math.min(width - left, height - bottom));
    this.overviewScale = MARGIN * freeSide;
    this.scale = isFirst ? this.overviewScale : (this.scale * this.overviewScale) / previousScale;
    this.onMove();
  }

  get middleX() {
    return this.left + (this.width - this.left) / 2;
  }

  get middleY() {
    return (this.height - this.bottom) / 2;
  }

  get zoom() {
    return this.scale / this.overviewScale;
  }

  get view() {
    return { x: this.x, y: this.y, scale: this.scale };
  }

  screenX(x) {
    return (x - this.x) * this.scale + this.middleX;
  }

  screenY(y) {
    return (y - this.y) * this.scale + this.middleY;
  }

  mapX(x) {
    return (x - this.middleX) / this.scale + this.x;
  }

  mapY(y) {
    return (y - this.middleY) / this.scale + this.y;
  }

  bounded({ x, y, scale }) {
    return {
      x: clamp(x, 0, 1),
      y: clamp(y, 0, 1),
      scale: clamp(scale, this.overviewScale * MIN_ZOOM, this.overviewScale * this.maxZoom),
    };
  }

  /** Whether the whole map is shown, and not much more. */
  get isOverview() {
    const isCentered = Math.abs(this.x - 0.5) < 0.01 && Math.abs(this.y - 0.5) < 0.01;
    return isCentered && Math.abs(this.zoom - 1) < 0.01;
  }

  stop() {
    cancelAnimationFrame(this.flight);
    this.flight = 0;
  }

  /** Show a view at once. */
  jump(view) {
    this.stop();
    Object.assign(this, this.bounded(view));
    this.onMove();
  }

  /** Move to a view in a moment, and call `onArrival` unless another move comes before. */
  fly(view, onArrival = () => {}) {
    if (reducedMotion.matches) {
      this.jump(view);
      onArrival();
      return;
    }
    this.stop();
    const from = this.view;
    const to = this.bounded(view);
    const start = performance.now();
    const step = (now) => {
      const elapsed = clamp((now - start) / FLIGHT, 0, 1);
      const eased = 1 - (1 - elapsed) ** 3;
      this.scale = from.scale * (to.scale / from.scale) ** eased;
      // The point moves as the scale does, so that the center of the motion stays in place.
      const sameScale = Math.abs(to.scale - from.scale) < 1e-6 * from.scale;
      const share = sameScale
        ? eased
        : (1 / from.scale - 1 / this.scale) / (1 / from.scale - 1 / to.scale);
      this.x = from.x + (to.x - from.x) * share;
      this.y = from.y + (to.y - from.y) * share;
      // The end is exact, whatever was rounded on the way.
      if (elapsed === 1) Object.assign(this, to);
      this.flight = elapsed < 1 ? requestAnimationFrame(step) : 0;
      this.onMove();
      if (elapsed === 1) onArrival();
    };
    this.flight = requestAnimationFrame(step);
  }

  /** The view zoomed by a factor about a point of the screen, which stays where it is. */
  zoomedBy(factor, screenX = this.middleX, screenY = this.middleY) {
    const { scale } = this.bounded({ x: 0, y: 0, scale: this.scale * factor });
    const dx = screenX - this.middleX;
    const dy = screenY - this.middleY;
    return {
      x: this.x + dx / this.scale - dx / scale,
      y: this.y + dy / this.scale - dy / scale,
      scale,
    };
  }

  /** The view moved by CSS pixels. */
  movedBy(dx, dy) {
    return { x: this.x + dx / this.scale, y: this.y + dy / this.scale, scale: this.scale };
  }

  /** The view of the whole map. */
  overview() {
    return { x: 0.5, y: 0.5, scale: this.overviewScale };
  }

  /** The view of some rows. */
  around(rows, positions) {
    const box = { left: 1, right: 0, top: 1, bottom: 0 };
    for (const row of rows) {
      box.left = Math.min(box.left, positions[2 * row]);
      box.right = Math.max(box.right, positions[2 * row]);
      box.top = Math.min(box.top, positions[2 * row + 1]);
      box.bottom = Math.max(box.bottom, positions[2 * row + 1]);
    }
    // A single row is shown with its surroundings.
    const extent = Math.max(box.right - box.left, box.bottom - box.top, 0.08);
    return {
      x: (box.left + box.right) / 2,
      y: (box.top + box.bottom) / 2,
      scale: this.overviewScale / extent / 1.15,
    };
  }
}
