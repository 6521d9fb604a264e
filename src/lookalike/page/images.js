/** Figures of examples: rows have thumbnails, uploads are files that this page can show. */

import * as api from "./api.js";
import { collection } from "./collections.js";
import { h } from "./dom.js";
import { wordsOf } from "./words.js";

const uploads = new Map(); // by sha256: { file, url }

/** Remember the file of an upload. */
export function rememberUpload(sha, file) {
  if (!uploads.has(sha)) uploads.set(sha, { file, url: URL.createObjectURL(file) });
}

/** The file of an upload, if this page has it. */
export const fileOf = (sha) => uploads.get(sha)?.file;

/** The addresses of an example's image, best first: not every browser shows every format. */
export function imageAddresses({ id, upload }, size) {
  if (id !== undefined) return [api.thumbnailUrl(collection().name, id, size)];
  const ofFile = uploads.get(upload)?.url;
  const ofServer = api.uploadImageUrl(upload, size);
  return ofFile ? [ofFile, ofServer] : [ofServer];
}

/** Let an image element show the first address that works; call `onMissing()` if none does. */
export function showFirst(image, [first, ...others], onMissing = () => {}) {
  image.onload = () => image.classList.add("ready");
  image.onerror = () => {
    if (others.length) showFirst(image, others, onMissing);
    else onMissing();
  };
  image.src = first;
  return image;
}

/** An example as an element: its image, or its words. */
export function figureOf(example, size, onMissing) {
  if (example.text) return wordsOf(example);
  const image = h("img", { alt: "", draggable: "false" });
  return showFirst(image, imageAddresses(example, size), onMissing);
}

/** Upload files; return them as examples. */
export function uploadExamples(files) {
  const uploadOne = async (file) => {
    const { upload } = await api.upload(file).catch((error) => {
      error.fileName = file.name;
      throw error;
    });
    rememberUpload(upload, file);
    return { upload };
  };
  return Promise.all(files.map(uploadOne));
}
