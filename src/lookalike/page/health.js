/** The Health view: the collection's size, its failures, and how good its spaces are. */

import * as api from "./api.js";
import { classesChart, precisionChart, spaceColor } from "./charts.js";
import { collection, titleOf } from "./collections.js";
import { $, colorDot, h, icon } from "./dom.js";
import { isolate, number, plural } from "./format.js";
import { jobButton } from "./jobs.js";
import { ask, askForm } from "./question.js";
import { newCollectionForm } from "./setup.js";
import { makeTuning } from "./tune.js";

const FAILURES_SHOWN = 200;
const CONFUSIONS_SHOWN = 8;

const box = $("#health-view");
/** Draw the view. */
export async function drawHealth(state, { signal }) {
  const shown = collection(state.collection);
  const evaluation = h("section", { class: "wide", "aria-label": "Evaluation" });
  evaluation.append(h("h2", {}, "Accuracy"));
  const failures = h("section", { "aria-label": "Failures" });
  failures.append(h("h2", {}, "Could not be indexed"));
  const title = h("h1", { dir: "auto" }, shown.name);
  box.replaceChildren(title, makeFigures(shown), makeSpaces(shown), evaluation, failures);
  const [scores, failed, roots] = await Promise.all([
    fetchEvaluation(shown.name),
    shown.failures ? api.failures(shown.name) : [],
    api.roots(shown.name),
  ]);
  if (signal.aborted) return;
  drawFailures(failures, failed);
  drawEvaluation(evaluation, scores, shown);
  const tuning = makeTuning(shown);
  if (tuning) box.append(tuning);
  if (roots.roots.length) box.append(makeFolders(roots, shown));
}

async function fetchEvaluation(name) {
  try {
    return await api.evaluation(name);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// ---- size and spaces ---------------------------------------------------------------------------

function makeFigures({ images, failures, labels, version }) {
  const figure = (value, one, many = `${one}s`) => {
    const name = value === 1 ? one : many;
    return h("div", {}, h("dd", {}, number(value)), h("dt", {}, name));
  };
  return h(
    "dl",
    { class: "figures" },
    figure(images, "image"),
    figure(labels.length, "label"),
    figure(failures, "failure"),
    figure(version, "version", "version"),
  );
}

function makeTable(caption, head, rows) {
  const headCells = head.map((name) => h("th", { scope: "col" }, name));
  const lines = rows.map(([first, ...others]) => {
    const cells = others.map((value) => h("td", {}, value));
    return h("tr", {}, h("th", { scope: "row" }, first), cells);
  });
  const table = h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, headCells)),
    h("tbody", {}, lines),
  );
  // A wide table scrolls, so it must be reachable by Tab.
  const attributes = { class: "scroll", tabindex: 0, role: "region" };
  return h("div", { ...attributes, "aria-label": `${caption}, a table` }, table);
}

// Whether matches have a confidence, and from how many images.
function describeCalibration(calibration) {
  if (!calibration) return "none";
  if (!calibration.usable) return "outdated";
  return `from ${plural(calibration.rows, "image")}`;
}

function makeSpaces({ spaces, images }) {
  const rows = spaces.map((space) => {
    const { name, title, dim, precision, vectors, indexed, calibration } = space;
    const isComplete = vectors === images;
    return [
      h("span", { class: "named" }, titleOf(name), h("small", { title: name }, title)),
      number(dim),
      precision,
      isComplete ? number(vectors) : `${number(vectors)} of ${number(images)}`,
      indexed ? "approximate" : "exact",
      describeCalibration(calibration),
    ];
  });
  const head = ["Space", "Dimensions", "Precision", "Vectors", "Search", "Confidence"];
  const section = h("section", { "aria-label": "Spaces" }, h("h2", {}, "Spaces"));
  section.append(makeTable("Spaces", head, rows));
  return section;
}

// ---- failures ----------------------------------------------------------------------------------

const describeReason = (error) => error.replace(/^damaged: the file/, "This file is damaged: it");

function drawFailures(section, failed) {
  if (!failed.length) {
    const text = "Every file that was found is in the collection.";
    section.append(h("p", { class: "fine" }, icon("check"), text));
    return;
  }
  const items = failed.slice(0, FAILURES_SHOWN).map(({ uri, error }) => {
    const nameStart = uri.lastIndexOf("/") + 1;
    return h(
      "li",
      {},
      h("b", { dir: "auto" }, uri.slice(nameStart)),
      h("span", { class: "why" }, describeReason(error)),
      h("small", { dir: "auto" }, uri.slice(0, nameStart)),
    );
  });
  section.append(h("ul", { class: "failures" }, items));
  const rest = failed.length - items.length;
  if (rest > 0) {
    const text = `and ${number(rest)} more: “lookalike info --failures” lists all.`;
    section.append(h("p", { class: "quiet" }, text));
  }
}

