/** The Duplicates view: groups of images that show the same, each with the one to keep first. */

import * as api from "./api.js";
import { collection } from "./collections.js";
import { openDetail } from "./detail.js";
import { $, announce, h, icon } from "./dom.js";
import { imageButton } from "./figures.js";
import { bytes, nameOf, number, plural } from "./format.js";
import { jobButton } from "./jobs.js";
import { showMessage } from "./message.js";
import { go } from "./state.js";

const PAGE_SIZE = 50; // groups
const TIERS = [
  { tier: "", title: "All" },
  { tier: "identical", title: "Identical" },
  { tier: "copy", title: "Edited copies" },
  { tier: "similar", title: "Similar" },
];
const TIER_WORDS = { identical: "Identical", copy: "Edited copy", similar: "Similar" };
// What the command removes: without a tier, identical images alone. Similar images are no copies.
const REMOVED = {
  "": "the identical copies",
  identical: "the identical copies",
  copy: "the identical and the edited copies",
};
const SEARCHES = [
  ["identical", "Identical images"],
  ["copy", "Also edited copies"],
  ["similar", "Also similar images"],
];

const box = $("#duplicates-view");
let wanted = "copy"; // the loosest tier of the next search

/** Draw the view. */
export async function drawDuplicates(state, { signal }) {
  const shown = collection(state.collection);
  const page = await fetchGroups(shown.name, state.tier, 0);
  if (signal.aborted) return;
  const title = h("h1", {}, "Duplicates");
  if (!page) {
    box.replaceChildren(title, introduction(), searchForm(shown));
    return;
  }
  const list = h("ol", { class: "groups", "aria-label": "Groups of duplicates" });
  box.replaceChildren(title, summary(page, shown), tierChoice(page, state));
  for (const note of page.notes) box.append(h("p", { class: "quiet" }, note));
  if (page.total && REMOVED[state.tier]) box.append(removal(page, state));
  box.append(list);
  addGroups(list, page, shown, state);
  if (!page.total) box.append(h("p", { class: "fine" }, icon("check"), "There are none."));
}

async function fetchGroups(name, tier, offset) {
  try {
    return await api.duplicates({ collection: name, tier, offset, limit: PAGE_SIZE });
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// ---- the search --------------------------------------------------------------------------------

function introduction() {
  const text =
    "Find images that show the same: files with the same content, and copies that were resized, " +
    "cropped, mirrored, turned or recolored. No file is changed.";
  return h("p", { class: "quiet" }, text);
}

function searchForm(shown, text = "Find duplicates") {
  const options = SEARCHES.map(([value, title]) => h("option", { value }, title));
  const select = h("select", { "aria-label": "What to find" }, options);
  select.value = wanted;
  const form = h("div", { class: "find" });
  const draw = () => {
    const request = { kind: "duplicates", collection: shown.name, tier: wanted };
    const strong = text === "Find duplicates";
    const button = jobButton({ text, running: "Looking for duplicates", request, strong });
    form.replaceChildren(select, button);
  };
  select.addEventListener("change", () => {
    wanted = select.value;
    draw();
    select.focus();
  });
  draw();
  return form;
}

function summary({ total, tiers, removable_bytes: size, is_outdated: isOutdated }, shown) {
  const copies = tiers.identical + tiers.copy + tiers.similar;
  const parts = [`${plural(copies, "copy", "copies")} found`];
  parts.push(`${plural(total, "group")} shown, ${bytes(size)} in copies`);
  if (isOutdated) parts.push("the collection has changed since");
  return h(
    "div",
    { class: "summary" },
    h("p", {}, `${parts.join("; ")}.`),
    searchForm(shown, "Search again"),
  );
}

function tierChoice({ tiers }, state) {
  const buttons = TIERS.map(({ tier, title }) => {
    const count = tier ? ` ${number(tiers[tier])}` : "";
    const attributes = {
      type: "button",
      "aria-pressed": String(tier === state.tier),
      onclick: () => go({ tier }, { replace: true }),
    };
    return h("button", attributes, `${title}${count}`);
  });
  return h("div", { class: "choice", role: "group", "aria-label": "How they compare" }, buttons);
}

// ---- the removal -------------------------------------------------------------------------------

function removal({ command }, { tier }) {
  const code = h("code", { tabindex: 0, "aria-label": "Command" }, command);
  const copy = h("button", { type: "button", class: "plain" }, "Copy");
  copy.addEventListener("click", () => copyText(code, copy));
  const text =
    `This page removes no files. To remove ${REMOVED[tier]}, run this command. It shows what ` +
    "would happen; with --yes it does it, and “lookalike duplicates undo” takes it back.";
  return h(
    "section",
    { class: "removal", "aria-label": "Removal" },
    h("p", { class: "quiet" }, text),
    h("div", { class: "command" }, code, copy),
  );
}

async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    announce("Copied");
  } catch {
    // Browsers allow it on this machine and by https only: the text is selected instead.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
    announce("Selected. Copy it with the keys of your system.");
  }
}

