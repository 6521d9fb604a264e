/** The text of the filter box: plain words or an expression, and how it can be completed. */

// An expression begins with a column and an operator, perhaps behind "not" and parentheses.
const COLUMN = "(?:`[^`]*`|[\\p{L}_][\\p{L}\\p{N}_]*)";
const OPERATOR =
  "(?:[=<>!]|not\\s+(?:in|like|contains)\\b|in\\s*\\(|" +
  "(?:like|contains)\\s*['\"]|is\\s+(?:not\\s+)?null\\b)";
const EXPRESSION = new RegExp(`^[\\s(]*(?:not[\\s(]+)*${COLUMN}\\s*${OPERATOR}`, "iu");

// Before the caret: a column, an operator for values, and the beginning of a value.
const VALUE = new RegExp(
  `(${COLUMN})\\s*(?:=|!=|(?:like|contains)\\s|in\\s*\\((?:[^()]*,)?)\\s*(['"]?)([^'"(),]*)$`,
  "iu",
);
const WORD = /`?[\p{L}\p{N}_]*$/u;

const COMPLETIONS = 8;

/** Whether a text is meant as an expression. */
export const isExpression = (text) => EXPRESSION.test(text);

const quote = (text) => `'${text.replaceAll("'", "''")}'`;

// In a pattern, these characters stand for others.
const escapePattern = (text) => text.replace(/[\\%_]/g, (character) => `\\${character}`);

// Patterns distinguish capitals, which visitors do not.
function spellings(word) {
  const lower = word.toLowerCase();
  const capital = lower.charAt(0).toUpperCase() + lower.slice(1);
  return new Set([word, lower, capital, word.toUpperCase()]);
}

function filterOfWord(word) {
  const patterns = [...spellings(word)].map((spelling) => quote(`%${escapePattern(spelling)}%`));
  const tests = patterns.flatMap((one) => [`label like ${one}`, `uri like ${one}`]);
  return `(${tests.join(" or ")})`;
}

/** The expression that a text stands for; each plain word is in the label, folder or name. */
export function expressionOf(text) {
  const trimmed = text.trim();
  if (!trimmed || isExpression(trimmed)) return trimmed;
  return trimmed.split(/\s+/).map(filterOfWord).join(" and ");
}

// ---- completion --------------------------------------------------------------------------------

const startsOrContains = (name, part) => {
  const at = name.toLowerCase().indexOf(part.toLowerCase());
  return at < 0 ? 2 : Math.min(at, 1);
};

// Those that begin with a part come before those that contain it.
function matching(entries, part) {
  const ranked = entries.map((entry) => ({ entry, rank: startsOrContains(entry.name, part) }));
  const found = ranked.filter(({ rank }) => rank < 2);
  found.sort((first, second) => first.rank - second.rank);
  return found.map(({ entry }) => entry);
}

const isPlainName = (name) => /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name);

const KINDS = {
  int64: "number",
  float64: "number",
  bool: "yes or no",
  timestamp: "time",
  tags: "tags",
};
const OPERATORS = { string: "=", bool: "=", tags: "contains" };

function columnCompletions(columns, part, start) {
  const found = matching(columns, part.replace("`", ""));
  return found.map(({ name, type }) => {
    const written = isPlainName(name) ? name : `\`${name}\``;
    const operator = OPERATORS[type] ?? ">";
    return { start, text: `${written} ${operator} `, name, hint: KINDS[type] ?? "text" };
  });
}

function labelEntries(labels) {
  const named = labels.filter(({ label }) => label);
  return named.map(({ label, count }) => ({ name: label, hint: `${count.toLocaleString("en")}` }));
}

const textEntries = (column) => (column?.values ?? []).map((name) => ({ name, hint: "" }));

function knownValues(column, { labels, tags }) {
  if (column?.name === "label") return labelEntries(labels);
  return column?.type === "tags" ? labelEntries(tags) : textEntries(column);
}

function valueCompletions(column, part, start, { columns, ...names }) {
  const known = columns.find(({ name }) => name === column.replaceAll("`", ""));
  if (known?.type === "bool") {
    const values = [{ name: "true" }, { name: "false" }];
    return matching(values, part).map(({ name }) => ({ start, text: name, name, hint: "" }));
  }
  const found = matching(knownValues(known, names), part);
  return found.map(({ name, hint }) => ({ start, text: quote(name), name, hint }));
}

/**
 * How a text can be completed at the caret.
 *
 * @param {string} text  What lies before the caret.
 * @param {{columns: object[], labels: object[], tags: object[]}} collection
 * @returns {{start: number, text: string, name: string, hint: string}[]} Each replaces what lies
 *   between `start` and the caret by `text`.
 */
export function completionsOf(text, collection) {
  const value = VALUE.exec(text);
  if (value) {
    const [, column, mark, part] = value;
    const start = text.length - part.length - mark.length;
    return valueCompletions(column, part, start, collection).slice(0, COMPLETIONS);
  }
  const [part] = WORD.exec(text);
  if (!part) return [];
  const start = text.length - part.length;
  const labels = isExpression(text) ? [] : matching(labelEntries(collection.labels), part);
  const ofLabels = labels.map(({ name, hint }) => ({ start, text: name, name, hint }));
  const ofColumns = columnCompletions(collection.columns, part, start);
  const half = COMPLETIONS / 2;
  const room = Math.max(half, COMPLETIONS - ofColumns.length);
  return [...ofLabels.slice(0, room), ...ofColumns].slice(0, COMPLETIONS);
}
