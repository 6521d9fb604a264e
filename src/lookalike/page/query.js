/** From the state to the server's answers: one for each space, or one of two spaces. */

import * as api from "./api.js";
import { collection, searchesOf, tagColumnOf } from "./collections.js";
import { fileOf, rememberUpload } from "./images.js";
import { filterOf } from "./state.js";

/** How many examples one query may have. */
export const MAX_EXAMPLES = 64;

const MAX_SENT = 16; // files of one request
const CACHED = 40;
const cache = new Map(); // the latest answers: going back shows at once what was there

/** Neither the server nor this page has an upload any longer. */
export class UploadExpired extends Error {
  constructor() {
    super("This image is no longer available. Please upload it again.");
  }
}

/**
 * The server's request for a query in one space, or in several whose answers are fused.
 *
 * `forMap` leaves out what only a search needs.
 */
export function requestFor(state, spaces, { forMap = false } = {}) {
  const { positive, negative, gamma, unique, ranking } = state;
  const chosen = spaces.length > 1 ? { spaces } : { space: spaces[0] };
  const target = { collection: collection(state.collection).name, ...chosen };
  const examples = { positive, negative, gamma };
  if (forMap) return { ...target, ...examples };
  // A row of the collection is left out of its own results. An upload that is in the collection
  // is worth seeing.
  const excludeSelf = ![...positive, ...negative].some(({ upload }) => upload);
  const where = filterOf(state, tagColumnOf(state.collection));
  const search = { k: state.k, where, exclude_self: excludeSelf, unique };
  // Then each match says how sure the network is that it shows the word.
  const least = isOneText(state) && spaces.length === 1 ? { min_confidence: 0 } : {};
  return { ...target, ...examples, ...search, ...least, ranking };
}

const isOneText = ({ positive, negative }) =>
  positive.length === 1 && Boolean(positive[0].text) && negative.length === 0;

function keyOf(request) {
  return JSON.stringify([request, collection(request.collection).version]);
}

function store(request, answer) {
  const key = keyOf(request);
  cache.delete(key);
  cache.set(key, answer);
  if (cache.size > CACHED) cache.delete(cache.keys().next().value);
  return answer;
}

/** The answers for a state if all are cached, or null. */
export function cachedAnswers(state) {
  const requests = searchesOf(state).map((spaces) => requestFor(state, spaces));
  const answers = requests.map((request) => cache.get(keyOf(request)));
  return answers.every(Boolean) ? answers : null;
}

/** The answers for a state, from the cache or from the server. */
export function answersFor(state, signal) {
  const answerIn = async (spaces) => {
    const request = requestFor(state, spaces);
    const cached = cache.get(keyOf(request));
    if (cached) return cached;
    const answer = await withReupload(api.search, request, signal);
    return store(request, answer);
  };
  return Promise.all(searchesOf(state).map(answerIn));
}

const isAboutUpload = ({ title, message }) => /upload/.test(title + message);

/**
 * Send a query; if the server does not have an upload, send the query again with the files.
 *
 * The files travel with the query because another server may answer each request.
 *
 * @throws {UploadExpired} If this page does not have the file either.
 */
export async function withReupload(send, query, signal) {
  try {
    return await send(query, signal);
  } catch (error) {
    const named = [...query.positive, ...query.negative].map(({ upload }) => upload);
    const uploads = [...new Set(named.filter(Boolean))];
    const isExpired = error.status === 404 && uploads.length && isAboutUpload(error);
    if (!isExpired) throw error;
    const files = uploads.map(fileOf);
    if (!files.every(Boolean)) throw new UploadExpired();
    if (files.length > MAX_SENT) {
      await Promise.all(files.map(api.upload));
      return send(query, signal);
    }
    const numbered = ({ upload, ...example }) =>
      upload ? { ...example, image: uploads.indexOf(upload) } : example;
    const positive = query.positive.map(numbered);
    const negative = query.negative.map(numbered);
    return send({ ...query, positive, negative }, signal, files);
  }
}

/** Search by files at once; return the state of the query, whose first answer is then cached. */
export async function searchByFiles(files, state, signal) {
  const [spaces] = searchesOf(state);
  const images = files.map((_, index) => ({ image: index }));
  const blank = requestFor({ ...state, positive: [], negative: [] }, spaces);
  const request = { ...blank, positive: images, exclude_self: false };
  const answer = await api.search(request, signal, files);
  answer.uploads.forEach((sha, index) => rememberUpload(sha, files[index]));
  const positive = answer.uploads.map((upload) => ({ upload }));
  const next = { ...state, positive, negative: [] };
  store(requestFor(next, spaces), answer);
  return next;
}
