// How pictures come in: dropped anywhere, pasted, chosen, photographed.

import { $ } from "./dom.js";

export const DRAGGED = "application/x-lookalike";
const PICTURE = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])$/i;

const isPicture = (file) => file.type.startsWith("image/") || PICTURE.test(file.name);

/** `onFiles(files)` gets the pictures; `onRefused(files)` what is none. */
export function takeIn(onFiles, onRefused) {
  const veil = $("#veil");
  let depth = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const leave = () => { depth = 0; veil.hidden = true; };

  const take = (files) => {
    const pictures = files.filter(isPicture);
    if (pictures.length) onFiles(pictures);
    else if (files.length) onRefused(files);
  };

  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("dragleave", (event) => { if (carriesFiles(event) && --depth <= 0) leave(); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    leave();
    if (!event.target.closest?.("[data-drop]")) take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
  for (const input of [$("#file"), $("#camera")]) {
    input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  }
}

export const choose = () => $("#file").click();
export const photograph = () => $("#camera").click();

/** Let an element take what is dropped on it: examples dragged from the page, or files. */
export function dropTarget(element, onDrop) {
  element.dataset.drop = "";
  const carries = (event) => event.dataTransfer.types.includes(DRAGGED) || event.dataTransfer.types.includes("Files");
  element.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    const dragged = event.dataTransfer.getData(DRAGGED);
    if (dragged) event.preventDefault();
    onDrop(dragged ? JSON.parse(dragged) : null, [...event.dataTransfer.files].filter(isPicture));
  });
}
