/** The form that asks for the server's token, in the place of every view. */

import * as api from "./api.js";
import { $, announce, h } from "./dom.js";

const section = $("#sign-in");

let resume = null; // what to do once the token is right

/** Ask for the token, and call `onSuccess()` once it is right. */
export function askForToken(onSuccess) {
  resume = onSuccess;
  // The form stays as it is while the visitor types.
  if (!section.hidden) return;
  document.body.classList.add("locked");
  section.hidden = false;
  document.title = "Token · Lookalike";
  drawForm(wasGivenInAddress() ? "The token in the address is wrong." : "");
}

// The server redirects an address with the right token, so one that is still there is wrong.
function wasGivenInAddress() {
  const address = new URL(location.href);
  if (!address.searchParams.has("token")) return false;
  address.searchParams.delete("token");
  history.replaceState(history.state, "", address);
  return true;
}

function drawForm(message) {
  const field = h("input", {
    id: "token",
    class: "line",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "token-hint token-problem",
  });
  const problem = h("p", { id: "token-problem", class: "wrong", role: "alert" });
  // Password managers store a password with a name.
  const name = { type: "text", autocomplete: "username", value: "lookalike", hidden: true };
  const form = h(
    "form",
    {},
    h("input", name),
    h("label", { for: "token" }, "Token"),
    h("div", {}, field, h("button", { type: "submit", class: "strong" }, "Open")),
    problem,
  );
  const hint =
    "It is the one that the server was started with, or that it printed then after ?token= " +
    "in its address. You can paste the whole address.";
  section.replaceChildren(
    h("h1", {}, "This server asks for a token"),
    h("p", { id: "token-hint" }, hint),
    form,
  );
  const report = (text) => {
    problem.textContent = text;
    field.setAttribute("aria-invalid", String(Boolean(text)));
  };
  report(message);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(field, report);
  });
  field.focus();
}

async function signIn(field, report) {
  const token = tokenIn(field.value.trim());
  if (!token) return;
  try {
    await api.signIn(token);
  } catch (error) {
    report(error.status === 401 ? "This token is wrong." : error.message);
    field.select();
    return;
  }
  section.hidden = true;
  section.replaceChildren();
  document.body.classList.remove("locked");
  announce("The token is right.");
  resume();
}

// Visitors often paste the whole address.
function tokenIn(text) {
  const inAddress = /[?&]token=([^&#\s]+)/.exec(text);
  if (!inAddress) return text;
  try {
    return decodeURIComponent(inAddress[1].replaceAll("+", " "));
  } catch {
    return text;
  }
}
