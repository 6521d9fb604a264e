/** The light and the dark theme: the system's, until the reader chooses one. */

import { announce } from "./dom.js";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const listeners = [];

/** Whether the dark theme is shown. */
export function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches;
}

/** Call a function whenever the theme changes. */
export const onTheme = (listener) => listeners.push(listener);

const notify = () => listeners.forEach((listener) => listener());
systemIsDark.addEventListener("change", notify);

function setTheme(theme) {
  // The system's own theme is not stored, so that the page keeps following the system.
  const isSystems = (theme === "dark") === systemIsDark.matches;
  if (isSystems) delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    localStorage.setItem("theme", root.dataset.theme ?? "");
  } catch {
    // Without storage the choice holds for this visit.
  }
  notify();
}

/** Let a button switch between the themes. */
export function makeThemeButton(button) {
  const nameButton = () => {
    const label = isDark() ? "Light theme" : "Dark theme";
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    setTheme(theme);
    announce(theme === "dark" ? "Dark theme" : "Light theme");
  });
  onTheme(nameButton);
  nameButton();
}
