// The labels' colours, the same as in every picture of a collection (see palette.py).

export const COLOURS = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#80386f", "#b5c995", "#2f5c01", "#956274",
  "#7743c1", "#ff7dce", "#49c383", "#c58e59", "#4e69db", "#21958c", "#a19dfa", "#ed5a84", "#8a7a00", "#b3402a",
];
export const OTHER = "#6f7a84", UNLABELLED = "#a9b2ba";

const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

/** The 20 most frequent labels have a colour each, all others one. */
export function colouring(labels) {
  const frequent = labels.filter(({ label }) => label !== null && label !== "")
    .sort((one, other) => other.count - one.count || compare(one.label, other.label)).slice(0, COLOURS.length)
    .map(({ label }) => label).sort((one, other) => compare(one.toLowerCase(), other.toLowerCase()) || compare(one, other));
  const colours = new Map(frequent.map((label, index) => [label, COLOURS[index]]));
  return (label) => (label === null || label === undefined || label === "" ? UNLABELLED : colours.get(label) ?? OTHER);
}

/** From near to far: nearest, glowing; furthest, almost the ground. */
const GLOW = { light: [[122, 4, 60], [214, 50, 60], [245, 140, 60], [240, 205, 150], [222, 224, 228]], dark: [[255, 246, 200], [255, 178, 80], [226, 84, 84], [116, 50, 118], [48, 50, 62]] };

export function warmth(share, dark) {
  const stops = dark ? GLOW.dark : GLOW.light, place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
  const index = Math.floor(place), part = place - index;
  return stops[index].map((value, channel) => Math.round(value + (stops[index + 1][channel] - value) * part));
}

export const parts = (colour) => [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16));
