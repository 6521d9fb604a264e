/** The lists of a review: images with captions, which can be selected and saved as a table. */

import { colorOf } from "./collections.js";
import { saveTable } from "./csv.js";
import { openDetail } from "./detail.js";
import { $, announce, colorDot, h } from "./dom.js";
import { imageButton } from "./figures.js";
import { nameOf, plural } from "./format.js";
import { moreButton, withoutDistance } from "./review_parts.js";
import { go, NO_QUERY } from "./state.js";

// As `lookalike review --output FILE.csv` has them.
const COLUMNS = [
  "part",
  "group",
  "uri",
  "label",
  "suggested",
  "score",
  "distance",
  "represents",
];
const MOST_AT_ONCE = 500; // images of one request

/** The list of a part, with a bar above it and a button for more of it below. */
class ImageList {
  /**
   * @param {object} options
   * @param {string} options.part
   * @param {string} options.title
   * @param {object} options.shown  The collection.
   * @param {((offset: number, limit?: number) => Promise<object>) | null} options.more
   *   Fetches another page; null where the first one is all.
   */
  constructor({ part, title, shown, more }) {
    Object.assign(this, { part, shown, more });
    this.images = [];
    this.chosen = new Set(); // of the images
    this.next = null; // the offset of the next page
    this.list = h("ul", { class: "cards", "aria-label": title });
    this.further = h("div", { class: "further" });
    this.all = h("input", { type: "checkbox", onchange: () => this.chooseAll() });
    this.count = h("span", { class: "quiet", role: "status" });
    this.save = moreButton("", () => this.saveTable());
    const all = h("label", {}, this.all, "Select all");
    this.bar = h("div", { class: "selection" }, all, this.save, this.count);
  }

  get elements() {
    return [this.bar, this.list, this.further];
  }

  add({ groups, next }) {
    for (const image of groups[0].images) {
      const index = this.images.length;
      this.images.push(image);
      this.list.append(this.makeCard(image, index));
    }
    this.next = this.more ? next : null;
    const button = this.next === null ? null : moreButton("Show more", () => this.addMore());
    this.further.replaceChildren(...(button ? [button] : []));
    this.drawBar();
  }

  async addMore() {
    const first = this.images.length;
    this.add(await this.more(this.next));
    this.focus(first);
  }

  /** Focus the image of an index, as a grid does. */
  focus(index) {
    $(".image", this.list.children[index])?.focus();
  }

  // ---- selection -------------------------------------------------------------------------------

  choose(image, isChosen) {
    if (isChosen) this.chosen.add(image);
    else this.chosen.delete(image);
    this.drawBar();
  }

  chooseAll() {
    const { checked } = this.all;
    this.chosen = new Set(checked ? this.images : []);
    for (const check of this.list.querySelectorAll("input")) check.checked = checked;
    this.drawBar();
  }

  drawBar() {
    const { size } = this.chosen;
    this.all.checked = size > 0 && size === this.images.length;
    this.all.indeterminate = size > 0 && !this.all.checked;
    this.count.textContent = size ? `${plural(size, "image")} selected` : "";
    this.save.textContent = size ? "Save the selected as CSV" : "Save the list as CSV";
  }

  async saveTable() {
    const images = this.chosen.size ? this.selected() : await this.fetchAll();
    const rows = images.map((image) => ({ part: this.part, ...image }));
    saveTable(`${this.part}.csv`, COLUMNS, rows);
    announce(`Saved: ${plural(rows.length, "image")}.`);
  }

  // In the order of the list.
  selected() {
    return this.images.filter((image) => this.chosen.has(image));
  }

  async fetchAll() {
    const all = [...this.images];
    let offset = this.next;
    while (offset !== null) {
      const page = await this.more(offset, MOST_AT_ONCE);
      all.push(...page.groups[0].images);
      offset = page.next;
    }
    return all;
  }

  // ---- cards -----------------------------------------------------------------------------------

  makeCard(image, index) {
    const open = () => {
      const rows = this.images.map(withoutDistance);
      openDetail(rows, index, () => this);
    };
    const label = `Select ${nameOf(image)}`;
    const onchange = ({ target }) => this.choose(image, target.checked);
    const check = h("input", { type: "checkbox", "aria-label": label, onchange });
    const text = this.part === "labels" ? doubtCaption(image) : reasonCaption(image);
    const parts = [h("label", { class: "check" }, check), text];
    return h("li", {}, imageButton(image, this.shown, open), parts);
  }
}

function labelOf(label) {
  return h("span", { class: "key" }, colorDot(colorOf(label)), h("bdi", {}, label));
}

function caption(image, ...above) {
  const name = h("small", { class: "path", dir: "auto", title: image.uri }, nameOf(image));
  return h("div", { class: "caption" }, above, name);
}

function reasonCaption(image) {
  const label = image.label === null ? null : labelOf(image.label);
  return caption(image, label, h("small", {}, image.explanation));
}

// The label that an image has, and the one that fits it better.
function doubtCaption(image) {
  const { label, suggested, agreeing, neighbors, score } = image;
  const labels = h(
    "dl",
    { class: "doubt" },
    h("dt", {}, "Labeled"),
    h("dd", {}, labelOf(label)),
    h("dt", {}, "Looks like"),
    h("dd", {}, labelOf(suggested)),
  );
  const votes = { title: `Score ${score.toFixed(2)}` };
  const agreement = h("small", votes, `${agreeing} of ${neighbors} nearest agree`);
  const text = caption(image, labels, agreement);
  text.append(compareButton(image));
  return text;
}

/** A button that shows the nearest images of both labels. */
function compareButton({ id, label, suggested }) {
  const labels = [label, suggested];
  const onclick = () => go({ view: "search", ...NO_QUERY, positive: [{ id }], labels });
  const name = `Compare with ${label} and ${suggested}`;
  const attributes = { type: "button", class: "plain", title: name, onclick };
  return h("button", attributes, "Compare both");
}

/** The elements of a part that lists images. */
export function imageList(page, options) {
  const list = new ImageList(options);
  list.add(page);
  return list.elements;
}
