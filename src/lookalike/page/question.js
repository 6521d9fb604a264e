/** Questions to the visitor, in a dialog. */

import { $, h, iconButton, withNames } from "./dom.js";

const dialog = $("#question");

function show(title, ...content) {
  const close = iconButton("close", "Close", () => dialog.close());
  const heading = h("h2", { id: "question-name" }, withNames(title));
  dialog.replaceChildren(h("header", {}, heading, close), ...content);
  dialog.returnValue = "";
  dialog.showModal();
}

/**
 * Ask whether to do something.
 *
 * @param {string} title  The question.
 * @param {string} text  What the answer leads to.
 * @param {string} yes  The text of the button that agrees.
 * @returns {Promise<boolean>} Whether the visitor agreed.
 */
export function ask(title, text, yes) {
  const agree = { type: "button", class: "strong", onclick: () => dialog.close("yes") };
  const refuse = { type: "button", class: "plain", onclick: () => dialog.close() };
  const buttons = [h("button", agree, yes), h("button", refuse, "Cancel")];
  show(title, h("p", {}, withNames(text)), h("div", { class: "ways" }, buttons));
  $(".strong", dialog).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Show a form in the dialog, until it emits "started". */
export function askForm(title, form) {
  show(title, form);
  form.addEventListener("started", () => dialog.close());
}

// A form that is left must not keep its names in the document.
dialog.addEventListener("close", () => dialog.replaceChildren());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
