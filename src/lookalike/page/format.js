/** Numbers, sizes and names as texts. */

/** A number with thousands separators. */
export const number = (value) => value.toLocaleString("en");

/** A count with its noun: "1 image", "1,200 images". */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** A share as a percentage. */
export const percent = (share) => `${Math.round(100 * share)} %`;

/** A file size. */
export function bytes(size) {
  if (size < 1000) return plural(size, "byte");
  const [unit, divisor] = size < 1e6 ? ["kB", 1e3] : ["MB", 1e6];
  const value = size / divisor;
  return `${value.toPrecision(value < 100 ? 2 : 3)} ${unit}`;
}

/** A duration, given in seconds. */
export function duration(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return `${Math.max(1, Math.round(1000 * seconds))} ms`;
}

/** A row's file name. */
export function nameOf(row) {
  if (row.name !== undefined && row.name !== null) return row.name;
  const start = Math.max(row.uri.lastIndexOf("/"), row.uri.lastIndexOf("\\")) + 1;
  return row.uri.slice(start);
}
