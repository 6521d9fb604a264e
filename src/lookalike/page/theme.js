// Runs before anything is painted, so that no one is dazzled by the other theme.
(() => {
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* Storage may be forbidden; the system's theme serves. */ }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
