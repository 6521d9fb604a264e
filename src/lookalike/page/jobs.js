/** Jobs of the server: a button that starts one, and its progress. */

import * as api from "./api.js";
import { announce, h } from "./dom.js";
import { number } from "./format.js";

/**
 * Make the button of a job.
 *
 * @param {object} options
 * @param {string} options.text  The button's text.
 * @param {string} options.running  What the job does, such as "Making the map".
 * @param {object} options.request  The job's description for the server.
 * @param {boolean=} options.strong  Whether the button stands out.
 * @param {AbortSignal=} options.signal  Stops following the job.
 * @param {() => void | Promise<void>} options.onDone
 * @param {(error: Error) => void} options.onUnreachable
 */
export function jobButton({ text, running, request, strong, signal, onDone, onUnreachable }) {
  const button = h("button", { type: "button", class: strong ? "strong" : "plain" }, text);
  const bar = h("progress", { "aria-label": running });
  const status = h("span");
  const line = h("p", { class: "running", hidden: true }, bar, status);
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });

  const setRunning = (isRunning) => {
    button.hidden = isRunning;
    line.hidden = !isRunning;
  };
  const report = (done, total) => {
    if (total) {
      bar.max = total;
      bar.value = done;
      status.textContent = `${running}: ${number(done)} of ${number(total)}`;
    } else {
      bar.removeAttribute("value");
      status.textContent = `${running}…`;
    }
  };
  button.addEventListener("click", async () => {
    setRunning(true);
    problem.hidden = true;
    announce(`${running}…`);
    try {
      await api.runJob(request, report, signal);
      announce(`${running}: done.`);
      await onDone();
    } catch (error) {
      setRunning(false);
      if (error instanceof api.ServerUnreachable) {
        onUnreachable(error);
        return;
      }
      problem.hidden = false;
      problem.textContent = error.message;
    }
  });
  return h("div", { class: "work" }, button, line, problem);
}
