/** What the parts of a review have in common. */

import { h } from "./dom.js";
import { showMessage } from "./message.js";

/** A button that cannot be pressed again while its action, `act()`, runs. */
export function moreButton(text, act) {
  const button = h("button", { type: "button", class: "plain" }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await act();
    } catch (error) {
      showMessage(error.message);
    }
    button.disabled = false;
  });
  return button;
}

/** An image for its details, where a distance would be taken for that to a query. */
export const withoutDistance = ({ distance, ...image }) => image;
