// From what is asked to the answers, one for each Space.

import * as api from "./api.js";
import { collection, spaces } from "./collections.js";
import { fileOf, remember } from "./images.js";
import { filter } from "./state.js";

const KEPT = 40;
const answers = new Map(); // the latest answers, so that going back shows at once what was there

/** The server no longer has an upload, and neither has this page. */
export class Forgotten extends Error {
  constructor() {
    super("The server keeps uploaded pictures only for a while, and this one is gone.");
  }
}

/** What is asked of one Space, as the server takes it. */
export function question(state, space) {
  const uploaded = [...state.plus, ...state.minus].some(({ upload }) => upload);
  return {
    collection: collection(state.collection).name, space, k: state.k, where: filter(state),
    // A picture of the collection is no answer to itself; that an upload is in it is worth seeing.
    exclude_self: !uploaded, positive: state.plus, negative: state.minus,
  };
}

const keyOf = (asked) => JSON.stringify([asked, collection(asked.collection).version]);

function keep(asked, answer) {
  const key = keyOf(asked);
  answers.delete(key);
  answers.set(key, answer);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  return answer;
}

/** The answers that are here already, or null. */
export function known(state) {
  const found = spaces(state).map((space) => answers.get(keyOf(question(state, space))));
  return found.every(Boolean) ? found : null;
}

/** Repair what the server forgot, if the pictures are still here, and ask again. */
export async function reminding(state, ask) {
  try {
    return await ask();
  } catch (error) {
    const uploads = [...state.plus, ...state.minus].filter(({ upload }) => upload);
    if (error.status !== 404 || !uploads.length || !/upload/.test(error.title + error.message)) throw error;
    const files = uploads.map(({ upload }) => fileOf(upload));
    if (!files.every(Boolean)) throw new Forgotten();
    await Promise.all(files.map(api.upload));
    return ask();
  }
}

export function answersTo(state, signal) {
  return Promise.all(spaces(state).map(async (space) => {
    const asked = question(state, space), kept = answers.get(keyOf(asked));
    return kept ?? keep(asked, await reminding(state, () => api.search(asked, signal)));
  }));
}

/** Search by files at once; the state to go to is returned, and its first answer kept for when one is there. */
export async function answerFiles(files, state, signal) {
  const [space] = spaces(state), asked = { ...question({ ...state, plus: [], minus: [] }, space), exclude_self: false };
  const positive = files.map((_, image) => ({ image }));
  const answer = await api.searchBy(files, { ...asked, positive }, signal);
  answer.uploads.forEach((sha, index) => remember(sha, files[index]));
  const arrived = { ...state, plus: answer.uploads.map((upload) => ({ upload })), minus: [] };
  keep(question(arrived, space), answer);
  return arrived;
}
