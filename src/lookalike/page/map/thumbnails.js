/** Images of rows, loaded while they are visible and kept while there is room. */

const PARALLEL = 12;
const CAPACITY = 1500;

/** An image of its own size, as the map draws it. */
function drawable(image, loadedAt) {
  const { naturalWidth: width, naturalHeight: height } = image;
  return { image, source: [0, 0, width, height], ratio: width / height, loadedAt };
}

export class ThumbnailCache {
  /** `address(row)` is where a row's image is loaded from, or an empty text if it has none. */
  constructor(address) {
    this.address = address;
    this.onLoad = () => {};
    this.entries = new Map();
    this.waiting = [];
    this.running = 0;
  }

  /** A row's image if it has been loaded, or null. */
  get(row) {
    const entry = this.entries.get(row);
    if (!entry) return null;
    // The map's order is from the least to the most recently used.
    this.entries.delete(row);
    this.entries.set(row, entry);
    return entry.drawable;
  }

  /** Whether no image is being loaded, and none waits for that. */
  get isLoaded() {
    return !this.running && !this.waiting.length;
  }

  /** Load the images of the rows that are visible now, the first ones first. */
  want(rows) {
    this.waiting = rows.filter((row) => !this.entries.has(row));
    this.startNext();
  }

  startNext() {
    while (this.running < PARALLEL && this.waiting.length) this.load(this.waiting.shift());
  }

  async load(row) {
    const address = this.address(row);
    if (!address || this.entries.has(row)) return;
    const entry = { drawable: null };
    this.entries.set(row, entry);
    if (this.entries.size > CAPACITY) this.entries.delete(this.entries.keys().next().value);
    this.running += 1;
    const image = new Image();
    image.src = address;
    try {
      await image.decode();
      entry.drawable = drawable(image, performance.now());
      this.onLoad();
    } catch {
      // An image that cannot be loaded stays a dot.
    }
    this.running -= 1;
    this.startNext();
  }
}
