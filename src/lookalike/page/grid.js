// The grid of results: only what is near the screen is in the document, so that a thousand are as quick as ten.

import { thumbnail } from "./api.js";
import { calm, h, iconButton, nameOf } from "./dom.js";
import { justify, neighbour } from "./justify.js";
import { DRAGGED } from "./upload.js";

const MARGIN = 700; // CSS pixels above and below the screen that are ready
export const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

const wantedHeight = (width) => (width < 240 ? 92 : width < 520 ? 118 : width < 1000 ? 158 : width < 1800 ? 196 : 232);
const SMALL = 128; // pixels of the longer side of a kept thumbnail
const sizeFor = (pixels) => (pixels <= 150 ? SMALL : pixels <= 280 ? 256 : 512);
const PRESSED = 480; // milliseconds after which a finger's press asks for the details

export class Grid {
  /**
   * `label` names the list. `onChoose(row, tile)`, `onDetail(index)` and `onExample(row, kind)` hear what is done;
   * `onPoint(row | null)` hears which picture is pointed at.
   */
  constructor({ label, collection, onChoose, onDetail, onExample, onPoint, dense = 1 }) {
    Object.assign(this, { collection, onChoose, onDetail, onExample, onPoint, dense });
    this.rows = [];
    this.marks = new Map();
    this.tiles = new Map();
    this.active = 0;
    this.loading = 0;
    this.blurred = [];
    this.layout = justify([], 1, 1, 1);
    this.element = h("ul", { class: "grid", "aria-label": label });
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    addEventListener("scroll", () => this.soon(), { passive: true, signal });
    this.watch = new ResizeObserver(() => this.resized());
    this.watch.observe(this.element);
    this.element.addEventListener("keydown", (event) => this.pressed(event));
    this.element.addEventListener("focusin", (event) => this.focused(event));
    this.element.addEventListener("pointerover", (event) => this.onPoint?.(this.rowOf(event.target)));
    this.element.addEventListener("pointerleave", () => this.onPoint?.(null));
  }

  stop() {
    this.stopped.abort();
    this.watch.disconnect();
  }

