/** The Review view: clusters, outliers, doubtful labels and diverse images, a part at a time. */

import * as api from "./api.js";
import { collection, titleOf } from "./collections.js";
import { $, h, icon } from "./dom.js";
import { plural } from "./format.js";
import { jobButton } from "./jobs.js";
import { showMessage } from "./message.js";
import { clusterList } from "./review_clusters.js";
import { imageList } from "./review_lists.js";
import { go } from "./state.js";

const PAGE_SIZE = 50; // clusters, or images
const COUNTS = [10, 20, 50, 100]; // of diverse images
const LEAST_IMAGES = 10; // that are compared with each other
const NOTHING = {
  clusters: "No images lie together closer than with all others.",
  outliers: "No image is far from all others.",
  labels: "Every label fits its image best.",
};

const box = $("#review-view");
const wanted = { space: "", clusters: "" }; // of the next review
let diverseCount = 20;

/** Draw the view. */
export async function drawReview(state, { signal }) {
  const shown = collection(state.collection);
  const limit = state.part === "diverse" ? diverseCount : PAGE_SIZE;
  const page = await fetchPart(shown.name, state.part, 0, limit);
  if (signal.aborted) return;
  const title = h("h1", {}, "Review");
  if (!page) {
    box.replaceChildren(title, ...introduction(shown));
    return;
  }
  const notes = page.notes.map((note) => h("p", { class: "note" }, note));
  box.replaceChildren(title, summary(page, shown), ...notes, partChoice(page, state));
  const redraw = () => drawReview(state, { signal });
  box.append(...partOf(page, shown, state, redraw));
}

async function fetchPart(name, part, offset, limit = PAGE_SIZE) {
  try {
    return await api.review({ collection: name, part, offset, limit });
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// ---- the job -----------------------------------------------------------------------------------

function introduction(shown) {
  if (!shown.images) return [h("p", { class: "quiet" }, "There are no images to review yet.")];
  const text =
    "See what this collection holds: clusters of images that lie close together, outliers, " +
    "labels that may be wrong, and a few images that represent all. Nothing is changed.";
  return [h("p", { class: "quiet" }, text), reviewForm(shown, "Review the images", true)];
}

function reviewForm(shown, text, strong = false) {
  const slot = h("div");
  const draw = () => {
    const request = { kind: "review", collection: shown.name };
    if (shown.spaces.length > 1) request.space = wanted.space;
    if (wanted.clusters) request.clusters = Number(wanted.clusters);
    slot.replaceChildren(jobButton({ text, running: "Reviewing", request, strong }));
  };
  const change = ({ target }) => {
    wanted[target.name] = target.value;
    draw();
  };
  draw();
  return h("div", { class: "find" }, spaceChoice(shown, change), clusterField(change), slot);
}

function spaceChoice({ spaces }, onchange) {
  const isKnown = spaces.some(({ name }) => name === wanted.space);
  if (!isKnown) wanted.space = spaces[0].name;
  if (spaces.length < 2) return null;
  const options = spaces.map(({ name }) => h("option", { value: name }, titleOf(name)));
  const attributes = { name: "space", "aria-label": "What is compared", onchange };
  const select = h("select", attributes, options);
  select.value = wanted.space;
  return select;
}

function clusterField(oninput) {
  const attributes = { name: "clusters", type: "number", min: 1, placeholder: "auto" };
  const input = h("input", { ...attributes, value: wanted.clusters, oninput });
  return h("label", { class: "count" }, "Clusters", input);
}

function summary({ images, space, is_outdated: isOutdated }, shown) {
  const isKnown = shown.spaces.some(({ name }) => name === space);
  const by = isKnown && shown.spaces.length > 1 ? ` by “${titleOf(space)}”` : "";
  const parts = [`${plural(images, "image")} compared${by}`];
  if (isOutdated) parts.push("the collection has changed since");
  const text = h("p", {}, `${parts.join("; ")}.`);
  return h("div", { class: "summary" }, text, reviewForm(shown, "Review again"));
}

// ---- the parts ---------------------------------------------------------------------------------

function partChoice({ parts }, state) {
  const buttons = parts.map(({ part, title, total }) => {
    const attributes = {
      type: "button",
      "aria-pressed": String(part === state.part),
      onclick: () => go({ part }, { replace: true }),
    };
    return h("button", attributes, title, h("small", {}, ` ${total.toLocaleString("en")}`));
  });
  return h("div", { class: "choice", role: "group", "aria-label": "Parts" }, buttons);
}

// Whether the images were enough to say anything about a part.
function isJudged({ images }, { labels }, part) {
  if (part === "diverse") return true;
  return images >= LEAST_IMAGES && (part !== "labels" || labels.length > 1);
}

function partOf(page, shown, { part }, redraw) {
  const { title, total, summary: text } = page.parts.find((one) => one.part === part);
  // The notes say what is missing.
  if (!total && !isJudged(page, shown, part)) return [];
  const about = h("p", { class: "quiet" }, text);
  if (!total) {
    const nothing = h("p", { class: "fine" }, icon("check"), NOTHING[part]);
    if (!page.groups.length || part !== "clusters") return [nothing, about];
  }
  const request = { collection: shown.name, part };
  const more = (offset, limit = PAGE_SIZE) => api.review({ ...request, offset, limit });
  if (part === "clusters") return [about, ...clusterList(page, { shown, more })];
  if (part !== "diverse") return [about, ...imageList(page, { part, title, shown, more })];
  const [bar, ...list] = imageList(page, { part, title, shown, more: null });
  bar.prepend(countChoice(total, redraw));
  return [about, bar, ...list];
}

// Any first images of the list are themselves the choice of as many.
function countChoice(total, redraw) {
  const counts = COUNTS.filter((count, index) => !index || COUNTS[index - 1] < total);
  const buttons = counts.map((count) => {
    const choose = async () => {
      diverseCount = count;
      try {
        await redraw();
      } catch (error) {
        showMessage(error.message);
      }
      $(`[data-count="${count}"]`, box)?.focus();
    };
    const isChosen = String(count === diverseCount);
    const attributes = { type: "button", data: { count }, "aria-pressed": isChosen };
    return h("button", { ...attributes, onclick: choose }, String(count));
  });
  const label = h("span", { class: "quiet" }, "The first");
  const group = { class: "choice", role: "group", "aria-label": "How many images" };
  return h("div", { class: "amount" }, label, h("div", group, buttons));
}
