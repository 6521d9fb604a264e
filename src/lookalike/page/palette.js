/** Colors of labels and of distances, read from the palette that figures use too. */

let palette = null;

/** Use a palette: the contents of palette.json. */
function usePalette(contents) {
  palette = contents;
}

/** Fetch the palette that lies beside this module's page. */
export async function loadPalette(address) {
  const response = await fetch(address);
  usePalette(await response.json());
}

/** The colors of labels, or of any other series, in order. */
export function seriesColors() {
  return [...palette.distinct, ...palette.more];
}

function compare(first, second) {
  if (first < second) return -1;
  return first > second ? 1 : 0;
}

function compareNames(first, second) {
  return compare(first.toLowerCase(), second.toLowerCase()) || compare(first, second);
}

/**
 * Return a function from a label to its color: the 20 most frequent labels have one each.
 *
 * @param {{label: string | null, count: number}[]} labels
 * @returns {(label: string | null | undefined) => string}
 */
export function colorsOfLabels(labels) {
  const available = seriesColors();
  const byFrequency = labels
    .filter(({ label }) => label)
    .sort((first, second) => second.count - first.count || compare(first.label, second.label));
  const names = byFrequency.slice(0, available.length).map(({ label }) => label);
  names.sort(compareNames);
  const colors = new Map(names.map((name, index) => [name, available[index]]));
  return (label) => (label ? (colors.get(label) ?? palette.other) : palette.unlabeled);
}

/** The red, green and blue of `#rrggbb`, 0 to 255. */
export function rgbOf(color) {
  return [1, 3, 5].map((start) => Number.parseInt(color.slice(start, start + 2), 16));
}

/** The stops of the distance scale, from the nearest to the furthest. */
export function distanceStops(dark) {
  return dark ? palette.distance.dark : palette.distance.light;
}

/** The color of a distance, given as a share of the largest: 0 is the nearest, 1 the furthest. */
export function distanceColor(share, dark) {
  const stops = distanceStops(dark).map(rgbOf);
  const position = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
  const index = Math.floor(position);
  const part = position - index;
  const [from, to] = [stops[index], stops[index + 1]];
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * part));
}
