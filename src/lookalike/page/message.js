/** Messages over the view, which stays as it is. */

import { $, h, iconButton, withNames } from "./dom.js";
import { isolate } from "./format.js";

const box = $("#message");

export const FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC";

/** Show a message until it is closed, or another view or query is shown. */
export function showMessage(text) {
  const close = iconButton("close", "Close the message", hideMessage, { class: "small" });
  box.replaceChildren(h("p", {}, withNames(text)), close);
  box.hidden = false;
}

export function hideMessage() {
  box.hidden = true;
  box.replaceChildren();
}

/** Why files cannot be searched by, in a visitor's words. */
export function describeFileProblem(names, error) {
  if (error.title !== "Unreadable image") return error.message;
  const reason = error.message.replace(/^.*decoded as an image: /, "");
  const file = names.length === 1 ? isolate(names[0]) : "One of the files";
  if (reason.startsWith("damaged")) {
    return `${file}: This file is damaged. It is cut short or broken inside.`;
  }
  if (reason.startsWith("the file is empty")) return `${file}: This file is empty.`;
  if (reason.startsWith("not an image")) return describeOtherFile(file);
  return `${file}: ${reason}`;
}

/** That a file is no image. */
export const describeOtherFile = (file) => `${file} is not an image. Use a ${FORMATS} file.`;