// ---- groups ------------------------------------------------------------------------------------

function addGroups(list, page, shown, state) {
  list.append(...page.groups.map((group) => groupItem(group, shown)));
  $(".further", box)?.remove();
  if (page.next === null) return;
  const more = h("button", { type: "button", class: "plain further" }, "Show more");
  more.addEventListener("click", async () => {
    more.disabled = true;
    const first = list.children.length;
    try {
      const next = await fetchGroups(shown.name, state.tier, page.next);
      addGroups(list, next, shown, state);
      $(".image", list.children[first])?.focus();
    } catch (error) {
      more.disabled = false;
      showMessage(error.message);
    }
  });
  box.append(more);
}

function groupItem({ keeper, copies }, shown) {
  const images = [keeper, ...copies];
  const name = h("bdi", {}, nameOf(keeper));
  const heading = h("h2", { class: "unseen" }, "Copies of ", name);
  const figures = h("ul", {});
  images.forEach((image, at) => {
    const open = () => openDetail(images, at);
    const figure = at ? copyFigure(keeper, image, shown, open) : keptFigure(image, shown, open);
    figures.append(figure);
  });
  return h("li", {}, heading, figures);
}

function factsOf(image) {
  const parts = [`${number(image.width)} × ${number(image.height)}`];
  if (image.format) parts.push(image.format);
  if (image.size !== null) parts.push(bytes(image.size));
  return parts.join(" · ");
}

const folderOf = ({ uri }) => uri.slice(0, Math.max(0, uri.lastIndexOf("/")));

function caption(image, ...others) {
  return h(
    "div",
    { class: "caption" },
    ...others,
    h("b", { dir: "auto", title: image.uri }, nameOf(image)),
    h("small", { dir: "auto", class: "path", title: image.uri }, folderOf(image)),
    h("small", {}, factsOf(image)),
  );
}

function keptFigure(image, shown, open) {
  const badge = h("span", { class: "badge kept" }, "Keep");
  return h("li", { class: "kept" }, imageButton(image, shown, open), caption(image, badge));
}

function copyFigure(keeper, image, shown, open) {
  const badge = h("span", { class: `badge ${image.tier}` }, TIER_WORDS[image.tier]);
  const reason = h("small", { class: "reason", title: image.figures }, image.explanation);
  const text = caption(image, badge);
  text.append(reason);
  if (image.is_protected) text.append(h("small", {}, "in a protected folder"));
  const figure = h("li", {}, imageButton(image, shown, open), text);
  // The same content cannot be told apart.
  const canDismiss = !shown.read_only && image.content !== keeper.content;
  if (canDismiss) text.append(verdictButton(keeper, image, shown, figure));
  return figure;
}

/** A button that says that two images are no duplicates, and takes that back. */
function verdictButton(keeper, image, shown, figure) {
  let isDismissed = false;
  const button = h("button", { type: "button", class: "plain" }, "Not a duplicate");
  button.addEventListener("click", async () => {
    button.disabled = true;
    const verdict = isDismissed ? "none" : "different";
    try {
      await api.giveVerdict({
        collection: shown.name,
        pairs: [[keeper.id, image.id]],
        verdict,
      });
      isDismissed = !isDismissed;
      figure.classList.toggle("dismissed", isDismissed);
      button.textContent = isDismissed ? "Undo" : "Not a duplicate";
      announce(isDismissed ? "Remembered: not a duplicate." : "Forgotten.");
    } catch (error) {
      showMessage(error.message);
    }
    button.disabled = false;
    button.focus();
  });
  return button;
}
