/** Charts of an evaluation: precision with its intervals, and a dot for each label. */

import { titleOf } from "./collections.js";
import { colorDot, h, svg } from "./dom.js";
import { percent } from "./format.js";
import { seriesColors } from "./palette.js";

// The precision chart, in units of its view box.
const WIDTH = 520;
const HEIGHT = 260;
const LEFT = 42;
const BOTTOM = 28;
const TOP = 10;

const CLASSES_SHOWN = 30;

/** The color of a space in all charts. */
export function spaceColor(index) {
  const colors = seriesColors();
  return colors[index % colors.length];
}

function keyOf(names) {
  const entries = names.map((name, index) =>
    h("span", { class: "key" }, colorDot(spaceColor(index)), titleOf(name)),
  );
  return h("p", { class: "legend" }, entries);
}

// ---- precision ---------------------------------------------------------------------------------

function yOf(share) {
  return TOP + (HEIGHT - BOTTOM - TOP) * (1 - share);
}

function gridLines() {
  return [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = yOf(share);
    const text = { x: LEFT - 8, y: y + 4, "text-anchor": "end" };
    return [
      svg("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: "rule" }),
      svg("text", text, percent(share)),
    ];
  });
}

// A line with the band of its intervals, and a dot at each cut.
function makeCurve({ precision_at: precision, intervals }, cuts, xOf, color) {
  const intervalAt = (cut) => intervals[`precision_at_${cut}`] ?? [precision[cut], precision[cut]];
  const point = (cut, share) => `${xOf(cut)},${yOf(share)}`;
  const line = cuts.map((cut) => point(cut, precision[cut]));
  const upper = cuts.map((cut) => point(cut, intervalAt(cut)[1]));
  const lower = cuts.map((cut) => point(cut, intervalAt(cut)[0])).reverse();
  const dots = cuts.map((cut) => svg("circle", { cx: xOf(cut), cy: yOf(precision[cut]), r: 4 }));
  const group = svg(
    "g",
    { class: "series" },
    svg("polygon", { points: [...upper, ...lower].join(" ") }),
    svg("polyline", { points: line.join(" ") }),
    dots,
  );
  group.style.setProperty("--color", color);
  return group;
}

function describePrecision({ space, precision_at: precision }, cuts) {
  const parts = cuts.map((cut) => `${percent(precision[cut])} of the first ${cut}`);
  return `${titleOf(space)}: ${parts.join(", ")}`;
}

/** Precision among the first matches, by space; the number of matches is on a log scale. */
export function precisionChart(spaces) {
  const cuts = Object.keys(spaces[0].precision_at).map(Number);
  const logMax = Math.log(cuts.at(-1));
  const xOf = (cut) => LEFT + 14 + ((WIDTH - LEFT - 34) * Math.log(cut)) / logMax;
  const ticks = cuts.map((cut) =>
    svg("text", { x: xOf(cut), y: HEIGHT - 6, "text-anchor": "middle" }, `first ${cut}`),
  );
  const curves = spaces.map((space, index) => makeCurve(space, cuts, xOf, spaceColor(index)));
  const attributes = {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "chart",
    role: "img",
    "aria-label": spaces.map((space) => describePrecision(space, cuts)).join("; "),
  };
  const chart = svg("svg", attributes, gridLines(), ticks, curves);
  return h("div", {}, chart, keyOf(spaces.map(({ space }) => space)));
}

// ---- labels ------------------------------------------------------------------------------------

const cssPercent = (value) => `${(100 * value).toFixed(2)}%`;

function classLine(label, spaces, names) {
  const scores = [];
  spaces.forEach(({ classes }, index) => {
    const map = classes[label]?.map;
    if (map !== undefined) scores.push({ map, title: titleOf(names[index]), index });
  });
  const values = scores.map(({ map }) => map);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const dots = scores.map(({ map, title, index }) => {
    const style = { left: cssPercent(map), "--color": spaceColor(index) };
    return h("i", { title: `${title}: ${map.toFixed(3)}`, style });
  });
  const description = scores.map(({ map, title }) => `${title} ${map.toFixed(3)}`).join(", ");
  const range = h("b", { style: { left: cssPercent(low), width: cssPercent(high - low) } });
  const attributes = { role: "img", "aria-label": `${label}: ${description}` };
  return h("li", {}, h("span", { dir: "auto" }, label), h("div", attributes, range, dots));
}

/** Mean average precision of each label, a dot a space; the best of the first space first. */
export function classesChart(spaces, names) {
  const classes = Object.entries(spaces[0].classes);
  classes.sort(([, first], [, second]) => second.map - first.map);
  const shown = classes.slice(0, CLASSES_SHOWN);
  return h(
    "ul",
    { class: "dots" },
    shown.map(([label]) => classLine(label, spaces, names)),
  );
}
