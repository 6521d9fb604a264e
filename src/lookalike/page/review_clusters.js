/** The clusters of a review: a sheet of small images for each. */

import * as api from "./api.js";
import { openDetail } from "./detail.js";
import { $, h, icon } from "./dom.js";
import { imageButton } from "./figures.js";
import { plural } from "./format.js";
import { MOVE_KEYS, neighborIndex } from "./justify.js";
import { moreButton, withoutDistance } from "./review_parts.js";
import { exampleOf, go, NO_QUERY } from "./state.js";

const EXAMPLES = 5; // the most central images of a cluster, to search by
const MOST_AT_ONCE = 500; // images that are added to a sheet

// The stored thumbnails, of 128 pixels, are large enough for most screens.
const thumbnailSize = () => (devicePixelRatio > 1 ? 256 : 128);

/** The elements of the clusters: a list, and a button for more of them. */
export function clusterList(page, { shown, more }) {
  const list = h("ol", { class: "clusters", "aria-label": "Clusters" });
  const further = h("div", { class: "further" });
  let number = 0; // of the next cluster
  const add = ({ groups, next }) => {
    for (const group of groups) {
      // All its images may have been removed since.
      if (group.images.length) list.append(clusterItem(group, number, shown));
      number += 1;
    }
    further.replaceChildren();
    if (next === null) return;
    const count = list.children.length;
    const button = moreButton("Show more clusters", async () => {
      add(await more(next));
      $(".image", list.children[count])?.focus();
    });
    further.append(button);
  };
  add(page);
  return [list, further];
}

function clusterItem({ title, total, images }, number, shown) {
  const sheet = makeSheet(shown, title);
  sheet.add(images);
  const fetchMore = (offset) => fetchMembers(shown, number, offset);
  const examples = images.slice(0, EXAMPLES).map(exampleOf);
  const attributes = {
    type: "button",
    class: "plain",
    "aria-label": `Search with the first images of ${title}`,
    title: "Search with its first images",
    onclick: () => go({ view: "search", ...NO_QUERY, positive: examples }),
  };
  const search = h("button", attributes, icon("search"), "Search");
  const growing = total > images.length ? growButtons(sheet, total, fetchMore) : null;
  const heading = h("h2", {}, h("bdi", {}, title));
  const count = h("small", {}, plural(total, "image"));
  const tasks = h("div", { class: "tasks" }, growing, search);
  const header = h("header", {}, h("div", {}, heading, count), tasks);
  return h("li", {}, header, sheet.element);
}

async function fetchMembers(shown, group, offset) {
  const request = { collection: shown.name, part: "clusters", group, offset };
  const { groups, next } = await api.review({ ...request, limit: MOST_AT_ONCE });
  return { images: groups[0].images, next };
}

/** Buttons that add images to a sheet, and take them away. */
function growButtons(sheet, total, fetchMore) {
  const first = sheet.images.length;
  let offset = first; // of the images to fetch
  const isMuch = total - first > MOST_AT_ONCE;
  const more = moreButton(isMuch ? "Show more" : "Show all", async () => {
    const { images, next } = await fetchMore(offset);
    const count = sheet.images.length;
    sheet.add(images);
    sheet.focus(count);
    offset = next;
    more.hidden = next === null;
    fewer.hidden = false;
  });
  const fewer = moreButton("Show fewer", async () => {
    sheet.cut(first);
    offset = first;
    more.hidden = false;
    fewer.hidden = true;
    more.focus();
  });
  fewer.hidden = true;
  return [fewer, more];
}

/** Small images without captions; arrow keys move between them. */
function makeSheet(shown, title) {
  const element = h("ul", { class: "sheet", "aria-label": title });
  const images = [];
  let active = 0;
  const buttons = () => [...element.querySelectorAll(".image")];
  const setActive = (at) => {
    const all = buttons();
    if (all[active]) all[active].tabIndex = -1;
    active = Math.min(all.length - 1, at);
    all[active].tabIndex = 0;
    return all[active];
  };
  const focus = (at) => setActive(at).focus();
  const cut = (count) => {
    images.length = count;
    element.replaceChildren(...[...element.children].slice(0, count));
    setActive(active);
  };
  const add = (added) => {
    // Offsets count images that were removed since, so that some come twice.
    const known = new Set(images.map(({ id }) => id));
    for (const image of added.filter(({ id }) => !known.has(id))) {
      const at = images.length;
      const open = () => openDetail(images, at, () => ({ focus }));
      const button = imageButton(image, shown, open, thumbnailSize());
      button.tabIndex = at === active ? 0 : -1;
      images.push(withoutDistance(image));
      element.append(h("li", {}, button));
    }
  };
  // A click focuses an image, too.
  element.addEventListener("focusin", ({ target }) => setActive(buttons().indexOf(target)));
  element.addEventListener("keydown", (event) => {
    if (!MOVE_KEYS.includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    focus(neighborIndex(layoutOf(buttons()), active, event.key));
  });
  return { element, images, add, cut, focus };
}

// The lines that the browser made of some elements.
function layoutOf(elements) {
  const boxes = elements.map((element) => element.parentElement).map(boxOf);
  const lines = [];
  boxes.forEach(({ top }, index) => {
    const last = lines.at(-1);
    if (last?.top === top) last.end = index + 1;
    else lines.push({ top, first: index, end: index + 1 });
  });
  return { boxes, lines };
}

const boxOf = ({ offsetLeft: left, offsetTop: top, offsetWidth: width }) => ({ left, top, width });
