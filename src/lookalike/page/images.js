// The pictures one searches by: rows of the collection, and uploads, which this page can show by itself.

import * as api from "./api.js";
import { collection } from "./collections.js";

const uploads = new Map(); // sha256 -> { file, url }

export function remember(sha, file, url = URL.createObjectURL(file)) {
  if (!uploads.has(sha)) uploads.set(sha, { file, url });
}

export const fileOf = (sha) => uploads.get(sha)?.file;

/** The addresses at which an example may be seen, best first: not every browser shows every format. */
export function addresses({ id, upload }, size) {
  if (id !== undefined) return [api.thumbnail(collection().name, id, size)];
  return [uploads.get(upload)?.url, api.uploadPicture(upload, size)].filter(Boolean);
}

/** Let an image show the first of some addresses that works. */
export function showFirst(image, [first, ...others], missing = () => {}) {
  image.onload = () => image.classList.add("ready");
  image.onerror = () => (others.length ? showFirst(image, others, missing) : missing());
  image.src = first;
  return image;
}

/** Send files that are to be examples, and name them as the server does. */
export function send(files) {
  return Promise.all(files.map(async (file) => {
    const { upload } = await api.upload(file);
    remember(upload, file);
    return { upload };
  }));
}
