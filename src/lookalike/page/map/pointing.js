/** Mouse, fingers and keys on the map: moving, zooming, pointing, choosing, and the lasso. */

const CLICK_TRAVEL = 5; // CSS pixels that a click may move
const REACH = 14; // CSS pixels around the pointer
const TOUCH_REACH = 24;
const KEY_STEP = 90; // CSS pixels
const KEY_ZOOM = 1.6;
const LINE_HEIGHT = 16; // CSS pixels that a wheel's line or page stands for
const PAGE_HEIGHT = 400;

const distanceBetween = ([x, y], [otherX, otherY]) => Math.hypot(x - otherX, y - otherY);

export class Pointing {
  /**
   * @param {MapCanvas} mapCanvas
   * @param {Card} card
   * @param {object} actions
   * @param {(row: number) => void} actions.onChoose  A row was clicked, tapped, or entered.
   * @param {(rows: number[] | null) => void} actions.onSelect  The lasso was closed around rows.
   * @param {(on: boolean) => void} actions.onLasso  The lasso was switched on or off.
   */
  constructor(mapCanvas, card, actions) {
    Object.assign(this, { mapCanvas, card, actions });
    this.canvas = mapCanvas.canvas;
    this.camera = mapCanvas.camera;
    this.pointers = new Map(); // by id: the point of the screen
    this.travelled = 0; // CSS pixels since the first pointer went down
    this.lassoOn = false; // the next drag draws a lasso
    this.drawing = false; // a lasso is being drawn
    this.byTouch = false;
    this.listen();
  }

