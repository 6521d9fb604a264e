/** The list below the filter box that completes its text: a combobox by mouse, finger and keys. */

import { h } from "./dom.js";

/**
 * Let a field complete its text.
 *
 * @param {HTMLInputElement} input
 * @param {HTMLElement} list  Where the completions are listed.
 * @param {(before: string) => object[]} completionsOf  See `where.js`.
 * @param {() => void} onPick  A completion was taken over.
 */
export function makeCompletion(input, list, completionsOf, onPick) {
  let shown = [];
  let active = -1;
  let end = 0; // of the part that is completed: the caret may move while the list is shown

  const close = () => {
    shown = [];
    draw();
  };

  function open() {
    end = input.selectionStart;
    // Within a word there is nothing to complete.
    const isAtEnd = !/^[\p{L}\p{N}_]/u.test(input.value.slice(end));
    shown = isAtEnd ? completionsOf(input.value.slice(0, end)) : [];
    active = -1;
    draw();
  }

  function draw() {
    const items = shown.map(({ name, hint }, index) => {
      const attributes = {
        id: `${list.id}-${index}`,
        role: "option",
        "aria-selected": String(index === active),
      };
      const item = h("li", attributes, h("bdi", {}, name), h("small", {}, hint));
      // The field keeps the focus.
      item.addEventListener("pointerdown", (event) => event.preventDefault());
      item.addEventListener("click", () => pick(index));
      return item;
    });
    list.replaceChildren(...items);
    list.hidden = !shown.length;
    input.setAttribute("aria-expanded", String(shown.length > 0));
    if (shown.length && active >= 0) {
      input.setAttribute("aria-activedescendant", `${list.id}-${active}`);
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  }

  function pick(index) {
    const { start, text } = shown[index];
    input.setRangeText(text, start, end, "end");
    onPick();
    // A column is followed by its values.
    open();
  }

  function move(by) {
    if (!shown.length) open();
    if (!shown.length) return;
    // From the field, ArrowUp leads to the last one.
    const from = active < 0 && by < 0 ? 0 : active;
    active = (from + by + shown.length) % shown.length;
    draw();
  }

  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");
  input.addEventListener("input", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const isOpen = shown.length > 0;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && isOpen && active >= 0) {
      event.preventDefault();
      event.stopImmediatePropagation();
      pick(active);
    } else if (event.key === "Enter") {
      close();
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      event.stopImmediatePropagation();
      close();
    }
  });
}
