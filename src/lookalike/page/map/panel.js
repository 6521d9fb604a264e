/** The panel beside the map: its title, the colors, the search, the selection and the legend. */

import { announce, colorDot, h, icon } from "../dom.js";
import { number, plural } from "../format.js";
import { distanceStops } from "../palette.js";

const NARROW = 760; // CSS pixels of the screen below which the panel lies at the bottom
const SELECTION_LISTED = 240;
const FOUND_LISTED = 100;
const ROW_IMAGE_SIDE = 34; // CSS pixels

const isNarrow = () => innerWidth <= NARROW;

export class Panel {
  /**
   * @param {MapData} data
   * @param {object} options
   * @param {Node=} options.heading  Shown in the place of the title's text.
   * @param {number=} options.maxExamples  How many rows can be searched by together.
   * @param {object} actions
   * @param {(by: "label" | "distance") => void} actions.onColor
   * @param {(hidden: Set<number>) => void} actions.onLabels
   * @param {(row: number) => void} actions.onChoose
   * @param {(row: number) => void} actions.onPoint  A list's row is pointed at; -1 if none is.
   * @param {(rows: number[] | null) => void} actions.onFound
   * @param {(rows: number[]) => void} actions.onEnter  Enter was pressed in the search.
   * @param {() => void} actions.onClear
   * @param {((rows: number[]) => void)=} actions.onSearchTogether
   */
  constructor(data, options, actions) {
    Object.assign(this, { data, options, actions });
    this.colorBy = "label";
    this.hidden = new Set(); // indices of labels
    this.found = null; // rows, or null: nothing is searched for
    this.colorChoice = this.makeColorChoice();
    this.problem = h("p", { class: "wrong", role: "alert", hidden: true });
    this.hint = h("p", { class: "hint", role: "status" });
    this.scale = h("div", { class: "ramp", hidden: true });
    this.selection = h("section", { class: "selection", "aria-label": "Selection", hidden: true });
    this.legend = this.makeLegend();
    const title = h("h1", { dir: "auto" }, options.heading ?? data.title);
    this.element = h(
      "aside",
      { class: "map-panel", "aria-label": "About the map" },
      h("header", {}, title, h("p", { class: "quiet" }, data.summary)),
      this.hint,
      this.colorChoice,
      this.problem,
      this.scale,
      data.search ? this.makeSearch() : null,
      this.selection,
      this.legend,
    );
  }

  /** How much of the screen the panel covers, at the left or at the bottom. */
  covered() {
    const { offsetWidth, offsetLeft, offsetHeight } = this.element;
    if (!isNarrow()) return { left: offsetWidth + offsetLeft, bottom: 0 };
    return { left: 0, bottom: Math.min(offsetHeight, 0.4 * innerHeight) + 16 };
  }

  // ---- colors ----------------------------------------------------------------------------------

  makeColorChoice() {
    const button = (by, text) => {
      const attributes = { type: "button", data: { by }, onclick: () => this.actions.onColor(by) };
      return h("button", { ...attributes, "aria-pressed": String(by === this.colorBy) }, text);
    };
    const attributes = { class: "choice", role: "group", "aria-label": "Color by", hidden: true };
    const buttons = [button("label", "Label"), button("distance", "Distance to the query")];
    return h("div", attributes, buttons);
  }

  /** Offer to color by distance, where there is a query. */
  allowDistance(allowed) {
    this.colorChoice.hidden = !allowed;
    if (!allowed) this.setColorBy("label");
  }

  setColorBy(by) {
    this.colorBy = by;
    this.showProblem("");
    for (const button of this.colorChoice.children) {
      button.setAttribute("aria-pressed", String(button.dataset.by === by));
    }
    if (by === "label") this.scale.hidden = true;
  }

  showScale({ low, high }) {
    this.scale.hidden = false;
    const dark = distanceStops(true);
    const stops = distanceStops(false).map((light, at) => `light-dark(${light}, ${dark[at]})`);
    const style = { background: `linear-gradient(90deg, ${stops.join(", ")})` };
    const ends = [h("span", {}, low.toFixed(2)), h("span", {}, `${high.toFixed(2)} and more`)];
    this.scale.replaceChildren(h("i", { style }), ...ends);
  }

  /** Say that something is on its way, or nothing if the text is empty. */
  showHint(text) {
    this.hint.textContent = text;
  }

  showProblem(text) {
    this.problem.hidden = !text;
    this.problem.textContent = text;
  }

  // ---- the search by name or label -------------------------------------------------------------