  /** Show rows; pictures that were there already move to their new places. `marks` are short texts by id. */
  show(rows, marks = new Map()) {
    const moving = this.rows.length > 0 && rows.some(({ id }) => this.tiles.has(id));
    Object.assign(this, { rows, marks, active: 0 });
    this.place = new Map(rows.map(({ id }, index) => [id, index]));
    this.arrange();
    if (!moving || calm.matches) return;
    this.element.classList.add("moving");
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.element.classList.remove("moving"), 420);
  }

  resized() {
    if (this.element.clientWidth !== this.width) this.arrange();
  }

  arrange() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    const gap = this.width < 520 ? 4 : 8;
    this.layout = justify(this.rows, this.width, wantedHeight(this.width) * this.dense, gap);
    this.element.style.height = `${this.layout.height}px`;
    this.draw();
  }

  soon() {
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const start = -this.element.getBoundingClientRect().top;
    const near = this.layout.lines.filter(({ top, height }) => top + height > start - MARGIN && top < start + innerHeight + MARGIN);
    const [first, end] = near.length ? [near[0].first, near.at(-1).end] : [0, 0];
    const kept = new Set(this.rows.slice(first, end).map(({ id }) => id));
    const focus = this.element.contains(document.activeElement) ? this.rows[this.active]?.id : undefined;
    for (const [id, tile] of this.tiles) {
      if (kept.has(id) || (id === focus && this.place.has(id))) continue;
      tile.remove();
      this.tiles.delete(id);
    }
    for (let index = first; index < end; index++) this.put(index);
  }

  put(index) {
    const row = this.rows[index], box = this.layout.boxes[index];
    let tile = this.tiles.get(row.id);
    if (!tile) {
      tile = this.tile(row, box);
      this.tiles.set(row.id, tile);
    }
    tile.style.transform = `translate(${box.left}px, ${box.top}px)`;
    tile.style.width = `${box.width}px`;
    tile.style.height = `${box.height}px`;
    tile.dataset.index = index;
    tile.classList.toggle("slim", box.width < 130);
    tile.setAttribute("aria-posinset", index + 1);
    tile.setAttribute("aria-setsize", this.rows.length);
    this.describe(tile, row, index);
    // Read in the order of the ranks, whatever came into the document first.
    const after = index ? this.tiles.get(this.rows[index - 1].id) : null;
    const next = after ? after.nextSibling : this.element.firstChild;
    if (next === tile) return;
    // Moved so, a picture keeps its motion; where a browser cannot, it jumps.
    if (tile.isConnected && this.element.moveBefore) this.element.moveBefore(tile, next);
    else this.element.insertBefore(tile, next);
  }

  describe(tile, row, index) {
    const distance = row.distance === undefined ? "" : row.distance.toFixed(3), size = row.width ? `${row.width} × ${row.height}` : "";
    const open = tile.firstChild, mark = this.marks.get(row.id);
    open.tabIndex = index === this.active ? 0 : -1;
    const told = [nameOf(row), row.label, distance && `distance ${distance}`, size, mark?.told].filter(Boolean).join(", ");
    if (tile.dataset.told === told) return;
    tile.dataset.told = told;
    open.setAttribute("aria-label", `Search by ${told}`);
    tile.querySelector(".label").textContent = row.label ?? nameOf(row);
    tile.querySelector(".distance").textContent = distance;
    tile.querySelector(".size").textContent = size;
    const sign = tile.querySelector(".mark");
    sign.hidden = !mark;
    sign.textContent = mark?.text ?? "";
    tile.classList.toggle("shared", Boolean(mark));
  }

  tile(row, box) {
    const image = h("img", { alt: "", decoding: "async", draggable: "false" });
    const wanted = sizeFor(Math.max(box.width, box.height) * Math.min(2, devicePixelRatio));
    this.loading += 1;
    image.onload = () => { image.classList.add("ready"); this.loaded(image, row, wanted); };
    image.onerror = () => { tile.classList.add("missing"); this.loaded(image, row, SMALL); };
    image.src = thumbnail(this.collection, row.id, SMALL, row.content);
    const tile = h("li", { class: "tile", draggable: "true", data: { id: row.id } },
      h("button", { type: "button", class: "open", onclick: () => this.onChoose(row, tile) }, image),
      h("span", { class: "mark", "aria-hidden": "true", hidden: true }),
      h("div", { class: "meta", "aria-hidden": "true" }, h("b", { class: "label" }), h("span", {}, h("span", { class: "distance" }), h("span", { class: "size" }))),
      h("div", { class: "acts" },
        iconButton("plus", `More like ${nameOf(row)}`, () => this.onExample(row, "plus"), { title: "More like this (+)", tabindex: -1, class: "more" }),
        iconButton("minus", `Less like ${nameOf(row)}`, () => this.onExample(row, "minus"), { title: "Less like this (-)", tabindex: -1, class: "less" }),
        iconButton("info", `Details of ${nameOf(row)}`, () => this.onDetail(Number(tile.dataset.index)), { title: "Details (i)", tabindex: -1, class: "about" })));
    this.pressable(tile);
    tile.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData(DRAGGED, JSON.stringify({ id: row.id }));
      event.dataTransfer.effectAllowed = "copy";
      event.dataTransfer.setDragImage(image, 24, 24);
    });
    return tile;
  }

  // A finger that stays asks for the details, as the button does that small pictures have no room for.
  pressable(tile) {
    let timer = 0, long = false;
    const stop = () => clearTimeout(timer);
    tile.addEventListener("pointerdown", (event) => {
      long = false;
      if (event.pointerType === "touch") timer = setTimeout(() => { long = true; this.onDetail(Number(tile.dataset.index)); }, PRESSED);
    });
    for (const name of ["pointerup", "pointercancel", "pointermove"]) tile.addEventListener(name, stop);
    tile.addEventListener("contextmenu", (event) => long && event.preventDefault());
    tile.addEventListener("click", (event) => { if (long) { event.stopPropagation(); event.preventDefault(); } }, { capture: true });
  }

  // The kept thumbnails are there at once. Larger ones must be made, which would hold up those still on their way.
  loaded(image, row, wanted) {
    image.onload = image.onerror = null;
    if (wanted > SMALL) this.blurred.push([image, row, wanted]);
    this.loading -= 1;
    if (!this.loading) for (const one of this.blurred.splice(0)) this.sharpen(...one);
  }

  async sharpen(image, row, size) {
    if (!image.isConnected) return;
    const large = new Image();
    large.src = thumbnail(this.collection, row.id, size, row.content);
    try {
      await large.decode();
      if (image.isConnected) image.src = large.src;
    } catch { /* The small one stays. */ }
  }

  rowOf(target) {
    const tile = target.closest?.(".tile");
    return tile ? this.rows[Number(tile.dataset.index)] : null;
  }

  focused(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const before = this.tiles.get(this.rows[this.active]?.id);
    if (before && before !== tile) for (const button of before.querySelectorAll("button")) button.tabIndex = -1;
    this.active = Number(tile.dataset.index);
    for (const button of tile.querySelectorAll("button")) button.tabIndex = 0;
    this.onPoint?.(this.rows[this.active]);
  }

  focus(index = this.active, { scroll = true } = {}) {
    if (!this.rows.length) return;
    const bounded = Math.min(this.rows.length - 1, Math.max(0, index));
    this.active = bounded;
    if (scroll) this.reveal(bounded);
    this.draw();
    this.put(bounded);
    this.tiles.get(this.rows[bounded].id).firstChild.focus({ preventScroll: true });
  }

  // Bring a picture between what sticks to the top of the screen and its end.
  reveal(index) {
    const box = this.layout.boxes[index], start = this.element.getBoundingClientRect().top;
    const above = Number.parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
    if (start + box.top < above + 8) scrollBy({ top: start + box.top - above - 8, behavior: "instant" });
    else if (start + box.top + box.height > innerHeight - 16) scrollBy({ top: start + box.top + box.height - innerHeight + 16, behavior: "instant" });
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.rows[this.active];
    if (!row) return;
    const acts = { " ": () => this.onDetail(this.active), i: () => this.onDetail(this.active), "+": () => this.onExample(row, "plus"), "=": () => this.onExample(row, "plus"), "-": () => this.onExample(row, "minus") };
    if (MOVES.includes(event.key)) this.focus(neighbour(this.layout, this.active, event.key));
    else if (Object.hasOwn(acts, event.key) && (event.key !== " " || event.target.classList.contains("open"))) acts[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
