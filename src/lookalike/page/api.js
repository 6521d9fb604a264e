/** The server's REST API. Addresses are relative, so that the page works under any prefix. */

import { wait } from "./dom.js";

const BASE = new URL("api/v1/", document.baseURI);
const RETRIES = 3; // while the server is busy
const MAX_PAUSE = 2; // seconds between two tries

/** The server refused a request; the message is its own sentence. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered with status ${status}.`);
    this.status = status;
    this.title = body.title ?? "";
    this.errors = body.errors ?? [];
  }
}

/** The server cannot be reached. */
export class ServerUnreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

/** The address of a path of the API; empty parameters are left out. */
function address(path, parameters = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    const isEmpty = value === undefined || value === null || value === "";
    if (!isEmpty) url.searchParams.set(name, value);
  }
  return url.href;
}

// A proxy answers in the place of a server that is down, without the server's own content type.
function isFromProxy(response) {
  const type = response.headers.get("content-type") ?? "";
  return [502, 503, 504].includes(response.status) && !type.includes("problem");
}

async function request(path, { parameters, ...settings } = {}, retries = RETRIES) {
  let response;
  try {
    response = await fetch(address(path, parameters), settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerUnreachable();
  }
  if (isFromProxy(response)) throw new ServerUnreachable();
  const pause = Number(response.headers.get("retry-after"));
  if (response.status === 503 && pause > 0 && retries > 0) {
    await wait(1000 * Math.min(MAX_PAUSE, pause));
    settings.signal?.throwIfAborted();
    return request(path, { parameters, ...settings }, retries - 1);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Problem(response.status, body);
  }
  return response.status === 204 ? null : response.json();
}

function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

function formOf(files) {
  const form = new FormData();
  for (const file of files) form.append("image", file, file.name || "image");
  return form;
}

function postQuery(path, query, signal, files = []) {
  if (!files.length) return post(path, query, signal);
  const form = formOf(files);
  form.append("query", JSON.stringify(query));
  return request(path, { method: "POST", body: form, signal });
}

/** Store the token in a cookie. */
export const signIn = (token) => post("session", { token });

export const health = () => request("health", { cache: "no-store" });
/** `{collections, unavailable}`: those that can be searched, and those that cannot be read now. */
export const collections = () => request("collections");
export const rows = (parameters) => request("rows", { parameters });
export const row = (collection, id) => request(`rows/${id}`, { parameters: { collection } });
export const roots = (collection) => request("roots", { parameters: { collection } });
export const map = (parameters) => request("map", { parameters });
export const evaluation = (collection) => request("evaluation", { parameters: { collection } });
export const review = (parameters) => request("review", { parameters });
export const duplicates = (parameters) => request("duplicates", { parameters });
export const giveVerdict = (verdict) => post("duplicates/verdicts", verdict);
/** Each of these takes a query, and the files that its examples name by number, if any. */
export const search = (...query) => postQuery("search", ...query);
export const distances = (...query) => postQuery("distances", ...query);
export const mapPosition = (...query) => postQuery("map/place", ...query);

/** Why a row matches an example: the values of the cells of both images. */
export const explain = (body) => post("explain", body);

export const jobs = async () => (await request("jobs")).jobs;
export const startJob = (description) => post("jobs", description);
export const cancelJob = (id) => request(`jobs/${id}`, { method: "DELETE" });

export async function failures(collection) {
  const answer = await request("failures", { parameters: { collection } });
  return answer.failures;
}

/** Upload a file to search by it later. */
export const upload = (file) => request("uploads", { method: "POST", body: formOf([file]) });

/** The address of a row's thumbnail; with its content's hash the browser may keep it for good. */
export function thumbnailUrl(collection, id, size, content) {
  return address(`rows/${id}/thumbnail`, { collection, size, content });
}

export const originalUrl = (collection, id) => address(`rows/${id}/original`, { collection });
export const uploadImageUrl = (sha, size) => address(`uploads/${sha}/image`, { size });
