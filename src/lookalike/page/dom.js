/** Elements, icons and announcements: the few things that every view makes. */

export const $ = (selector, root = document) => root.querySelector(selector);

/** Whether the reader prefers that nothing moves. */
export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// Lines on a square of 20 by 20.
const ICON_PATHS = {
  plus: "M10 4.5v11M4.5 10h11",
  minus: "M4.5 10h11",
  close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  back: "M12 4.5L6.5 10l5.5 5.5",
  forward: "M8 4.5l5.5 5.5L8 15.5",
  info: "M10 9v5M10 6v.1M10 2.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 0 1 0-14.4",
  crop: "M6 2.5V14h11.5M2.5 6H14v11.5",
  search: "M9 3.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M13 13l4 4",
  image: "M3.5 4.5h13v11h-13zM3.5 13l4-4 4 4 2-2 3 3M12.8 7.6v.1",
  camera: "M3 6.5h3l1.4-2h5.2l1.4 2h3v9.5H3zM10 8.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6",
  theme: "M10 2.8a7.2 7.2 0 1 0 0 14.4zM10 2.8a7.2 7.2 0 0 1 0 14.4",
  keyboard: "M2.5 5.5h15v9h-15zM5.5 8.5h.1M8.5 8.5h.1M11.5 8.5h.1M14.5 8.5h.1M6.5 11.7h7",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  lasso:
    "M10 4c4 0 7 1.8 7 4.2s-3 4.3-7 4.3-7-1.9-7-4.3S6 4 10 4" +
    "M6.5 12c-1.5.8-1.5 2.9 0 3.2s1.5 1.8.5 2.3",
  open: "M8 4.5H4.5v11h11V12M11 4h5v5M16 4l-7 7",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
};

// These are set as properties, since the attribute of the same name means something else.
const ELEMENT_PROPERTIES = new Set(["value", "hidden", "checked", "disabled"]);

function setProperty(element, name, value) {
  if (name.startsWith("on")) {
    element.addEventListener(name.slice(2), value);
  } else if (name === "style") {
    for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
  } else if (name === "data") {
    Object.assign(element.dataset, value);
  } else if (ELEMENT_PROPERTIES.has(name)) {
    element[name] = value;
  } else {
    element.setAttribute(name, value === true ? "" : value);
  }
}

const isGiven = (value) => value !== undefined && value !== null && value !== false;

/**
 * Make an element: `h("p", { class: "name", onclick }, "text", child)`.
 *
 * Texts stay texts: nothing is ever parsed as markup. Missing properties and children are skipped.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (isGiven(value)) setProperty(element, name, value);
  }
  element.append(...children.flat(2).filter(isGiven));
  return element;
}

/** A text whose names were isolated by `isolate()`, as nodes with an element for each name. */
export function withNames(text) {
  const parts = text.split(/\u2068([^\u2069]*)\u2069/);
  return parts.map((part, index) => (index % 2 ? h("bdi", {}, part) : part));
}

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2));
  return element;
}

/** Make an icon by its name. */
export function icon(name) {
  const path = svg("path", { d: ICON_PATHS[name] });
  return svg("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }, path);
}

/** Make a button that shows an icon; screen readers read its label, pointing shows its title. */
export function iconButton(name, label, onclick, properties = {}) {
  const attributes = {
    type: "button",
    "aria-label": label,
    title: label,
    onclick,
    ...properties,
    class: `round ${properties.class ?? ""}`,
  };
  return h("button", attributes, icon(name));
}

/** Make the colored dot that stands for a label. */
export const colorDot = (color) => h("i", { style: { "--color": color } });

/** Resolve after some milliseconds. */
export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Let screen readers read a text. */
export function announce(text) {
  $("#announcer").textContent = text;
}
