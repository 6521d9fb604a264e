// How the collection is: what it holds, what could not be read, and how good its Spaces are.

import * as api from "./api.js";
import { collection, load, titleOf } from "./collections.js";
import { classesChart, precisionChart, spaceColour } from "./charts.js";
import { $, h, icon, number } from "./dom.js";
import { progress } from "./jobs.js";
import { current } from "./state.js";

const LISTED = 200;
const box = $("#health-view");
let leaving = new AbortController();

export const leaveHealth = () => leaving.abort();

export async function drawHealth(state, { signal, onFailure }) {
  leaving = new AbortController();
  const here = collection(state.collection);
  const evaluation = h("section", { class: "wide", "aria-label": "Evaluation" }, h("h2", {}, "How good it is"));
  const failures = h("section", { "aria-label": "Failures" }, h("h2", {}, "Could not be indexed"));
  box.replaceChildren(h("h1", {}, here.name), figures(here), spacesTable(here), evaluation, failures);
  const [measured, failed, roots] = await Promise.all([
    api.evaluation(here.name).catch((error) => { if (error.status === 404) return null; throw error; }),
    here.failures ? api.failures(here.name) : [],
    api.roots(),
  ]);
  if (signal.aborted) return;
  drawFailures(failures, failed);
  drawEvaluation(evaluation, measured, here, onFailure);
  if (roots.length) box.append(folders(roots, here, onFailure));
}

// The folders that the server may read into this collection.
function folders(roots, here, onFailure) {
  return h("section", { "aria-label": "Folders" }, h("h2", {}, "Folders"), roots.map(({ root, path }) => h("div", { class: "folder" }, h("span", {}, path), progress({
    text: "Bring up to date", running: "Indexing", request: { kind: "index", collection: here.name, root }, signal: leaving.signal,
    onDone: async () => { await load(); drawHealth(current(), { signal: leaving.signal, onFailure }); }, onGone: onFailure,
  }))));
}

function figures({ images, failures, labels, version }) {
  const one = (value, name) => h("div", {}, h("dd", {}, number(value)), h("dt", {}, name));
  return h("dl", { class: "figures" }, one(images, images === 1 ? "picture" : "pictures"), one(labels.length, labels.length === 1 ? "label" : "labels"),
    one(failures, failures === 1 ? "failure" : "failures"), one(version, "version"));
}

const table = (head, rows, caption) => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${caption}, a table` },
  h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row" }, first), others.map((value) => h("td", {}, value)))))));

function spacesTable({ spaces, images }) {
  return h("section", { "aria-label": "Spaces" }, h("h2", {}, "Spaces"), table(["Space", "Dimensions", "Precision", "Vectors", "Search"],
    spaces.map(({ name, title, dim, precision, vectors, indexed }) => [h("span", { class: "named" }, title, h("small", {}, name)), number(dim), precision,
      vectors === images ? number(vectors) : `${number(vectors)} of ${number(images)}`, indexed ? "approximate" : "exact"]), "Spaces"));
}

function drawFailures(section, failed) {
  if (!failed.length) { section.append(h("p", { class: "fine" }, icon("check"), "Every file that was found is in the collection.")); return; }
  section.append(h("ul", { class: "failures" }, failed.slice(0, LISTED).map(({ uri, error }) => {
    const at = uri.lastIndexOf("/") + 1;
    return h("li", {}, h("b", {}, uri.slice(at)), h("span", { class: "why" }, error), h("small", {}, uri.slice(0, at)));
  })));
  if (failed.length > LISTED) section.append(h("p", { class: "quiet" }, `and ${number(failed.length - LISTED)} more: lookalike info --failures lists all.`));
}

function drawEvaluation(section, measured, here, onFailure) {
  section.replaceChildren(h("h2", {}, "How good it is"));
  if (measured) section.append(...tell(measured));
  else if (here.labels.length < 2) section.append(h("p", { class: "quiet" }, "This is measured on labels, the names of the folders that pictures lie in. Here are fewer than two."));
  else section.append(h("p", { class: "quiet" }, "Every labelled picture becomes a query in turn, and it is counted how many of the nearest have its label."));
  if (here.labels.length < 2) return;
  section.append(progress({
    text: measured ? "Measure again" : "Measure it", running: "Ranking pictures", request: { kind: "evaluate", collection: here.name }, strong: !measured, signal: leaving.signal,
    onDone: async () => { await load(); drawEvaluation(section, await api.evaluation(here.name), here, onFailure); }, onGone: onFailure,
  }));
}

const share = (value) => value.toFixed(3);

function tell({ spaces, leave_one_out: leaveOneOut }) {
  const names = spaces.map(({ space }) => space), best = Math.max(...spaces.map(({ map }) => map));
  const interval = ([low, high]) => h("small", {}, ` ${share(low)}–${share(high)}`);
  const rows = spaces.map((scores, index) => [
    h("span", { class: "key" }, h("i", { style: { "--colour": spaceColour(index) } }), titleOf(scores.space)),
    h("span", { class: scores.map === best ? "best" : "" }, share(scores.map), interval(scores.intervals.map)), share(scores.mean_class_map),
    ...["1", "5", "10"].map((cut) => share(scores.precision_at[cut])),
  ]);
  const queries = `${number(spaces[0].queries)} queries${leaveOneOut ? ", each among all others" : ""}; 95 % intervals.`;
  return [
    table(["Space", "mAP", "Mean of classes", "P@1", "P@5", "P@10"], rows, "Evaluation by space"),
    h("p", { class: "quiet" }, queries),
    h("div", { class: "charts" },
      h("figure", {}, h("figcaption", {}, "Precision among the nearest"), precisionChart(spaces)),
      h("figure", {}, h("figcaption", {}, "mAP of each label"), classesChart(spaces, names))),
    confused(spaces[0]),
  ].filter(Boolean);
}

function confused({ space, confused: pairs }) {
  if (!pairs.length) return null;
  return h("details", {}, h("summary", {}, `What ${titleOf(space)} confuses most`),
    h("ul", { class: "confused" }, pairs.slice(0, 8).map(({ label, taken_for: other, share: part }) =>
      h("li", {}, h("b", {}, label), " taken for ", h("b", {}, other), h("small", {}, ` ${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`)))));
}
