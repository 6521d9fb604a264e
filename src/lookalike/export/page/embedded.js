/** The map's data within an exported page: names, labels, and images as data URIs. */

import { h } from "../../page/dom.js";
import { ThumbnailCache } from "../../page/map/thumbnails.js";

function decodePositions(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const words = new DataView(bytes.buffer);
  const count = bytes.length / 2;
  return Float32Array.from({ length: count }, (_, at) => words.getUint16(2 * at, true) / 65535);
}

/** @implements {MapData} */
export class EmbeddedMapData {
  /** `contents` is the page's JSON, as `map_page.py` writes it. */
  constructor(contents) {
    this.contents = contents;
    this.title = contents.title;
    this.summary = contents.summary;
    this.count = contents.names.length;
    this.positions = decodePositions(contents.positions);
    this.labels = contents.labels;
    this.labelIndex = contents.label_index;
    this.order = Uint32Array.from(contents.order);
    this.thumbnails = new EmbeddedThumbnails(contents);
    this.searchTexts = contents.names.map((name, row) => {
      return `${name}\n${this.labelName(row)}`.toLocaleLowerCase();
    });
  }

  // A rare label shares its legend entry with others, but keeps its name.
  labelName(row) {
    return this.contents.other_labels[row] ?? this.labels[this.labelIndex[row]].name;
  }

  describe(row) {
    return `Show ${this.knownName(row)}, ${this.labelName(row)}`;
  }

  knownName(row) {
    return this.contents.names[row];
  }

  loadName(row) {
    return Promise.resolve(this.knownName(row));
  }

  /** The rows whose name or label contains a text, in the page's order. */
  search(text) {
    const lowered = text.toLocaleLowerCase();
    const rows = [];
    this.searchTexts.forEach((candidate, row) => {
      if (candidate.includes(lowered)) rows.push(row);
    });
    return rows;
  }

  /** A row's file as the reader knows it. */
  pathOf(row) {
    const [folder] = this.contents.folders[this.contents.folder_index[row]];
    return folder + this.knownName(row);
  }

  /** The address of a row's file, or an empty text. */
  linkOf(row) {
    const [, folder] = this.contents.folders[this.contents.folder_index[row]];
    return folder && folder + (this.contents.link_ends[row] || this.knownName(row));
  }

  imageElement(row, side) {
    return this.thumbnails.paint(row, side, this.labels[this.labelIndex[row]].color);
  }
}

/** Sprites of all rows that have one, and larger previews where the page has room for them. */
class EmbeddedThumbnails {
  constructor({ sprite_side: side, sheet_columns: columns, sheets, sprites, ratios, previews }) {
    Object.assign(this, { side, columns, sprites, ratios, previewAddresses: previews });
    this.onLoad = () => {};
    this.previews = new ThumbnailCache((row) => previews[row]);
    this.previews.onLoad = () => this.onLoad();
    this.sheets = sheets.map((address) => this.loadSheet(address));
  }

  loadSheet(address) {
    const sheet = { image: new Image(), loadedAt: null };
    sheet.image.onload = () => {
      sheet.loadedAt = performance.now();
      this.onLoad();
    };
    sheet.image.src = address;
    return sheet;
  }

  get isLoaded() {
    const hasSheets = this.sheets.every(({ loadedAt }) => loadedAt !== null);
    return hasSheets && this.previews.isLoaded;
  }

  get(row, side) {
    const sprite = this.sprite(row);
    if (!sprite || side <= this.side) return sprite;
    const preview = this.previews.get(row);
    // The preview takes the sprite's place without fading in again.
    return preview ? { ...preview, loadedAt: sprite.loadedAt } : sprite;
  }

  want(rows, side) {
    if (side > this.side) this.previews.want(rows);
  }

  // Sprites are squares on a sheet, in which images are stretched to fill them.
  sprite(row) {
    const sprite = this.sprites[row];
    if (sprite < 0) return null;
    const perSheet = this.columns ** 2;
    const { image, loadedAt } = this.sheets[Math.floor(sprite / perSheet)];
    if (loadedAt === null) return null;
    const index = sprite % perSheet;
    const left = (index % this.columns) * this.side;
    const top = Math.floor(index / this.columns) * this.side;
    // Half a pixel in, so that no neighbor on the sheet shines through.
    const source = [left + 0.5, top + 0.5, this.side - 1, this.side - 1];
    return { image, source, ratio: this.ratios[row], loadedAt };
  }

  /** A canvas with a row's image; a row without one is a plain color. */
  paint(row, side, color) {
    const ratio = this.ratios[row];
    const pixels = side * Math.min(2, devicePixelRatio);
    const width = Math.max(4, Math.round(ratio > 1 ? pixels : pixels * ratio));
    const height = Math.max(4, Math.round(ratio > 1 ? pixels / ratio : pixels));
    const canvas = h("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const sprite = this.sprite(row);
    if (sprite) {
      context.drawImage(sprite.image, ...sprite.source, 0, 0, width, height);
    } else {
      context.fillStyle = color;
      context.fillRect(0, 0, width, height);
    }
    const preview = this.previewAddresses[row];
    if (preview && pixels > this.side) {
      const image = new Image();
      image.onload = () => context.drawImage(image, 0, 0, width, height);
      image.src = preview;
    }
    return canvas;
  }
}
