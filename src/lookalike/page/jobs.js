/** Jobs of the server: started in any view, and followed below the header in every view. */

import * as api from "./api.js";
import { $, announce, h, icon, iconButton, withNames } from "./dom.js";
import { describeTimeLeft, isolate, number, plural } from "./format.js";

const INTERVAL = 600; // milliseconds between two looks at running jobs
const ACTIVE = new Set(["waiting", "running"]);

const strip = $("#jobs");

let jobs = []; // as the server last listed them
let timer = 0;
let looks = 0; // how often the jobs were listed or added to
let handlers = {};
const seenActive = new Set(); // ids of jobs that were active during this visit
const dismissed = new Set(); // ids of ended jobs that the visitor has dismissed
const buttons = new Set(); // of jobButton()

const isActive = ({ state }) => ACTIVE.has(state);

/** The jobs that wait or run. */
export const activeJobs = () => jobs.filter(isActive);

/** The newest job of a kind that a collection has finished, or undefined. */
export function lastDone(kind, name) {
  const isOf = (job) => job.kind === kind && job.state === "done" && job.asked.collection === name;
  return jobs.findLast(isOf);
}

/**
 * Follow the server's jobs from now on.
 *
 * @param {object} given
 * @param {(job: object) => void} given.onProgress  A job has proceeded.
 * @param {(job: object) => Promise<void>} given.onEnd  A job has ended.
 * @param {(name: string) => void} given.onShowFailures
 * @param {(name: string) => boolean} given.canShow  Whether another collection can be shown.
 * @param {(name: string) => void} given.onShow
 * @param {(error: Error) => void} given.onFailure  The jobs cannot be listed.
 */
export function followJobs(given) {
  handlers = given;
  look();
}

async function look() {
  clearTimeout(timer);
  timer = 0;
  looks += 1;
  const ownLook = looks;
  let listed;
  try {
    listed = await api.jobs();
  } catch (error) {
    handlers.onFailure(error);
    return;
  }
  // A list that is older than the one that is shown would hide what has happened since.
  if (ownLook === looks) update(listed);
}

function update(listed) {
  const before = new Map(jobs.map((job) => [job.id, job]));
  jobs = listed;
  for (const job of activeJobs()) seenActive.add(job.id);
  draw();
  for (const button of buttons) button();
  for (const job of jobs) {
    const previous = before.get(job.id);
    if (!seenActive.has(job.id)) continue;
    if (isActive(job)) {
      if (previous?.done !== job.done) handlers.onProgress(job);
    } else if (!previous || isActive(previous)) {
      announce(describeEnd(job));
      // Its collection may be one that can be shown from now on.
      handlers.onEnd(job).then(draw);
    }
  }
  if (activeJobs().length) timer ||= setTimeout(look, INTERVAL);
}

/** Start a job, given as the server's request. */
export async function startJob(request) {
  const job = await api.startJob(request);
  looks += 1;
  seenActive.add(job.id);
  const others = jobs.filter(({ id }) => id !== job.id);
  announce(`${describeWork(job)}…`);
  update([...others, job]);
}

// ---- the strip ---------------------------------------------------------------------------------

const WORK = {
  index: (name) => `Adding images to ${name}`,
  map: (name) => `Making the map of ${name}`,
  calibrate: (name) => `Calibrating ${name}`,
  evaluate: (name) => `Measuring the accuracy of ${name}`,
  duplicates: (name) => `Looking for duplicates in ${name}`,
  review: (name) => `Reviewing ${name}`,
  tune: (name) => `Learning from the labels of ${name}`,
};

const collectionOf = ({ asked }) => asked.collection ?? "";

const nameIn = ({ asked }) => (asked.collection ? isolate(asked.collection) : "the collection");

function describeWork(job) {
  const describe = WORK[job.kind] ?? ((name) => `Working on ${name}`);
  return describe(nameIn(job));
}

function describeProgress({ state, done, total, rate, seconds_left: secondsLeft }) {
  if (state === "waiting") {
    return activeJobs().length > 1 ? "waiting for the job before it" : "starting…";
  }
  const parts = [];
  if (total) parts.push(`${number(Math.min(done, total))} of ${number(total)}`);
  if (rate) parts.push(`${number(Number(rate.toPrecision(2)))} a second`);
  if (total && done >= total) parts.push("finishing");
  else if (secondsLeft) parts.push(describeTimeLeft(secondsLeft));
  return parts.join(" · ");
}

function describeCounts({ images, ...result }) {
  const names = ["added", "updated", "moved", "restored", "removed"];
  const changes = names.filter((name) => result[name]);
  const texts = changes.map((name) => `${number(result[name])} ${name}`);
  if (!changes.length) texts.push("nothing has changed");
  if (result.failed) texts.push(`${number(result.failed)} failed`);
  return `${plural(images, "image")}: ${texts.join(", ")}`;
}

// Where much is missing at once, the drive may be: the rows stay until someone insists.
function describeMissing({ withheld = [] }) {
  const missing = withheld.reduce((sum, folder) => sum + folder.missing, 0);
  if (!missing) return "";
  const kept = `Kept, although the files are missing: ${plural(missing, "image")}.`;
  return ` ${kept} To remove them, use “lookalike index FOLDER --prune”.`;
}