  makeSearch() {
    this.input = h("input", {
      type: "search",
      placeholder: "Search by name or label",
      "aria-label": "Search by name or label",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.input.addEventListener("input", () => this.search());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.found?.length) this.actions.onEnter(this.found);
    });
    this.foundCount = h("p", { class: "quiet", role: "status" });
    this.foundList = h("ol");
    const attributes = { class: "found", "aria-label": "Search results", hidden: true };
    this.foundSection = h("section", attributes, this.foundCount, this.foundList);
    const key = h("kbd", { "aria-hidden": "true" }, "/");
    return h("search", {}, h("div", { class: "field" }, this.input, key), this.foundSection);
  }

  search() {
    const text = this.input.value.trim();
    this.found = text ? this.data.search(text) : null;
    this.foundSection.hidden = !this.found;
    this.actions.onFound(this.found);
    if (!this.found) return;
    const rest = this.found.length > FOUND_LISTED ? `, the first ${FOUND_LISTED} listed` : "";
    this.foundCount.textContent = `${number(this.found.length)} found${rest}`;
    const listed = this.found.slice(0, FOUND_LISTED);
    this.foundList.replaceChildren(...listed.map((row) => this.foundItem(row)));
  }

  foundItem(row) {
    const { data, actions } = this;
    const choose = () => {
      actions.onEnter([row]);
      actions.onChoose(row);
    };
    const button = h(
      "button",
      { type: "button", onclick: choose },
      data.imageElement(row, ROW_IMAGE_SIDE),
      h("b", { dir: "auto" }, data.knownName(row)),
      h("span", { dir: "auto" }, data.labelName(row)),
    );
    for (const event of ["focus", "mouseenter"]) {
      button.addEventListener(event, () => actions.onPoint(row));
    }
    for (const event of ["blur", "mouseleave"]) {
      button.addEventListener(event, () => actions.onPoint(-1));
    }
    return h("li", {}, button);
  }

  /** Forget the search; return whether there was one. */
  clearSearch() {
    if (!this.found) return false;
    this.input.value = "";
    this.search();
    return true;
  }

  focusSearch() {
    this.input?.select();
    return Boolean(this.input);
  }

  // ---- the selection ---------------------------------------------------------------------------

  /** List the rows that the lasso selected, or none if `rows` is null. */
  showSelection(rows) {
    this.selection.hidden = !rows;
    this.legend.open = !rows && !isNarrow();
    this.selection.replaceChildren();
    if (!rows) return;
    const title = plural(rows.length, "image");
    announce(`${title} selected`);
    const clear = { type: "button", class: "plain", onclick: () => this.actions.onClear() };
    const listed = rows.slice(0, SELECTION_LISTED);
    this.selection.append(
      h("header", {}, h("h2", {}, title), h("button", clear, "Clear")),
      h(
        "ul",
        {},
        listed.map((row, position) => this.selectionItem(row, position)),
      ),
    );
    if (rows.length > listed.length) {
      this.selection.append(h("p", { class: "quiet" }, `The first ${SELECTION_LISTED} are shown.`));
    }
    if (this.actions.onSearchTogether) this.selection.append(this.searchTogetherButton(rows));
  }

  selectionItem(row, position) {
    const attributes = {
      type: "button",
      "aria-label": this.data.describe(row, position),
      onclick: () => this.actions.onChoose(row),
    };
    return h("li", {}, h("button", attributes, this.data.imageElement(row, 64)));
  }

  searchTogetherButton(rows) {
    const limit = this.options.maxExamples;
    // Of more rows, as many as allowed are taken, spread evenly over all.
    const step = Math.max(1, rows.length / limit);
    const count = Math.min(limit, rows.length);
    const examples = Array.from({ length: count }, (_, at) => rows[Math.floor(at * step)]);
    const attributes = {
      type: "button",
      class: "strong",
      onclick: () => this.actions.onSearchTogether(examples),
    };
    const text = rows.length > limit ? `Search with ${limit} of them` : "Search with them together";
    return h("button", attributes, icon("search"), text);
  }

  // ---- the legend ------------------------------------------------------------------------------

  makeLegend() {
    this.entries = this.data.labels.map((label, index) => this.legendEntry(label, index));
    const showAll = { type: "button", class: "show-all", hidden: true };
    this.showAllButton = h("button", { ...showAll, onclick: () => this.showAll() }, "Show all");
    return h(
      "details",
      { open: !isNarrow(), hidden: this.data.labels.length < 2 },
      h("summary", {}, "Labels"),
      this.showAllButton,
      h("ul", { class: "labels" }, this.entries),
    );
  }

  legendEntry({ name, color, count }, index) {
    const toggle = {
      type: "button",
      class: "toggle",
      title: name,
      "aria-pressed": "true",
      onclick: () => this.toggleLabel(index),
    };
    const only = {
      type: "button",
      class: "only",
      "aria-label": `Show ${name} only`,
      onclick: () => this.showOnly(index),
    };
    const text = h("span", { dir: "auto" }, name);
    const parts = [colorDot(color), text, h("small", {}, number(count))];
    return h("li", {}, h("button", toggle, parts), h("button", only, "only"));
  }

  toggleLabel(index) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    this.labelsChanged();
  }

  // Choosing the only shown label once more brings the others back.
  showOnly(index) {
    const others = this.data.labels.map((_, other) => other).filter((other) => other !== index);
    const isAlone = this.hidden.size === others.length && !this.hidden.has(index);
    this.hidden = new Set(isAlone ? [] : others);
    this.labelsChanged();
  }

  showAll() {
    this.hidden.clear();
    this.labelsChanged();
    this.entries[0].firstChild.focus();
  }

  labelsChanged() {
    this.entries.forEach((entry, index) => {
      entry.firstChild.setAttribute("aria-pressed", String(!this.hidden.has(index)));
    });
    this.showAllButton.hidden = !this.hidden.size;
    this.actions.onLabels(new Set(this.hidden));
  }
}
