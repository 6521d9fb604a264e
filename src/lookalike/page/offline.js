/** While the server cannot be reached: say so, try again, and continue once it answers. */

import * as api from "./api.js";
import { $, announce } from "./dom.js";

const INTERVAL = 2000; // milliseconds between two tries
const message = $("#offline");

let timer = 0;
let resume = null; // what to do once the server answers

/** Say that the server does not answer, and call `retry()` once it does. */
export function waitForServer(retry) {
  resume = retry;
  message.hidden = false;
  timer ||= setTimeout(tryServer, INTERVAL);
}

async function tryServer() {
  try {
    await api.health();
  } catch (error) {
    if (error instanceof api.ServerUnreachable) {
      timer = setTimeout(tryServer, INTERVAL);
      return;
    }
  }
  goOn();
}

function goOn() {
  clearTimeout(timer);
  timer = 0;
  if (message.hidden) return;
  message.hidden = true;
  announce("The server answers again.");
  const retry = resume;
  resume = null;
  retry?.();
}

$("#offline button").addEventListener("click", () => {
  clearTimeout(timer);
  tryServer();
});
