/** The strength of the negative examples, as a slider. */

import { h } from "./dom.js";

const LOWEST = 0.05;
const HIGHEST = 1;
const STEP = 0.05;

/** A slider that shows a strength and calls `onChange(gamma)` when it was moved. */
export function strengthSlider(gamma, onChange) {
  const slider = h("input", { type: "range", min: LOWEST, max: HIGHEST, step: STEP });
  slider.value = gamma;
  const describe = () => slider.setAttribute("aria-valuetext", slider.value);
  slider.addEventListener("input", describe);
  slider.addEventListener("change", () => onChange(Number(slider.value)));
  describe();
  return h("label", { class: "strength" }, h("span", {}, "How unlike"), slider);
}
