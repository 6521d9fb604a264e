// Light, dark, or as the system has it.

import { announce } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement, listeners = [];

export const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
export const onTheme = (listener) => listeners.push(listener);
system.addEventListener("change", () => listeners.forEach((listener) => listener()));

export function chooseTheme(button) {
  const name = () => {
    const next = isDark() ? "Light theme" : "Dark theme";
    button.setAttribute("aria-label", next);
    button.title = next;
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    // What the system has is followed, not fixed.
    if ((wanted === "dark") === system.matches) delete root.dataset.theme;
    else root.dataset.theme = wanted;
    try { localStorage.setItem("theme", root.dataset.theme ?? ""); } catch { /* It holds for this visit. */ }
    announce(`${wanted === "dark" ? "Dark" : "Light"} theme`);
    name();
    listeners.forEach((listener) => listener());
  });
  system.addEventListener("change", name);
  name();
}
