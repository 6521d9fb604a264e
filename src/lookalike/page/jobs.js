// Work that takes a while: a button that starts it, and how far it is.

import * as api from "./api.js";
import { announce, h, number } from "./dom.js";

/** `onDone()` when it is done; `onGone(error)` when the server cannot be reached. */
export function progress({ text, running, request, strong, signal, onDone, onGone }) {
  const button = h("button", { type: "button", class: strong ? "strong" : "plain" }, text);
  const bar = h("progress", { "aria-label": running }), told = h("span", {}), line = h("p", { class: "running", hidden: true }, bar, told);
  const failed = h("p", { class: "wrong", role: "alert", hidden: true });
  button.addEventListener("click", async () => {
    [button.hidden, line.hidden, failed.hidden] = [true, false, true];
    announce(`${running}…`);
    try {
      await api.work(request, (done, total) => {
        if (total) [bar.max, bar.value] = [total, done];
        else bar.removeAttribute("value");
        told.textContent = total ? `${running}: ${number(done)} of ${number(total)}` : `${running}…`;
      }, signal);
      announce(`${running}: done.`);
      await onDone();
    } catch (error) {
      [button.hidden, line.hidden] = [false, true];
      if (error instanceof api.Gone) { onGone(error); return; }
      failed.hidden = false;
      failed.textContent = error.message;
    }
  });
  return h("div", { class: "work" }, button, line, failed);
}
