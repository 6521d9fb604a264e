/** The card beside the row that is pointed at: its image, name and label. */

import { colorDot, h } from "../dom.js";

const NAME_DELAY = 70; // milliseconds of pointing before a name is loaded
const IMAGE_SIDE = 200; // CSS pixels
const MARGIN = 8; // CSS pixels to the screen's edge

export class Card {
  /**
   * `tapText`, if given, is the text of a button for fingers, which cannot point without pressing.
   */
  constructor(mapCanvas, { tapText, onChoose }) {
    Object.assign(this, { mapCanvas, tapText, onChoose });
    this.data = mapCanvas.data;
    this.timer = 0;
    this.row = -1;
    this.element = h("button", { type: "button", class: "map-card", hidden: true });
    this.element.addEventListener("click", () => onChoose(this.row));
  }

  /** Show a row at a point of the screen. */
  show(row, x, y, byTouch) {
    if (row !== this.row) this.fill(row, byTouch);
    this.row = row;
    this.element.hidden = false;
    this.place(row, x, y);
  }

  hide() {
    clearTimeout(this.timer);
    this.row = -1;
    this.element.hidden = true;
  }

  fill(row, byTouch) {
    const { data } = this;
    const label = data.labels[data.labelIndex[row]];
    const name = h("b", { dir: "auto" }, data.knownName(row) ?? " ");
    const distance = this.mapCanvas.distances?.values[row] ?? Number.NaN;
    this.element.replaceChildren(
      h("span", { class: "shot" }, data.imageElement(row, IMAGE_SIDE)),
      name,
      h(
        "span",
        { class: "label" },
        colorDot(label.color),
        h("bdi", {}, data.labelName(row)),
        Number.isNaN(distance) ? null : ` · ${distance.toFixed(3)}`,
      ),
      byTouch && this.tapText ? h("span", { class: "tap" }, this.tapText) : "",
    );
    clearTimeout(this.timer);
    if (data.knownName(row) === null) this.loadName(row, name);
  }

  loadName(row, element) {
    this.timer = setTimeout(async () => {
      try {
        element.textContent = await this.data.loadName(row);
      } catch {
        // The card does without the name.
      }
    }, NAME_DELAY);
  }

  // Beside the image or the dot: at its right, or at its left where there is no room.
  place(row, x, y) {
    const { camera } = this.mapCanvas;
    const { width, height } = this.element.getBoundingClientRect();
    const box = this.mapCanvas.boxOf(row);
    const leftEdge = box ? box.left - 12 : x - 18;
    const rightEdge = box ? box.left + box.width + 12 : x + 18;
    const fitsRight = rightEdge + width <= camera.width - MARGIN;
    const wanted = fitsRight ? rightEdge : leftEdge - width;
    const left = Math.max(MARGIN, Math.min(wanted, camera.width - width - MARGIN));
    const lowest = camera.height - height - MARGIN;
    const top = Math.min(Math.max(MARGIN, y - height / 2), lowest);
    this.element.style.transform = `translate(${left}px, ${top}px)`;
  }
}
