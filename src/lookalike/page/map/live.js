/** The map's data from a server. */

import * as api from "../api.js";
import { colorOf, titleOf } from "../collections.js";
import { h } from "../dom.js";
import { nameOf, number, percent, plural } from "../format.js";
import { shuffledRows } from "./data.js";
import { ThumbnailCache } from "./thumbnails.js";

const METHODS = { tsne: "t-SNE", pca: "PCA", umap: "UMAP" };
const THUMBNAIL_SIDE = 128;
const NO_LABEL = -1; // in the server's answer

/** @implements {MapData} */
export class LiveMapData {
  /** `map` is the server's answer: ids, x, y, labels, and each row's label by its index. */
  constructor(collection, map) {
    this.collection = collection;
    this.title = titleOf(map.space);
    this.summary = summaryOf(map);
    this.ids = map.ids;
    this.count = map.ids.length;
    this.rowOf = new Map(map.ids.map((id, row) => [id, row]));
    this.positions = new Float32Array(2 * this.count);
    for (let row = 0; row < this.count; row++) {
      this.positions[2 * row] = map.x[row];
      this.positions[2 * row + 1] = map.y[row];
    }
    this.order = shuffledRows(this.count);
    this.setLabels(map);
    this.names = new Map();
    const address = (row) => api.thumbnailUrl(collection, this.ids[row], THUMBNAIL_SIDE);
    this.thumbnails = new ThumbnailCache(address);
  }

  // The most frequent label first.
  setLabels(map) {
    const counts = new Map();
    for (const index of map.label) counts.set(index, (counts.get(index) ?? 0) + 1);
    const sorted = [...counts].sort(([, first], [, second]) => second - first);
    this.labels = sorted.map(([index, count]) => {
      const label = index === NO_LABEL ? null : map.labels[index];
      return { name: label ?? "no label", color: colorOf(label), count };
    });
    const place = new Map(sorted.map(([index], at) => [index, at]));
    this.labelIndex = Int32Array.from(map.label, (index) => place.get(index));
  }

  labelName(row) {
    return this.labels[this.labelIndex[row]].name;
  }

  describe(row, position) {
    return `Search with number ${position + 1}, ${this.labelName(row)}`;
  }

  knownName(row) {
    return this.names.get(row) ?? null;
  }

  async loadName(row) {
    const name = nameOf(await api.row(this.collection, this.ids[row]));
    this.names.set(row, name);
    return name;
  }

  imageElement(row, side) {
    const size = side > THUMBNAIL_SIDE ? 256 : THUMBNAIL_SIDE;
    const image = h("img", { alt: "", loading: "lazy" });
    image.addEventListener("load", () => image.classList.add("ready"));
    image.src = api.thumbnailUrl(this.collection, this.ids[row], size);
    return image;
  }
}

function summaryOf({ ids, method, facts = {} }) {
  const quality = facts.fidelity ?? facts;
  const parts = [plural(ids.length, "image"), METHODS[method] ?? method];
  if (quality.trustworthiness) {
    parts.push(`trustworthiness ${quality.trustworthiness.toFixed(3)}`);
  }
  if (quality.preservation) {
    parts.push(`${percent(quality.preservation)} of nearest neighbors preserved`);
  }
  if (facts.missing) parts.push(`${number(facts.missing)} not on it yet`);
  return parts.join(" · ");
}
