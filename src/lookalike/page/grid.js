/**
 * A grid of images. Only those near the screen are in the document, so that a thousand are as
 * quick as ten.
 */

import { thumbnailUrl } from "./api.js";
import { h, iconButton, reducedMotion } from "./dom.js";
import { nameOf } from "./format.js";
import { justify, MOVE_KEYS, neighborIndex } from "./justify.js";
import { EXAMPLE_TYPE } from "./upload.js";

const MARGIN = 700; // CSS pixels above and below the screen that are ready
const MOVING_TIME = 420; // milliseconds
const LONG_PRESS = 480; // milliseconds
const SMALL = 128; // pixels: the longer side of the stored thumbnails
const DIVIDER = 34; // CSS pixels
const SLIM = 130; // CSS pixels below which a tile has less room for texts

// CSS pixels: a line's height by the grid's width.
function lineHeight(width) {
  if (width < 240) return 92;
  if (width < 520) return 118;
  if (width < 1000) return 158;
  return width < 1800 ? 196 : 232;
}

function thumbnailSize(pixels) {
  if (pixels <= 150) return SMALL;
  return pixels <= 280 ? 256 : 512;
}

export class Grid {
  /**
   * @param {object} options
   * @param {string} options.label  The list's name.
   * @param {string} options.collection
   * @param {number=} options.density  Below 1 for smaller images.
   * @param {(row: object, tile: Element) => void} options.onChoose
   * @param {(index: number) => void} options.onDetail
   * @param {(row: object, kind: "positive" | "negative") => void} options.onExample
   * @param {((row: object | null) => void)=} options.onPoint  A row is pointed at, or none.
   */
  constructor({ label, collection, density = 1, onChoose, onDetail, onExample, onPoint }) {
    Object.assign(this, { collection, density, onChoose, onDetail, onExample, onPoint });
    this.rows = [];
    this.marks = new Map(); // by id: { text, description }
    this.tiles = new Map(); // by id, those in the document
    this.indexOf = new Map(); // by id
    this.active = 0; // the index that takes the focus
    this.loading = 0; // small thumbnails on their way
    this.unsharp = []; // images that will need a larger thumbnail
    this.alike = null; // the number of rows before the divider
    this.divider = h("li", { class: "divider" }, "Less alike from here on");
    this.layout = justify([], 1, 1, 1);
    this.element = h("ul", { class: "grid", "aria-label": label });
    this.listen();
  }

  listen() {
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    addEventListener("scroll", () => this.redraw(), { passive: true, signal });
    this.resizing = new ResizeObserver(() => {
      if (this.element.clientWidth !== this.width) this.arrange();
    });
    this.resizing.observe(this.element);
    const on = (name, listener) => this.element.addEventListener(name, listener);
    on("keydown", (event) => this.pressed(event));
    on("focusin", (event) => this.focused(event));
    on("pointerover", (event) => this.onPoint?.(this.rowOf(event.target)));
    on("pointerleave", () => this.onPoint?.(null));
  }

  stop() {
    this.stopped.abort();
    this.resizing.disconnect();
  }

