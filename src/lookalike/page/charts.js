// The evaluation, drawn: lines of precision with their intervals, and a dot for each label.

import { h, percent, svg } from "./dom.js";
import { COLOURS } from "./palette.js";
import { titleOf } from "./collections.js";

export const spaceColour = (index) => COLOURS[index % COLOURS.length];

const keyOf = (names) => h("p", { class: "legend" }, names.map((name, index) => h("span", { class: "key" }, h("i", { style: { "--colour": spaceColour(index) } }), titleOf(name))));

export function precisionChart(spaces) {
  const cuts = Object.keys(spaces[0].precision_at).map(Number), [width, height, left, bottom] = [520, 260, 42, 28];
  const most = Math.log(cuts.at(-1)), x = (cut) => left + 14 + ((width - left - 34) * Math.log(cut)) / most, y = (share) => 10 + (height - bottom - 10) * (1 - share);
  const lines = [0, 0.25, 0.5, 0.75, 1].map((share) => [svg("line", { x1: left, x2: width, y1: y(share), y2: y(share), class: "rule" }), svg("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, percent(share))]);
  const ticks = cuts.map((cut) => svg("text", { x: x(cut), y: height - 6, "text-anchor": "middle" }, `first ${cut}`));
  const curves = spaces.map(({ precision_at: at, intervals }, index) => {
    const points = cuts.map((cut) => `${x(cut)},${y(at[cut])}`), spans = cuts.map((cut) => intervals[`precision_at_${cut}`] ?? [at[cut], at[cut]]);
    const area = [...cuts.map((cut, place) => `${x(cut)},${y(spans[place][1])}`), ...cuts.map((cut, place) => `${x(cut)},${y(spans[place][0])}`).reverse()].join(" ");
    const group = svg("g", { class: "series" }, svg("polygon", { points: area }), svg("polyline", { points: points.join(" ") }), cuts.map((cut) => svg("circle", { cx: x(cut), cy: y(at[cut]), r: 4 })));
    group.style.setProperty("--colour", spaceColour(index));
    return group;
  });
  const told = spaces.map(({ space, precision_at: at }) => `${titleOf(space)}: ${cuts.map((cut) => `${percent(at[cut])} of the first ${cut}`).join(", ")}`).join("; ");
  return h("div", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": told }, lines, ticks, curves), keyOf(spaces.map(({ space }) => space)));
}

const CLASSES = 30;

export function classesChart(spaces, names) {
  const classes = Object.entries(spaces[0].classes).sort(([, one], [, other]) => other.map - one.map).slice(0, CLASSES);
  const rows = classes.map(([label]) => {
    const values = spaces.map(({ classes: of }) => of[label]?.map).map((value, index) => ({ value, index })).filter(({ value }) => value !== undefined);
    const low = Math.min(...values.map(({ value }) => value)), high = Math.max(...values.map(({ value }) => value));
    const dots = values.map(({ value, index }) => h("i", { title: `${titleOf(names[index])}: ${value.toFixed(3)}`, style: { left: percentage(value), "--colour": spaceColour(index) } }));
    const told = values.map(({ value, index }) => `${titleOf(names[index])} ${value.toFixed(3)}`).join(", ");
    return h("li", {}, h("span", {}, label), h("div", { role: "img", "aria-label": `${label}: ${told}` }, h("b", { style: { left: percentage(low), width: percentage(high - low) } }), dots));
  });
  return h("ul", { class: "dots" }, rows);
}

const percentage = (value) => `${(100 * value).toFixed(2)}%`;
