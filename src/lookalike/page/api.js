// The server, as the page speaks to it. Addresses are relative, so that the page works under any prefix.

import { wait } from "./dom.js";

const BASE = new URL("api/v1/", document.baseURI);

/** What the server says is wrong, in its own sentence. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered with status ${status}.`);
    Object.assign(this, { status, title: body.title ?? "", errors: body.errors ?? [] });
  }
}

/** The server cannot be reached. */
export class Gone extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

export const address = (path, query = {}) => {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  return url.href;
};

const BUSY = 3; // times that a server with too much to do is asked again

async function ask(path, { query, ...settings } = {}, tries = BUSY) {
  let response;
  try {
    response = await fetch(address(path, query), settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone();
  }
  // A proxy answers for a server that is away.
  if ([502, 503, 504].includes(response.status) && !(response.headers.get("content-type") ?? "").includes("problem")) throw new Gone();
  const pause = Number(response.headers.get("retry-after"));
  if (response.status === 503 && pause > 0 && tries > 0) {
    await wait(1000 * Math.min(2, pause));
    settings.signal?.throwIfAborted();
    return ask(path, { query, ...settings }, tries - 1);
  }
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return response.status === 204 ? null : response.json();
}

const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

export const health = () => ask("health", { cache: "no-store" });
export const collections = () => ask("collections").then((answer) => answer.collections);
export const rows = (query) => ask("rows", { query });
export const row = (collection, id) => ask(`rows/${id}`, { query: { collection } });
export const failures = (collection) => ask("failures", { query: { collection } }).then((answer) => answer.failures);
export const roots = () => ask("roots").then((answer) => answer.roots);
export const keptMap = (query) => ask("map", { query });
export const evaluation = (collection) => ask("evaluation", { query: { collection } });
export const search = (query, signal) => post("search", query, signal);
export const distances = (query, signal) => post("distances", query, signal);
export const placeOf = (query, signal) => post("map/place", query, signal);

/** Search by pictures that the server has not seen; it answers with the names to call them by from now on. */
export function searchBy(files, query, signal) {
  const form = new FormData();
  for (const file of files) form.append("image", file, file.name || "picture");
  form.append("query", JSON.stringify(query));
  return ask("search", { method: "POST", body: form, signal });
}

export function upload(file) {
  const form = new FormData();
  form.append("image", file, file.name || "picture");
  return ask("uploads", { method: "POST", body: form });
}

/** A row's small picture; with its content named, the browser may keep it for good. */
export const thumbnail = (collection, id, size, content) => address(`rows/${id}/thumbnail`, { collection, size, content });
export const original = (collection, id) => address(`rows/${id}/original`, { collection });
export const uploadPicture = (sha, size) => address(`uploads/${sha}/image`, { size });

/** Start a piece of work and follow it to its end; `report(done, total)` hears how far it is. */
export async function work(request, report, signal) {
  const job = await post("jobs", request);
  report(job.done, job.total);
  const events = new EventSource(address(`jobs/${job.id}/events`));
  signal?.addEventListener("abort", () => events.close());
  return new Promise((resolve, reject) => {
    events.addEventListener("progress", (event) => {
      const { done, total } = JSON.parse(event.data);
      report(done, total);
    });
    events.addEventListener("done", (event) => { events.close(); resolve(JSON.parse(event.data)); });
    events.addEventListener("failed", (event) => {
      events.close();
      const told = JSON.parse(event.data);
      reject(new Problem(500, { detail: told.error?.detail ?? told.error ?? "The work failed." }));
    });
    events.onerror = () => { if (events.readyState === EventSource.CLOSED) reject(new Gone()); };
  });
}
