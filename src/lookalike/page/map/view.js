/** The map as a whole: its canvases, panel, buttons and card, over any source of data. */

import { h, iconButton } from "../dom.js";
import { onTheme } from "../themes.js";
import { MapCanvas } from "./canvas.js";
import { Card } from "./card.js";
import { Panel } from "./panel.js";
import { Pointing } from "./pointing.js";

const BUTTON_ZOOM = 1.8;

export class MapView {
  /**
   * @param {HTMLElement} box  What the map fills.
   * @param {MapData} data
   * @param {object} options
   * @param {string} options.label  What screen readers call the map, with its keys.
   * @param {Node=} options.heading  In the place of the data's title.
   * @param {number=} options.maxExamples  How many rows can be searched by together.
   * @param {string=} options.tapText  With it, a finger's first tap shows a card with this button.
   * @param {object} actions
   * @param {(row: number) => void} actions.onChoose
   * @param {((by: string) => void)=} actions.onColor
   * @param {((rows: number[]) => void)=} actions.onSearchTogether
   */
  constructor(box, data, options, actions) {
    this.data = data;
    const dotsCanvas = h("canvas", { "aria-hidden": "true" });
    const attributes = { id: "map-canvas", tabindex: 0, role: "application" };
    const canvas = h("canvas", { ...attributes, "aria-label": options.label });

    const choose = (row) => {
      this.pointing.hide();
      actions.onChoose(row);
    };
    this.panel = new Panel(data, options, {
      onChoose: choose,
      onColor: actions.onColor,
      onSearchTogether: actions.onSearchTogether,
      onLabels: (hidden) => {
        this.canvas.hideLabels(hidden);
        this.pointing.hide();
      },
      onFound: (rows) => this.showFound(rows),
      onEnter: (rows) => this.canvas.camera.fly(this.canvas.camera.around(rows, data.positions)),
      onPoint: (row) => {
        this.canvas.hovered = row;
        this.canvas.redraw();
      },
      onClear: () => this.pointing.clear(),
    });
    box.replaceChildren(dotsCanvas, canvas, this.panel.element, this.makeButtons());
    this.canvas = new MapCanvas(data, dotsCanvas, canvas, () => this.panel.covered());
    this.card = new Card(this.canvas, { tapText: options.tapText, onChoose: choose });
    box.append(this.card.element, this.emptyHint);
    this.canvas.onView = (isOverview, isEmpty) => {
      this.fitButton.classList.toggle("away", !isOverview);
      this.emptyHint.hidden = !isEmpty;
    };
    this.pointing = new Pointing(this.canvas, this.card, {
      onChoose: choose,
      onSelect: (rows) => this.select(rows),
      onLasso: (on) => this.lassoButton.setAttribute("aria-pressed", String(on)),
    });
    this.canvas.measure();
    // Within reach of the console, and of tests.
    box.mapView = this;
  }

  makeButtons() {
    const fly = (viewOf) => () => this.canvas.camera.fly(viewOf(this.canvas.camera));
    const toggleLasso = () => this.pointing.setLasso(!this.pointing.lassoOn);
    this.lassoButton = iconButton("lasso", "Lasso", toggleLasso, {
      title: "Draw a lasso (l), or drag with Shift",
      "aria-pressed": "false",
    });
    const zoomIn = fly((camera) => camera.zoomedBy(BUTTON_ZOOM));
    const zoomOut = fly((camera) => camera.zoomedBy(1 / BUTTON_ZOOM));
    const showAll = fly((camera) => camera.overview());
    this.fitButton = iconButton("fit", "Show all of the map", showAll, {
      title: "Show all (0)",
      class: "fit",
    });
    this.fitButton.append(h("span", { "aria-hidden": "true" }, "Fit"));
    const back = { type: "button", class: "strong", onclick: showAll };
    this.emptyHint = h(
      "div",
      { class: "map-empty", role: "status", hidden: true },
      h("p", {}, "No images here"),
      h("button", back, "Show all of them"),
    );
    return h(
      "div",
      { class: "map-buttons", role: "group", "aria-label": "Zoom" },
      this.lassoButton,
      iconButton("plus", "Zoom in", zoomIn, { title: "Zoom in (+)" }),
      iconButton("minus", "Zoom out", zoomOut, { title: "Zoom out (-)" }),
      this.fitButton,
    );
  }

  showFound(rows) {
    this.canvas.highlight(rows, { onlyImages: true });
  }

  select(rows) {
    if (rows) this.canvas.highlight(rows);
    else this.showFound(this.panel.found);
    this.panel.showSelection(rows);
  }

  /** Handle a key; return whether it meant anything here. */
  key(name) {
    if (name === "/") return this.panel.focusSearch();
    if (name === "Escape") return this.escape();
    return this.pointing.key(name);
  }

  escape() {
    const { lassoOn } = this.pointing;
    this.pointing.hide();
    const wasSearching = this.panel.clearSearch();
    if (wasSearching || lassoOn || this.canvas.highlighted) {
      this.pointing.clear();
      return true;
    }
    return false;
  }

  /** Point at nothing, before another view is shown. */
  leave() {
    this.pointing.hide();
  }

  /** End the map's work. */
  stop() {
    this.card.hide();
    this.canvas.stop();
  }
}

/** Let a map follow the theme; `current()` returns the map that is shown, or null. */
export function followTheme(current) {
  onTheme(() => current()?.canvas.recolor());
}
