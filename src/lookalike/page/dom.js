// Elements, icons and words: the few things every view makes.

export const $ = (selector, root = document) => root.querySelector(selector);
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

const PATHS = {
  plus: "M10 4.5v11M4.5 10h11", minus: "M4.5 10h11", close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  back: "M12 4.5L6.5 10l5.5 5.5", forward: "M8 4.5l5.5 5.5L8 15.5", info: "M10 9v5M10 6v.1M10 2.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 0 1 0-14.4",
  crop: "M6 2.5V14h11.5M2.5 6H14v11.5", search: "M9 3.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M13 13l4 4",
  picture: "M3.5 4.5h13v11h-13zM3.5 13l4-4 4 4 2-2 3 3M12.8 7.6v.1", camera: "M3 6.5h3l1.4-2h5.2l1.4 2h3v9.5H3zM10 8.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6",
  theme: "M10 2.8a7.2 7.2 0 1 0 0 14.4zM10 2.8a7.2 7.2 0 0 1 0 14.4", keys: "M2.5 5.5h15v9h-15zM5.5 8.5h.1M8.5 8.5h.1M11.5 8.5h.1M14.5 8.5h.1M6.5 11.7h7",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4", lasso: "M10 4c4 0 7 1.8 7 4.2s-3 4.3-7 4.3-7-1.900-7-4.300S6 4 10 4M6.500 12c-1.500.8-1.500 2.900 0 3.200s1.500 1.800.5 2.300",
  open: "M8 4.5H4.500v11h11V12M11 4h5v5M16 4l-7 7", trash: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.600L14 6", check: "M4.500 10.500l3.500 3.500 7.500-8",
};

/** Make an element: `h("p", { class: "name", onclick }, "text", child)`. Nothing is ever read as markup. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" || name === "hidden" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  return svg("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** Make an element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children.flat(2));
  return element;
}

/** A button that is an icon, its name told to those who do not see it and shown to those who point at it. */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", { type: "button", "aria-label": label, title: properties.title ?? label, onclick, ...properties, class: `round ${properties.class ?? ""}` }, icon(name));
}

export const number = (value) => value.toLocaleString("en");
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const percent = (share) => `${Math.round(100 * share)} %`;

export function bytes(size) {
  if (size < 1000) return plural(size, "byte");
  const unit = size < 1e6 ? ["kB", 1e3] : ["MB", 1e6];
  return `${(size / unit[1]).toPrecision(size / unit[1] < 100 ? 2 : 3)} ${unit[0]}`;
}

export const milliseconds = (seconds) => (seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);
export const nameOf = (row) => row.name ?? row.uri.slice(Math.max(row.uri.lastIndexOf("/"), row.uri.lastIndexOf("\\")) + 1);
export const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Tell it to those who listen to the page. */
export function announce(text) {
  $("#announcer").textContent = text;
}