// ---- folders -----------------------------------------------------------------------------------

// The folders that the server may index: into this collection, or into a new one.
function makeFolders({ roots, new_collections: canMake }, shown) {
  const folders = roots.map((root) => {
    const path = h("span", { class: "path", dir: "auto" }, root.path);
    return h("div", { class: "folder" }, path, folderButton(root, shown));
  });
  const section = h("section", { "aria-label": "Folders" }, h("h2", {}, "Folders"), folders);
  if (canMake) {
    const make = () => askForm("A new collection", newCollectionForm(roots));
    const attributes = { type: "button", class: "plain", onclick: make };
    section.append(h("p", { class: "work" }, h("button", attributes, "Make a new collection")));
  }
  return section;
}

// A folder that the collection has images of is brought up to date. Any other one would be mixed
// with them, so the visitor is asked first.
function folderButton({ root, path, images }, { name, images: total }) {
  const request = { kind: "index", collection: name, root };
  const running = "Adding images";
  if (images) return jobButton({ text: "Bring up to date", running, request });
  const text = `Add this folder to ${isolate(name)}`;
  const title = `Add the images of ${isolate(path)} to ${isolate(name)}?`;
  const now = `${isolate(name)} has ${plural(total, "image")} now, none of them from this folder.`;
  // There is nothing to mix with in an empty collection.
  const confirm = total ? () => ask(title, now, "Add the images") : undefined;
  return jobButton({ text, running, request, confirm });
}

// ---- the evaluation ----------------------------------------------------------------------------

function introduce(scores, canEvaluate) {
  if (scores) return makeScores(scores);
  const text = canEvaluate
    ? "Every labeled image becomes a query in turn. The scores count how many of its nearest " +
      "images have the same label."
    : "The scores are computed from labels, the names of the images' folders. This collection " +
      "has fewer than two labels.";
  return [h("p", { class: "quiet" }, text)];
}

function drawEvaluation(section, scores, shown) {
  const canEvaluate = shown.labels.length >= 2;
  const title = h("h2", {}, "Accuracy");
  section.replaceChildren(title, ...introduce(scores, canEvaluate));
  if (!canEvaluate) return;
  const button = jobButton({
    text: scores ? "Measure again" : "Measure accuracy",
    running: "Measuring",
    request: { kind: "evaluate", collection: shown.name },
    strong: !scores,
  });
  section.append(button);
}

const formatScore = (value) => value.toFixed(3);

function scoreRow(scores, index, best) {
  const { space, map, mean_class_map: classMean, precision_at: precision, intervals } = scores;
  const [low, high] = intervals.map;
  const interval = h("small", {}, ` ${formatScore(low)}–${formatScore(high)}`);
  return [
    h("span", { class: "key" }, colorDot(spaceColor(index)), titleOf(space)),
    h("span", { class: map === best ? "best" : "" }, formatScore(map), interval),
    formatScore(classMean),
    ...["1", "5", "10"].map((cut) => formatScore(precision[cut])),
  ];
}

function makeScores({ spaces, leave_one_out: leaveOneOut }) {
  const names = spaces.map(({ space }) => space);
  const best = Math.max(...spaces.map(({ map }) => map));
  const rows = spaces.map((scores, index) => scoreRow(scores, index, best));
  const head = ["Space", "mAP", "Mean over labels", "P@1", "P@5", "P@10"];
  const among = leaveOneOut ? ", each among all others" : "";
  const queries = `${number(spaces[0].queries)} queries${among}; 95 % intervals.`;
  const figure = (caption, chart) => h("figure", {}, h("figcaption", {}, caption), chart);
  const parts = [
    makeTable("Evaluation by space", head, rows),
    h("p", { class: "quiet" }, queries),
    h(
      "div",
      { class: "charts" },
      figure("Precision among the nearest", precisionChart(spaces)),
      figure("mAP of each label", classesChart(spaces, names)),
    ),
  ];
  if (spaces[0].confused.length) parts.push(makeConfusions(spaces[0]));
  return parts;
}

function makeConfusions({ space, confused }) {
  const items = confused.slice(0, CONFUSIONS_SHOWN).map(({ label, taken_for: other, share }) => {
    const percent = (100 * share).toFixed(share < 0.1 ? 1 : 0);
    return h(
      "li",
      {},
      h("b", {}, h("bdi", {}, label)),
      " taken for ",
      h("b", {}, h("bdi", {}, other)),
      h("small", {}, ` ${percent} %`),
    );
  });
  const summary = h("summary", {}, `Most frequent confusions · ${titleOf(space)}`);
  return h("details", {}, summary, h("ul", { class: "confused" }, items));
}
