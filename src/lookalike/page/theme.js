// Runs before the first paint, so that the other theme never flashes up.
(() => {
  let stored = null;
  try {
    stored = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden: the system's theme serves.
  }
  if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;
})();
