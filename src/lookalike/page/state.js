// What is asked, as a value and as an address: whoever opens the address sees the same.

export const FIRST = 200, MOST = 1000;
const VIEWS = ["search", "map", "health"];

export const nothing = { view: "search", collection: "", spaces: [], plus: [], minus: [], k: FIRST, labels: [], where: "" };

// A row is named by its number, an upload by its sha256.
const example = (word) => (/^[0-9a-f]{64}$/.test(word) ? { upload: word } : /^\d{1,19}$/.test(word) ? { id: Number(word) } : null);
const word = ({ id, upload }) => upload ?? String(id);
export const same = (one, other) => word(one) === word(other);

export function parse(hash) {
  const [view, search = ""] = hash.replace(/^#/, "").split("?");
  const found = new URLSearchParams(search);
  const examples = (name) => (found.get(name) ?? "").split(",").map(example).filter(Boolean);
  return {
    view: VIEWS.includes(view) ? view : "search",
    collection: found.get("collection") ?? "",
    spaces: (found.get("space") ?? "").split(",").filter(Boolean).slice(0, 2),
    plus: examples("plus"),
    minus: examples("minus"),
    k: Math.min(MOST, Math.max(1, Number.parseInt(found.get("k"), 10) || FIRST)),
    labels: found.getAll("label"),
    where: found.get("where") ?? "",
  };
}

export function format(state) {
  const search = new URLSearchParams();
  if (state.collection) search.set("collection", state.collection);
  if (state.spaces.length) search.set("space", state.spaces.join(","));
  for (const name of ["plus", "minus"]) if (state[name].length) search.set(name, state[name].map(word).join(","));
  if (state.k !== FIRST) search.set("k", state.k);
  for (const label of state.labels) search.append("label", label);
  if (state.where) search.set("where", state.where);
  const text = search.toString().replaceAll("%2C", ",");
  return `#${state.view}${text ? `?${text}` : ""}`;
}

/** Whether there is anything to be like: what is only unlike something is nowhere. */
export const asks = (state) => state.plus.length > 0;

// ---- the labels and the expression, as one filter -------------------------------------------------------------

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

/** The filter that the labels chosen and the expression written make together; the empty label is that of none. */
export function filter({ labels, where }) {
  const named = labels.filter(Boolean).map(quoted), parts = [];
  if (named.length) parts.push(named.length === 1 ? `label = ${named[0]}` : `label in (${named.join(", ")})`);
  if (labels.includes("")) parts.push("label is null");
  const chosen = parts.join(" or ");
  if (!where.trim()) return chosen || undefined;
  return chosen ? `(${chosen}) and (${where})` : where;
}

// ---- now, and how one comes elsewhere ------------------------------------------------------------------------

let now = parse(location.hash);
const listeners = [];

export const current = () => now;
export const onChange = (listener) => listeners.push(listener);

function arrive(state, arrival) {
  const before = now;
  now = state;
  for (const listener of listeners) listener(now, before, arrival);
}

/** Go to what differs from now so; `replace` leaves no step to come back to. */
export function go(change, { replace = false } = {}) {
  const state = { ...now, ...change }, hash = format(state);
  if (hash === format(now)) return;
  const step = (history.state?.step ?? 0) + (replace ? 0 : 1);
  history[replace ? "replaceState" : "pushState"]({ step }, "", hash);
  arrive(state, { step, pushed: !replace });
}

addEventListener("popstate", (event) => {
  if (event.state === null) history.replaceState({ step: 0 }, "");
  arrive(parse(location.hash), { step: history.state?.step ?? 0, pushed: false });
});

export function begin() {
  history.replaceState({ step: history.state?.step ?? 0 }, "");
  arrive(now, { step: history.state.step, pushed: false });
}
