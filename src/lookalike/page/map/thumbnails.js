// The small pictures of the map: fetched while one looks at them, kept while there is room.

import { thumbnail } from "../api.js";

const AT_ONCE = 12, KEPT = 1500;

export class Thumbnails {
  /** `onLoad()` is called when a picture has come. */
  constructor(collection, onLoad) {
    Object.assign(this, { collection, onLoad, images: new Map(), wanted: [], running: 0 });
  }

  /** The picture of an id and when it came, or null; it is fetched if `want` is told of it. */
  get(id) {
    const entry = this.images.get(id);
    if (!entry) return null;
    // The one asked for last is forgotten last.
    this.images.delete(id);
    this.images.set(id, entry);
    return entry.born ? entry : null;
  }

  /** These are looked at now: what is missing is fetched, the first before the others. */
  want(ids) {
    this.wanted = ids.filter((id) => !this.images.has(id));
    this.next();
  }

  next() {
    while (this.running < AT_ONCE && this.wanted.length) this.fetch(this.wanted.shift());
  }

  fetch(id) {
    if (this.images.has(id)) return;
    const image = new Image(), entry = { image, born: 0 };
    const over = () => { this.running -= 1; this.next(); };
    this.running += 1;
    this.images.set(id, entry);
    if (this.images.size > KEPT) this.images.delete(this.images.keys().next().value);
    image.src = thumbnail(this.collection, id, 128);
    image.decode().then(() => { entry.born = performance.now(); over(); this.onLoad(); }, over);
  }
}
