/** Tables that the visitor can save. */

import { h } from "./dom.js";

const NEEDS_QUOTES = /[",\r\n]/;

function cell(value) {
  const text = String(value ?? "");
  return NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Let the browser save rows, given as objects, as a CSV file with these columns. */
export function saveTable(name, columns, rows) {
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  const text = lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  // The download begins after this task.
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