function describeDuplicates({ groups, copies }) {
  if (!copies) return "no duplicates";
  return `${plural(copies, "copy", "copies")} in ${plural(groups, "group")}`;
}

// How each kind of job ended, from its result and the name of its collection.
const ENDS = {
  index: (result, name) => `${name} has ${describeCounts(result)}.${describeMissing(result)}`,
  map: (_, name) => `The map of ${name} is ready.`,
  calibrate: (_, name) => `${name} is calibrated.`,
  evaluate: (_, name) => `The accuracy of ${name} is measured.`,
  duplicates: (result, name) => `${name} has ${describeDuplicates(result)}.`,
  review: (_, name) => `The review of ${name} is ready.`,
  tune: ({ verdict }, name) => `${name}: ${verdict}`,
};

function describeEnd(job) {
  const { kind, state, error, result } = job;
  const name = nameIn(job);
  if (state === "failed") return `${describeWork(job)} failed. ${error ?? ""}`;
  if (state === "cancelled") {
    const kept = result?.added ? ` Kept: ${plural(result.added, "added image")}.` : "";
    return `${describeWork(job)} was cancelled.${kept}`;
  }
  const describe = ENDS[kind] ?? (() => `${describeWork(job)} is done.`);
  return describe(result, name);
}

function draw() {
  const shown = jobs.filter(({ id }) => seenActive.has(id) && !dismissed.has(id));
  const focused = document.activeElement?.dataset.job;
  strip.replaceChildren(...shown.map((job) => (isActive(job) ? activeLine(job) : endedLine(job))));
  strip.hidden = !shown.length;
  if (focused && !strip.contains(document.activeElement)) {
    strip.querySelector(`[data-job="${focused}"]`)?.focus();
  }
}

function activeLine(job) {
  const { id, done, total } = job;
  const bar = h("progress", { "aria-label": describeWork(job) });
  if (total) {
    bar.max = total;
    bar.value = Math.min(done, total);
  }
  const cancel = { type: "button", class: "plain", data: { job: id }, onclick: () => stop(id) };
  return h(
    "div",
    { class: "job running" },
    h("b", {}, withNames(describeWork(job))),
    bar,
    h("span", {}, describeProgress(job)),
    showButton(job),
    h("button", cancel, "Cancel"),
  );
}

// A collection that is being made, or was made, beside the one that is shown.
function showButton({ kind, asked }) {
  const name = asked.collection;
  if (kind !== "index" || !name || !handlers.canShow(name)) return null;
  const show = () => {
    handlers.onShow(name);
    draw();
  };
  return h("button", { type: "button", class: "plain", onclick: show }, "Show it");
}

function endedLine(job) {
  const { id, state, result } = job;
  const failed = state === "failed";
  const hasFailures = job.kind === "index" && result?.failed > 0;
  const show = () => handlers.onShowFailures(collectionOf(job));
  const dismiss = () => {
    dismissed.add(id);
    draw();
  };
  const close = { class: "small", data: { job: id } };
  return h(
    "div",
    { class: `job ${failed ? "wrong" : ""}` },
    failed ? null : icon(state === "done" ? "check" : "close"),
    h("span", {}, withNames(describeEnd(job))),
    hasFailures && !failed
      ? h("button", { type: "button", class: "plain", onclick: show }, "See what failed")
      : null,
    failed ? null : showButton(job),
    iconButton("close", "Dismiss", dismiss, close),
  );
}

async function stop(id) {
  try {
    await api.cancelJob(id);
  } catch (error) {
    if (error.status !== 404) handlers.onFailure(error);
  }
  look();
}

// What lies below the strip makes room for it.
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--strip", `${strip.offsetHeight}px`);
}).observe(strip);

// ---- buttons -----------------------------------------------------------------------------------

/**
 * Make the button of a job; while an equal job waits or runs it cannot be pressed.
 *
 * @param {object} options
 * @param {string} options.text  The button's text.
 * @param {string} options.running  The text while the job runs, such as "Making the map".
 * @param {object} options.request  The job's description for the server.
 * @param {boolean=} options.strong  Whether the button stands out.
 * @param {(() => Promise<boolean>)=} options.confirm  Asks the visitor first.
 */
export function jobButton({ text, running, request, strong, confirm }) {
  const button = h("button", { type: "button", class: strong ? "strong" : "plain" });
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  const box = h("div", { class: "work" }, button, problem);
  const isSame = ({ kind, asked }) =>
    kind === request.kind &&
    Object.entries(request).every(([name, value]) => name === "kind" || asked[name] === value);
  const refresh = () => {
    // The view was drawn again without this button.
    if (box.isConnected === false && wasShown) {
      buttons.delete(refresh);
      return;
    }
    wasShown ||= box.isConnected;
    const isRunning = activeJobs().some(isSame);
    button.disabled = isRunning;
    // Within a flexible box each part of a text would stand apart.
    button.replaceChildren(h("span", {}, withNames(isRunning ? `${running}…` : text)));
  };
  let wasShown = false;
  buttons.add(refresh);
  refresh();
  button.addEventListener("click", async () => {
    if (confirm && !(await confirm())) return;
    problem.hidden = true;
    try {
      await startJob(request);
    } catch (error) {
      if (error instanceof api.ServerUnreachable || error.status === 401) {
        handlers.onFailure(error);
        return;
      }
      problem.hidden = false;
      problem.textContent = error.message;
    }
  });
  return box;
}
