// When the server is gone: say so, look whether it is back, and go on where one was.

import * as api from "./api.js";
import { $, announce } from "./dom.js";

const EVERY = 2000;
let timer = 0, resume = null;

async function look() {
  try {
    await api.health();
  } catch (error) {
    if (error instanceof api.Gone) { timer = setTimeout(look, EVERY); return; }
  }
  back();
}

function back() {
  clearTimeout(timer);
  timer = 0;
  if ($("#gone").hidden) return;
  $("#gone").hidden = true;
  announce("The server is back.");
  const again = resume;
  resume = null;
  again?.();
}

/** The server did not answer; `again` is done once it does. */
export function lost(again) {
  resume = again;
  $("#gone").hidden = false;
  timer ||= setTimeout(look, EVERY);
}

$("#gone button").addEventListener("click", () => { clearTimeout(timer); look(); });
