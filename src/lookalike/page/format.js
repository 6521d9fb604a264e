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

/** The rest of a job's time, given in seconds, in steps that do not jump about. */
export function describeTimeLeft(seconds) {
  if (seconds < 10) return "a few seconds left";
  if (seconds < 90) return `${5 * Math.round(seconds / 5)} s left`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min left`;
  return `${Math.round(seconds / 3600)} h left`;
}

// Characters that change the direction of what follows them.
const DIRECTIONS = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * A name from outside for use within a sentence: its direction of writing does not affect the rest.
 *
 * The characters around it begin and end an isolate; `withNames()` makes elements of them.
 */
export const isolate = (name) => `\u2068${name.replace(DIRECTIONS, "")}\u2069`;

/** A row's file name. */
export function nameOf(row) {
  if (row.name !== undefined && row.name !== null) return row.name;
  const start = Math.max(row.uri.lastIndexOf("/"), row.uri.lastIndexOf("\\")) + 1;
  return row.uri.slice(start);
}
