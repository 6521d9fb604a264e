/** How images come in: dropped anywhere, pasted, chosen, or taken with a camera. */

import { $ } from "./dom.js";

/** The media type of an example that is dragged from the page. */
export const EXAMPLE_TYPE = "application/x-lookalike";

const IMAGE_NAME = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf]|jp2|jxl|dng)$/i;

const isImage = (file) => file.type.startsWith("image/") || IMAGE_NAME.test(file.name);
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

/** Call `onFiles(images)` when images come in, and `onRefused(files)` when none of them is one. */
export function acceptUploads(onFiles, onRefused) {
  const accept = (files) => {
    const images = files.filter(isImage);
    if (images.length) onFiles(images);
    else if (files.length) onRefused(files);
  };
  acceptDrops(accept);
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    accept(files);
  });
  for (const input of [$("#file"), $("#camera")]) {
    input.addEventListener("change", () => {
      accept([...input.files]);
      // The same file can be chosen again.
      input.value = "";
    });
  }
}

function acceptDrops(accept) {
  const veil = $("#veil");
  // Entering a child element leaves its parent: the pointer is outside when all were left.
  let entered = 0;
  const leave = () => {
    entered = 0;
    veil.hidden = true;
  };
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    entered += 1;
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    entered -= 1;
    if (entered <= 0) leave();
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    leave();
    const hasOwnTarget = event.target.closest?.("[data-drop]");
    if (!hasOwnTarget) accept([...event.dataTransfer.files]);
  });
}

/** Let the reader choose files. */
export const chooseFiles = () => $("#file").click();

/** Let the reader take a photograph. */
export const takePhotograph = () => $("#camera").click();

/** Make an element a drop target: `onDrop(example | null, images)`. */
export function makeDropTarget(element, onDrop) {
  element.dataset.drop = "";
  element.addEventListener("dragover", (event) => {
    const accepts = event.dataTransfer.types.includes(EXAMPLE_TYPE) || carriesFiles(event);
    if (!accepts) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    const dragged = event.dataTransfer.getData(EXAMPLE_TYPE);
    if (dragged) event.preventDefault();
    const images = [...event.dataTransfer.files].filter(isImage);
    onDrop(dragged ? JSON.parse(dragged) : null, images);
  });
}
