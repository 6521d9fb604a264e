// Beside the map: what it is, what its colours mean, and what was taken with the lasso.

import { thumbnail } from "../api.js";
import { collection, colourOf, spaces, titleOf } from "../collections.js";
import { announce, h, icon, number, percent, plural } from "../dom.js";
import { current, go } from "../state.js";

const LISTED = 240, MOST = 64; // pictures shown of a selection; examples that one query may have
const METHODS = { tsne: "t-SNE", pca: "PCA", umap: "UMAP" };

export class Panel {
  /** `acts` are onColour(by), onLabels(off), onChoose(row), onTogether(examples) and onClear(). */
  constructor(points, data, acts) {
    Object.assign(this, { points, acts, by: "label", off: new Set() });
    this.colours = h("div", { class: "choice", role: "group", "aria-label": "Colour by", hidden: true }, ["label", "distance"].map((by) =>
      h("button", { type: "button", data: { by }, "aria-pressed": String(by === this.by), onclick: () => acts.onColour(by) }, by === "label" ? "Label" : "Distance to the query")));
    this.legend = h("ul", { class: "labels" });
    this.ramp = h("div", { class: "ramp", hidden: true });
    this.told = h("p", { class: "wrong", role: "alert", hidden: true });
    this.taken = h("section", { class: "taken", "aria-label": "Selected", hidden: true });
    this.details = h("details", { open: innerWidth > 760 }, h("summary", {}, "Labels"), this.legend);
    this.element = h("aside", { id: "map-panel", "aria-label": "About the map" },
      h("header", {}, this.heading(data), h("p", { class: "quiet" }, about(data))), this.colours, this.told, this.ramp, this.taken, this.details);
    this.drawLegend();
  }

  heading(data) {
    const known = collection().spaces;
    if (known.length < 2) return h("h1", {}, titleOf(data.space));
    const select = h("select", { "aria-label": "Map of the space", onchange: () => go({ spaces: [select.value] }) }, known.map(({ name }) => h("option", { value: name }, titleOf(name))));
    select.value = spaces(current())[0];
    return h("h1", {}, select);
  }

  /** How much of the screen this covers. */
  room() {
    const { offsetWidth, offsetLeft } = this.element;
    return innerWidth <= 760 ? { left: 0, bottom: 112 } : { left: offsetWidth + offsetLeft, bottom: 0 };
  }

  drawLegend() {
    const counts = new Map();
    for (const place of this.points.label) counts.set(place, (counts.get(place) ?? 0) + 1);
    const sorted = [...counts].sort(([, one], [, other]) => other - one);
    this.details.hidden = sorted.length < 2;
    this.legend.replaceChildren(...sorted.map(([place, count]) => {
      const label = place < 0 ? null : this.points.labels[place], name = label ?? "no label";
      const toggle = h("button", { type: "button", class: "toggle", "aria-pressed": String(!this.off.has(place)), title: name, onclick: () => this.toggle(place) },
        h("i", { style: { "--colour": colourOf(label) } }), h("span", {}, name), h("small", {}, number(count)));
      const only = h("button", { type: "button", class: "only", "aria-label": `Show ${name} only`, onclick: () => this.only(place, sorted.map(([other]) => other)) }, "only");
      return h("li", { data: { place } }, toggle, only);
    }));
  }

  toggle(place) {
    if (!this.off.delete(place)) this.off.add(place);
    this.toggled();
  }

  // The only one that is shown, chosen again, brings the others back.
  only(place, all) {
    const alone = this.off.size === all.length - 1 && !this.off.has(place);
    this.off = new Set(alone ? [] : all.filter((other) => other !== place));
    this.toggled();
  }

  toggled() {
    for (const item of this.legend.children) item.firstChild.setAttribute("aria-pressed", String(!this.off.has(Number(item.dataset.place))));
    this.acts.onLabels(new Set(this.off));
  }

  allowDistance(allowed) {
    this.colours.hidden = !allowed;
    if (!allowed) this.choose("label");
  }

  choose(by) {
    this.by = by;
    this.say("");
    for (const button of this.colours.children) button.setAttribute("aria-pressed", String(button.dataset.by === by));
    if (by === "label") this.ramp.hidden = true;
  }

  scale({ low, high }) {
    this.ramp.hidden = false;
    this.ramp.replaceChildren(h("i"), h("span", {}, low.toFixed(2)), h("span", {}, `${high.toFixed(2)} and more`));
  }

  say(text) {
    this.told.hidden = !text;
    this.told.textContent = text;
  }

  /** List what was taken with the lasso, or nothing. */
  list(rows) {
    this.taken.hidden = !rows;
    this.details.open = !rows && innerWidth > 760;
    if (!rows) { this.taken.replaceChildren(); return; }
    const name = collection().name, ids = rows.map((row) => this.points.ids[row]);
    // At most so many can be searched by: these are spread evenly over all.
    const step = Math.max(1, ids.length / MOST), examples = Array.from({ length: Math.min(MOST, ids.length) }, (_, at) => ({ id: ids[Math.floor(at * step)] }));
    announce(`${plural(ids.length, "picture")} selected`);
    this.taken.replaceChildren(
      h("header", {}, h("h2", {}, plural(ids.length, "picture")), h("button", { type: "button", class: "plain", onclick: () => this.acts.onClear() }, "Clear")),
      h("ul", {}, rows.slice(0, LISTED).map((row, at) => h("li", {}, h("button", { type: "button", "aria-label": `Search by number ${at + 1}, ${this.points.labelOf(row) ?? "no label"}`, onclick: () => this.acts.onChoose({ id: ids[at] }) },
        h("img", { alt: "", loading: "lazy", src: thumbnail(name, ids[at], 128) }))))),
      ids.length > LISTED ? h("p", { class: "quiet" }, `The first ${LISTED} are shown.`) : "",
      h("button", { type: "button", class: "strong", onclick: () => this.acts.onTogether(examples) }, icon("search"), ids.length > MOST ? `Search by ${MOST} of them` : "Search by them together"));
  }
}

function about({ ids, method, facts = {} }) {
  const measured = facts.fidelity ?? facts, told = [plural(ids.length, "picture"), METHODS[method] ?? method];
  if (measured.trustworthiness) told.push(`trustworthiness ${measured.trustworthiness.toFixed(3)}`);
  if (measured.preservation) told.push(`${percent(measured.preservation)} of nearest neighbours kept`);
  if (facts.missing) told.push(`${number(facts.missing)} not on it yet`);
  return told.join(" · ");
}
