/** Images of a list, as buttons. */

import * as api from "./api.js";
import { h } from "./dom.js";
import { nameOf } from "./format.js";
import { showFirst } from "./images.js";

const THUMBNAIL = 256; // pixels

/** A button that shows an image; `open()` shows its details. */
export function imageButton(image, shown, open, size = THUMBNAIL) {
  const address = api.thumbnailUrl(shown.name, image.id, size, image.content);
  const picture = h("img", { alt: "", loading: "lazy" });
  const label = `Details of ${nameOf(image)}`;
  const attributes = { type: "button", class: "image", "aria-label": label };
  const button = h("button", { ...attributes, onclick: open }, picture);
  showFirst(picture, [address], () => button.classList.add("missing"));
  return button;
}
