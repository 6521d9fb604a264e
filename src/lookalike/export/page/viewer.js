/** One image of an exported map, with its file's path and a link to it. */

import { $, h } from "../../page/dom.js";

const MAX_SIDE = 420; // CSS pixels of an embedded image

export class Viewer {
  /** @param {EmbeddedMapData} data */
  constructor(data) {
    this.data = data;
    this.dialog = $("#viewer");
    $("#close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** Show a row. */
  open(row) {
    const { data, dialog } = this;
    const link = data.linkOf(row);
    const isFile = link.startsWith("file:///");
    // A page from the web cannot lead to files.
    const canOpen = Boolean(link) && (!isFile || location.protocol === "file:");
    $("h2", dialog).textContent = data.knownName(row);
    $(".label i", dialog).style.setProperty("--color", data.labels[data.labelIndex[row]].color);
    $(".label span", dialog).textContent = data.labelName(row);
    $(".path", dialog).textContent = data.pathOf(row);
    this.setLink(canOpen ? link : "");
    this.showImage(row, canOpen && isFile ? link : "");
    dialog.showModal();
  }

  setLink(link) {
    const anchor = $("a", this.dialog);
    anchor.hidden = !link;
    if (link) anchor.href = link;
    else anchor.removeAttribute("href");
  }

  // The embedded image at once, and the original if the browser can load and show it.
  showImage(row, original) {
    const stage = $(".image", this.dialog);
    const side = Math.min(innerWidth - 64, innerHeight * 0.5, MAX_SIDE);
    const canvas = this.data.imageElement(row, side);
    const name = this.data.knownName(row);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", name);
    canvas.style.width = `${Math.round(canvas.width / Math.min(2, devicePixelRatio))}px`;
    stage.replaceChildren(canvas);
    if (!original) return;
    const image = h("img", { alt: name });
    image.onload = () => {
      if (canvas.isConnected) stage.replaceChildren(image);
    };
    image.src = original;
  }
}
