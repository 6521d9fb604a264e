/** The page's keys, and the dialog that lists them. */

import { $, h, iconButton } from "./dom.js";

const DESCRIPTIONS = [
  ["Move between images", "←", "→", "↑", "↓"],
  ["Search with the image", "Enter"],
  ["Details", "Space", "i"],
  ["More or less like it", "+", "−"],
  ["Search with the collected examples", "s"],
  ["See why a match matches, in its details", "w"],
  ["Crop the query", "c"],
  ["Side by side", "v"],
  ["Filter, or words to search by", "/"],
  ["Choose an image", "u"],
  ["Search, map, health, duplicates, review", "1", "2", "3", "4", "5"],
  ["Zoom the map", "+", "−", "0"],
  ["Lasso on the map", "l"],
  ["Close", "Esc"],
  ["These keys", "?"],
];

const dialog = $("#keys");

/** Show the list of keys. */
export function showKeys() {
  const lines = DESCRIPTIONS.map(([action, ...keys]) => {
    const symbols = keys.map((key) => h("kbd", {}, key));
    return h("div", {}, h("dt", {}, action), h("dd", {}, symbols));
  });
  const title = h("h2", { id: "keys-name" }, "Keys");
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.replaceChildren(h("header", {}, title, close), h("dl", {}, lines));
  dialog.showModal();
  dialog.focus();
}

dialog.tabIndex = -1;
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

const hasModifier = (event) => event.ctrlKey || event.metaKey || event.altKey;
const isTyping = (event) => event.target.closest?.("input, select, textarea");

/**
 * Call `actions[key](event)` for keys pressed outside fields and dialogs.
 *
 * An action that returns false leaves the key to the browser.
 */
export function listenToKeys(actions) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || hasModifier(event) || isTyping(event)) return;
    if (document.querySelector("dialog[open]")) return;
    if (!Object.hasOwn(actions, event.key)) return;
    if (actions[event.key](event) !== false) event.preventDefault();
  });
}
