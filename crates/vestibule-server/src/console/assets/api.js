// Requests to the admin listener, and the session they are made in.
//
// The admin token is sent once and kept nowhere. The session is a cookie that script cannot read;
// the word against forged requests that goes with it is kept until the tab closes.

const KEPT = "vestibule.csrf";
const PATIENCE = 10_000;

/** An answer that is a refusal or a failure; status 0: there was none. */
export class Trouble extends Error {
  constructor(status, problem = {}) {
    super(problem.title ?? `status ${status}`);
    this.status = status;
    this.code = problem.code;
    this.title = problem.title;
    this.detail = problem.detail;
    this.requestId = problem.request_id;
  }

  /** What happened, in words: a title, and what follows from it. */
  static words(error) {
    if (!(error instanceof Trouble)) return { title: "The console failed.", text: String(error?.message ?? error) };
    const [title, text] = error.inWords();
    return { title, text: [text, error.requestId && `Request ${error.requestId}.`].filter(Boolean).join(" ") };
  }

  inWords() {
    const detail = this.detail && `${this.detail.charAt(0).toUpperCase()}${this.detail.slice(1).replace(/\.?$/, ".")}`;
    switch (this.status) {
      case 0:
        return ["The server cannot be reached.", "Whether the request arrived is not known."];
      case 401:
        return ["Your session is over.", "Sign in again."];
      case 403:
        return ["Your token does not allow this.", detail ?? `It has the scopes: ${session.scopes.join(", ") || "none"}.`];
      case 404:
        return ["There is nothing here.", detail ?? "It may have been removed meanwhile."];
      case 429:
        return ["Too many tokens were refused lately.", "Wait a minute, then try again."];
      case 503:
        return ["The database cannot be reached.", "The server is there and keeps trying; try again in a few seconds."];
      default:
        return [`${this.title ?? `The server answered ${this.status}`}.`, detail];
    }
  }
}

/** What happens to the session: `over`, `unreachable`, `reachable`. */
export const events = new EventTarget();

export const session = {
  csrf: sessionStorage.getItem(KEPT),
  name: "",
  scopes: [],

  /** Whether a button is worth showing; the server decides. */
  may(scope) {
    return this.scopes.includes(scope);
  },

  begin({ csrf, name, scopes }) {
    sessionStorage.setItem(KEPT, csrf);
    Object.assign(this, { csrf, name, scopes });
  },

  end() {
    sessionStorage.removeItem(KEPT);
    Object.assign(this, { csrf: null, name: "", scopes: [] });
  },
};

let reachable = true;

function reached(now) {
  if (now === reachable) return;
  reachable = now;
  events.dispatchEvent(new Event(now ? "reachable" : "unreachable"));
}

export const isReachable = () => reachable;

async function send(method, path, { body, signal } = {}) {
  const limits = [AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])];
  const headers = {};
  if (session.csrf) headers["X-Vestibule-Csrf"] = session.csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const used = session.csrf;
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.any(limits),
    });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    reached(false);
    throw new Trouble(0);
  }
  reached(true);
  if (answer.ok) return text;
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // Something in between answered.
  }
  // A late answer to a former session says nothing of this one.
  if (answer.status === 401 && used && used === session.csrf) {
    session.end();
    events.dispatchEvent(new Event("over"));
  }
  throw new Trouble(answer.status, problem);
}

async function json(method, path, options) {
  const text = await send(method, path, options);
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new Trouble(502, { title: "The answer cannot be read" });
  }
}

export const get = (path, options) => json("GET", path, options);
export const post = (path, body, options) => json("POST", path, { ...options, body });
export const patch = (path, body) => json("PATCH", path, { body });
export const remove = (path) => json("DELETE", path);
export const metricsText = (options) => send("GET", "/metrics", options);

/** A path under the admin API, each part of it safe whatever it holds. */
export function api(parts, query = {}) {
  const path = parts.map((part) => encodeURIComponent(part)).join("/");
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
  return `/admin/v1/${path}${asked.size ? `?${asked}` : ""}`;
}

export async function signIn(token) {
  session.begin(await post("/console/session", { token }));
}

export async function signOut() {
  try {
    await remove("/console/session");
  } finally {
    session.end();
  }
}

// Names of accounts and users, which lists know by id only. Few are asked for at a time.

const WORKERS = 4;
const known = new Map();
const waiting = [];
let working = 0;

function look(path) {
  if (!known.has(path)) {
    known.set(path, new Promise((resolve) => {
      waiting.push(async () => {
        try {
          resolve(await get(path));
        } catch (error) {
          // Gone for good, or to be tried again another time.
          if (error.status !== 404) known.delete(path);
          resolve(null);
        }
      });
      work();
    }));
  }
  return known.get(path);
}

async function work() {
  if (working >= WORKERS) return;
  working += 1;
  while (waiting.length) await waiting.shift()();
  working -= 1;
}

/** The account with this id, or null; it may be some minutes old. */
export const accountOf = (id) => look(api(["accounts", id]));
export const userOf = (id) => look(api(["users", id]));

/** Takes what was just read, so that nobody has to ask for it. */
export function learn(kind, items) {
  for (const item of items) known.set(api([kind, item.id]), Promise.resolve(item));
}

export const forget = () => known.clear();
