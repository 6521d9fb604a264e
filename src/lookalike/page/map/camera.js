// Where one looks at the map from: places are 0 to 1, the screen is in CSS pixels.

import { calm } from "../dom.js";

const NEAREST = 200; // how far one can zoom in, from the whole map
const FLIGHT = 280; // milliseconds

export class Camera {
  /** `onMove()` is called whenever the view changes. */
  constructor(onMove) {
    Object.assign(this, { onMove, x: 0.5, y: 0.5, scale: 1, whole: 1, width: 1, height: 1, left: 0, bottom: 0, flight: 0 });
  }

  /** The screen's size, and what of it is covered at the left and at the bottom. */
  resize(width, height, left, bottom) {
    const before = this.whole, first = this.width === 1;
    Object.assign(this, { width, height, left, bottom });
    this.whole = 0.9 * Math.max(120, Math.min(width - left, height - bottom));
    this.scale = first ? this.whole : (this.scale * this.whole) / before;
    this.onMove();
  }

  get middleX() { return this.left + (this.width - this.left) / 2; }
  get middleY() { return (this.height - this.bottom) / 2; }
  get zoom() { return this.scale / this.whole; }

  screenX(x) { return (x - this.x) * this.scale + this.middleX; }
  screenY(y) { return (y - this.y) * this.scale + this.middleY; }
  placeX(x) { return (x - this.middleX) / this.scale + this.x; }
  placeY(y) { return (y - this.middleY) / this.scale + this.y; }

  bounded(next) {
    const inside = (value) => Math.min(1, Math.max(0, value));
    return { x: inside(next.x), y: inside(next.y), scale: Math.min(this.whole * NEAREST, Math.max(this.whole / 2, next.scale)) };
  }

  stop() {
    cancelAnimationFrame(this.flight);
    this.flight = 0;
  }

  go(next) {
    this.stop();
    Object.assign(this, this.bounded(next));
    this.onMove();
  }

  fly(aim) {
    const next = this.bounded(aim), { x, y, scale } = this, start = performance.now();
    if (calm.matches) { this.go(next); return; }
    this.stop();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, now - start) / FLIGHT), eased = 1 - (1 - part) ** 3;
      this.scale = scale * (next.scale / scale) ** eased;
      // The place moves as the scale does: what is in the middle of the two views stays so.
      const level = Math.abs(next.scale - scale) < 1e-6 * scale;
      const share = level ? eased : (1 / scale - 1 / this.scale) / (1 / scale - 1 / next.scale);
      this.x = x + (next.x - x) * share;
      this.y = y + (next.y - y) * share;
      // What was rounded on the way is not kept.
      if (part === 1) Object.assign(this, next);
      this.flight = part < 1 ? requestAnimationFrame(step) : 0;
      this.onMove();
    };
    this.flight = requestAnimationFrame(step);
  }

  /** The view that zooms by a factor and leaves a point of the screen where it is. */
  zoomed(factor, x = this.middleX, y = this.middleY) {
    const { scale } = this.bounded({ x: 0, y: 0, scale: this.scale * factor });
    const [across, down] = [x - this.middleX, y - this.middleY];
    return { scale, x: this.x + across / this.scale - across / scale, y: this.y + down / this.scale - down / scale };
  }

  moved(across, down) {
    return { x: this.x + across / this.scale, y: this.y + down / this.scale, scale: this.scale };
  }

  all() {
    return { x: 0.5, y: 0.5, scale: this.whole };
  }
}