  /**
   * Show rows; images that were there already move.
   *
   * @param {object[]} rows
   * @param {Map=} marks  Short texts by id.
   * @param {number | null} alike  The number of rows before the divider.
   */
  show(rows, marks = new Map(), alike = null) {
    const isMoving = this.rows.length > 0 && rows.some(({ id }) => this.tiles.has(id));
    this.rows = rows;
    this.marks = marks;
    this.alike = alike;
    this.active = 0;
    this.indexOf = new Map(rows.map(({ id }, index) => [id, index]));
    this.arrange();
    if (!isMoving || reducedMotion.matches) return;
    this.element.classList.add("moving");
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.element.classList.remove("moving"), MOVING_TIME);
  }

  arrange() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    const gap = this.width < 520 ? 4 : 8;
    const height = lineHeight(this.width) * this.density;
    const divider = this.alike ? { at: this.alike, height: DIVIDER } : undefined;
    this.layout = justify(this.rows, this.width, height, gap, divider);
    this.element.style.height = `${this.layout.height}px`;
    this.placeDivider();
    this.draw();
  }

  placeDivider() {
    const { dividerTop } = this.layout;
    if (dividerTop === undefined) {
      this.divider.remove();
      return;
    }
    this.divider.style.transform = `translateY(${dividerTop}px)`;
    // Last in the document: the order of the tiles is that of their ranks.
    this.element.append(this.divider);
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  // ---- tiles -----------------------------------------------------------------------------------

  draw() {
    const [first, end] = this.nearbyRange();
    const nearby = new Set(this.rows.slice(first, end).map(({ id }) => id));
    const hasFocus = this.element.contains(document.activeElement);
    const focused = hasFocus ? this.rows[this.active]?.id : undefined;
    for (const [id, tile] of this.tiles) {
      const keepsFocus = id === focused && this.indexOf.has(id);
      if (nearby.has(id) || keepsFocus) continue;
      tile.remove();
      this.tiles.delete(id);
    }
    for (let index = first; index < end; index++) this.placeTile(index);
  }

  // The rows whose lines are near the screen.
  nearbyRange() {
    const screenTop = -this.element.getBoundingClientRect().top;
    const isNear = ({ top, height }) =>
      top + height > screenTop - MARGIN && top < screenTop + innerHeight + MARGIN;
    const lines = this.layout.lines.filter(isNear);
    return lines.length ? [lines[0].first, lines.at(-1).end] : [0, 0];
  }

  placeTile(index) {
    const row = this.rows[index];
    const box = this.layout.boxes[index];
    let tile = this.tiles.get(row.id);
    if (!tile) {
      tile = this.makeTile(row, box);
      this.tiles.set(row.id, tile);
    }
    tile.style.transform = `translate(${box.left}px, ${box.top}px)`;
    tile.style.width = `${box.width}px`;
    tile.style.height = `${box.height}px`;
    tile.dataset.index = index;
    tile.classList.toggle("slim", box.width < SLIM);
    tile.setAttribute("aria-posinset", index + 1);
    tile.setAttribute("aria-setsize", this.rows.length);
    this.describe(tile, row, index);
    this.insertInOrder(tile, index);
  }

  // The document's order is that of the ranks, whichever tile was made first.
  insertInOrder(tile, index) {
    const previous = index ? this.tiles.get(this.rows[index - 1].id) : null;
    const next = previous ? previous.nextSibling : this.element.firstChild;
    if (next === tile) return;
    // Where the browser can move an element, its animation continues.
    if (tile.isConnected && this.element.moveBefore) this.element.moveBefore(tile, next);
    else this.element.insertBefore(tile, next);
  }

  describe(tile, row, index) {
    const distance = row.distance === undefined ? "" : row.distance.toFixed(3);
    const size = row.width ? `${row.width} × ${row.height}` : "";
    const mark = this.marks.get(row.id);
    const isLess = this.alike !== null && index >= this.alike;
    const likeness = isLess && "less alike";
    const facts = [nameOf(row), row.label, distance && `distance ${distance}`, likeness, size];
    const description = [...facts, mark?.description].filter(Boolean).join(", ");
    tile.firstChild.tabIndex = index === this.active ? 0 : -1;
    if (tile.dataset.description === description) return;
    tile.dataset.description = description;
    tile.firstChild.setAttribute("aria-label", `Search with ${description}`);
    tile.querySelector(".label").textContent = row.label ?? nameOf(row);
    tile.querySelector(".distance").textContent = distance;
    tile.querySelector(".size").textContent = size;
    const sign = tile.querySelector(".mark");
    sign.hidden = !mark;
    sign.textContent = mark?.text ?? "";
    tile.classList.toggle("shared", Boolean(mark));
  }

  makeTile(row, box) {
    const image = h("img", { alt: "", decoding: "async", draggable: "false" });
    const choose = () => this.onChoose(row, tile);
    const open = h("button", { type: "button", class: "open", onclick: choose }, image);
    const tile = h(
      "li",
      { class: "tile", draggable: "true", data: { id: row.id } },
      open,
      h("span", { class: "mark", "aria-hidden": "true", hidden: true }),
      h(
        "div",
        { class: "meta", "aria-hidden": "true" },
        h("b", { class: "label", dir: "auto" }),
        h("span", {}, h("span", { class: "distance" }), h("span", { class: "size" })),
      ),
      this.makeButtons(row, () => Number(tile.dataset.index)),
    );
    this.load(row, box, tile, image);
    this.openDetailsOnLongPress(tile);
    tile.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData(EXAMPLE_TYPE, JSON.stringify({ id: row.id }));
      event.dataTransfer.effectAllowed = "copy";
      event.dataTransfer.setDragImage(image, 24, 24);
    });
    return tile;
  }

  makeButtons(row, indexOfTile) {
    const name = nameOf(row);
    const button = (symbol, label, action, title, className) => {
      const properties = { title, tabindex: -1, class: className };
      return iconButton(symbol, `${label} ${name}`, action, properties);
    };
    const addPositive = () => this.onExample(row, "positive");
    const addNegative = () => this.onExample(row, "negative");
    const showDetails = () => this.onDetail(indexOfTile());
    return h(
      "div",
      { class: "acts" },
      button("plus", "More like", addPositive, "More like this (+)", "more"),
      button("minus", "Less like", addNegative, "Less like this (-)", "less"),
      button("info", "Details of", showDetails, "Details (i)", "about"),
    );
  }

  // A long press shows the details, for which small tiles have no button.
  openDetailsOnLongPress(tile) {
    let timer = 0;
    let isLong = false;
    tile.addEventListener("pointerdown", (event) => {
      isLong = false;
      if (event.pointerType !== "touch") return;
      timer = setTimeout(() => {
        isLong = true;
        this.onDetail(Number(tile.dataset.index));
      }, LONG_PRESS);
    });
    for (const name of ["pointerup", "pointercancel", "pointermove"]) {
      tile.addEventListener(name, () => clearTimeout(timer));
    }
    // Neither the browser's menu nor the search follows.
    tile.addEventListener("contextmenu", (event) => isLong && event.preventDefault());
    const swallow = (event) => {
      if (!isLong) return;
      event.stopPropagation();
      event.preventDefault();
    };
    tile.addEventListener("click", swallow, { capture: true });
  }

  // ---- images ----------------------------------------------------------------------------------

  load(row, box, tile, image) {
    const pixels = Math.max(box.width, box.height) * Math.min(2, devicePixelRatio);
    const size = thumbnailSize(pixels);
    this.loading += 1;
    image.onload = () => {
      image.classList.add("ready");
      this.loaded(image, row, size);
    };
    image.onerror = () => {
      tile.classList.add("missing");
      this.loaded(image, row, SMALL);
    };
    image.src = thumbnailUrl(this.collection, row.id, SMALL, row.content);
  }

  // The stored thumbnails arrive at once. Larger ones must be made by the server, which would hold
  // up those still on their way: they are asked for when all small ones have arrived.
  loaded(image, row, size) {
    image.onload = null;
    image.onerror = null;
    if (size > SMALL) this.unsharp.push({ image, row, size });
    this.loading -= 1;
    if (this.loading) return;
    for (const one of this.unsharp.splice(0)) this.sharpen(one);
  }

  async sharpen({ image, row, size }) {
    if (!image.isConnected) return;
    const large = new Image();
    large.src = thumbnailUrl(this.collection, row.id, size, row.content);
    try {
      await large.decode();
      if (image.isConnected) image.src = large.src;
    } catch {
      // The small thumbnail stays.
    }
  }

  // ---- focus and keys --------------------------------------------------------------------------

  rowOf(target) {
    const tile = target.closest?.(".tile");
    return tile ? this.rows[Number(tile.dataset.index)] : null;
  }

  // Only the active tile's buttons are reached by Tab.
  focused(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const previous = this.tiles.get(this.rows[this.active]?.id);
    if (previous && previous !== tile) {
      for (const button of previous.querySelectorAll("button")) button.tabIndex = -1;
    }
    this.active = Number(tile.dataset.index);
    for (const button of tile.querySelectorAll("button")) button.tabIndex = 0;
    this.onPoint?.(this.rows[this.active]);
  }

  /** Focus an index, by default the active one. */
  focus(index = this.active, { scroll = true } = {}) {
    if (!this.rows.length) return;
    this.active = Math.min(this.rows.length - 1, Math.max(0, index));
    if (scroll) this.scrollTo(this.active);
    this.draw();
    this.placeTile(this.active);
    const tile = this.tiles.get(this.rows[this.active].id);
    tile.firstChild.focus({ preventScroll: true });
  }

  // Scroll as little as needed; the filters stick to the top of the screen.
  scrollTo(index) {
    const box = this.layout.boxes[index];
    const top = this.element.getBoundingClientRect().top + box.top;
    const bottom = top + box.height;
    const rootStyle = getComputedStyle(document.documentElement);
    const stuck = Number.parseFloat(rootStyle.scrollPaddingTop) || 0;
    if (top < stuck + 8) {
      scrollBy({ top: top - stuck - 8, behavior: "instant" });
    } else if (bottom > innerHeight - 16) {
      scrollBy({ top: bottom - innerHeight + 16, behavior: "instant" });
    }
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.rows[this.active];
    if (!row || !this.handleKey(event, row)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  handleKey({ key, target }, row) {
    if (MOVE_KEYS.includes(key)) {
      this.focus(neighborIndex(this.layout, this.active, key));
      return true;
    }
    // Space presses any other button.
    if (key === " " && !target.classList.contains("open")) return false;
    const showDetails = () => this.onDetail(this.active);
    const addPositive = () => this.onExample(row, "positive");
    const addNegative = () => this.onExample(row, "negative");
    const actions = {
      " ": showDetails,
      i: showDetails,
      "+": addPositive,
      "=": addPositive,
      "-": addNegative,
    };
    if (!Object.hasOwn(actions, key)) return false;
    actions[key]();
    return true;
  }
}