  listen() {
    const on = (name, listener, settings) => {
      this.canvas.addEventListener(name, listener.bind(this), settings);
    };
    on("pointerdown", this.pressed);
    on("pointermove", this.moved);
    on("pointerup", this.released);
    on("pointercancel", this.released);
    on("pointerleave", this.left);
    on("wheel", this.wheeled, { passive: false });
    on("dblclick", (event) => event.preventDefault());
    on("blur", this.left);
    on("keydown", (event) => {
      if (event.key === "Enter" && this.mapCanvas.hovered >= 0) this.choose(this.mapCanvas.hovered);
    });
    this.card.element.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.hide();
    });
  }

  pointOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  choose(row) {
    this.hide();
    this.actions.onChoose(row);
  }

  // ---- pointing --------------------------------------------------------------------------------

  hover(row, x, y) {
    if (row < 0) {
      this.hide();
      return;
    }
    const { mapCanvas } = this;
    if (mapCanvas.hovered !== row) {
      mapCanvas.hovered = row;
      mapCanvas.redraw();
    }
    this.canvas.classList.toggle("over", !this.lassoOn);
    this.card.show(row, x, y, this.byTouch);
  }

  /** Point at nothing. */
  hide() {
    this.canvas.classList.remove("over");
    this.card.hide();
    if (this.mapCanvas.hovered < 0) return;
    this.mapCanvas.hovered = -1;
    this.mapCanvas.redraw();
  }

  hoverMiddle() {
    const row = this.mapCanvas.rowInTheMiddle();
    if (row < 0 || document.activeElement !== this.canvas) return;
    this.hover(row, ...this.mapCanvas.screenPosition(row));
  }

  // ---- the lasso -------------------------------------------------------------------------------

  /** Switch the lasso on or off. */
  setLasso(on) {
    this.lassoOn = on;
    this.canvas.classList.toggle("lassoing", on);
    this.actions.onLasso(on);
  }

  /** Forget the lasso and the selection. */
  clear() {
    this.mapCanvas.lasso = null;
    this.setLasso(false);
    this.actions.onSelect(null);
  }

  closeLasso() {
    const polygon = this.mapCanvas.lasso;
    this.mapCanvas.lasso = null;
    this.drawing = false;
    this.setLasso(false);
    const rows = polygon.length > 2 ? this.mapCanvas.rowsWithin(polygon) : [];
    this.actions.onSelect(rows.length ? rows : null);
    this.mapCanvas.redraw();
  }

  // ---- pointers --------------------------------------------------------------------------------

  pressed(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.byTouch = event.pointerType === "touch";
    this.pointers.set(event.pointerId, this.pointOf(event));
    if (this.pointers.size > 1) {
      // A second finger pinches instead.
      this.mapCanvas.lasso = null;
      this.drawing = false;
      return;
    }
    this.travelled = 0;
    this.drawing = this.lassoOn || event.shiftKey;
    if (this.drawing) this.mapCanvas.lasso = [this.pointOf(event)];
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    const point = this.pointOf(event);
    if (!before) {
      const row = this.lassoOn ? -1 : this.mapCanvas.rowAt(...point, REACH);
      if (event.pointerType !== "touch") this.hover(row, ...point);
      return;
    }
    this.pointers.set(event.pointerId, point);
    this.travelled += distanceBetween(point, before);
    if (this.travelled < CLICK_TRAVEL) return;
    this.hide();
    if (this.drawing) {
      this.mapCanvas.lasso.push(point);
      this.mapCanvas.redraw();
      return;
    }
    this.canvas.classList.add("dragged");
    this.drag(event.pointerId, before, point);
  }

  // One pointer moves the map, two zoom it about the one that rests.
  drag(pointer, before, point) {
    const other = [...this.pointers].find(([id]) => id !== pointer)?.[1];
    if (!other) {
      this.camera.jump(this.camera.movedBy(before[0] - point[0], before[1] - point[1]));
      return;
    }
    const factor = distanceBetween(point, other) / distanceBetween(before, other);
    this.camera.jump(this.camera.zoomedBy(factor || 1, ...other));
  }

  released(event) {
    const point = this.pointOf(event);
    const wasDown = this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.canvas.classList.remove("dragged");
    if (this.drawing) {
      this.closeLasso();
      return;
    }
    const isClick = event.type === "pointerup" && event.button === 0;
    if (!wasDown || !isClick || this.travelled >= CLICK_TRAVEL) return;
    const row = this.mapCanvas.rowAt(...point, this.byTouch ? TOUCH_REACH : REACH);
    if (row < 0) this.hide();
    // A finger cannot point without pressing: its first tap shows the card.
    else if (this.byTouch && this.card.tapText) this.hover(row, ...point);
    else this.choose(row);
  }

  left(event) {
    if (event.pointerType !== "touch" && event.relatedTarget !== this.card.element) this.hide();
  }

  wheeled(event) {
    event.preventDefault();
    const units = [1, LINE_HEIGHT, PAGE_HEIGHT][event.deltaMode];
    // A trackpad's pinch arrives as a wheel with Ctrl held, in small steps.
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    const amount = Math.max(-1, Math.min(1, event.deltaY * units * speed));
    this.hide();
    this.camera.jump(this.camera.zoomedBy(Math.exp(-amount), ...this.pointOf(event)));
  }

  // ---- keys ------------------------------------------------------------------------------------

  fly(view) {
    this.camera.fly(view, () => this.hoverMiddle());
  }

  /** Handle a key; return whether it meant anything here. */
  key(name) {
    const { camera } = this;
    const move = (dx, dy) => () => this.fly(camera.movedBy(dx, dy));
    const zoom = (factor) => () => this.fly(camera.zoomedBy(factor));
    const keys = {
      ArrowLeft: move(-KEY_STEP, 0),
      ArrowRight: move(KEY_STEP, 0),
      ArrowUp: move(0, -KEY_STEP),
      ArrowDown: move(0, KEY_STEP),
      "+": zoom(KEY_ZOOM),
      "=": zoom(KEY_ZOOM),
      "-": zoom(1 / KEY_ZOOM),
      _: zoom(1 / KEY_ZOOM),
      0: () => this.fly(camera.overview()),
      l: () => this.setLasso(!this.lassoOn),
    };
    if (!Object.hasOwn(keys, name)) return false;
    this.hide();
    keys[name]();
    return true;
  }
}
