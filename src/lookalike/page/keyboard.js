// What the keys do, and the page that tells.

import { $, h, iconButton } from "./dom.js";

const TOLD = [
  ["Move among the pictures", "←", "→", "↑", "↓"], ["Search by the picture", "Enter"], ["Details", "Space", "i"],
  ["More, less like it", "+", "−"], ["Search by the tray", "s"], ["A part of the query", "c"], ["Side by side", "v"], ["Filter", "/"],
  ["Choose a picture", "u"], ["Search, map, health", "1", "2", "3"], ["Zoom the map", "+", "−", "0"], ["Lasso on the map", "l"], ["Close", "Esc"], ["These keys", "?"],
];

export function showKeys() {
  const dialog = $("#keys");
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "keys-name" }, "Keys"), iconButton("close", "Close", () => dialog.close())),
    h("dl", {}, TOLD.map(([what, ...keys]) => h("div", {}, h("dt", {}, what), h("dd", {}, keys.map((key) => h("kbd", {}, key)))))));
  dialog.showModal();
  dialog.focus();
}

$("#keys").tabIndex = -1;
$("#keys").addEventListener("click", (event) => { if (event.target === $("#keys")) $("#keys").close(); });

/** `acts` says what each key does, where nobody is writing and no dialog is open; one may answer false: not now. */
export function listen(acts) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || event.target.closest?.("input, select, textarea")) return;
    if (!Object.hasOwn(acts, event.key) || acts[event.key](event) === false) return;
    event.preventDefault();
  });
}
