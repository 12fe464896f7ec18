// The console's frame: signing in and out, and which view is shown for which address.

import { events, forget, session, signIn, signOut, get, api, isReachable } from "./api.js";
import { account, accounts } from "./accounts.js";
import { el, field, trouble, viewChanges } from "./dom.js";
import { explain } from "./explain.js";
import { watch } from "./metrics.js";
import { overview } from "./overview.js";
import { refusals } from "./refusals.js";
import { revocations } from "./revocations.js";
import { user, users } from "./users.js";

const VIEWS = { overview, accounts, users, refusals, revocations, explain };
const PAGES = { accounts: account, users: user };

const byId = (id) => document.getElementById(id);
const main = byId("main");

let shown = null;

/** `#/users/ID?search=TEXT` in its parts. */
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", id = ""] = path.split("/").map(decoded);
  return { name: name || "overview", id, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Shows what the address names. `move`: the reader asked for it, so the focus goes there. */
function show(move) {
  const { name, id, query } = address();
  const view = id && Object.hasOwn(PAGES, name) ? PAGES[name] : Object.hasOwn(VIEWS, name) && !id ? VIEWS[name] : missing;
  shown?.leave.abort();
  const leave = new AbortController();
  const heading = el("h1", { tabindex: "-1" });
  const titled = (text) => {
    heading.textContent = text;
    document.title = `${text} · Vestibule`;
  };
  shown = { leave };
  viewChanges();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", id ? "true" : "page");
    else link.removeAttribute("aria-current");
  }
  const node = view({
    id,
    query,
    heading,
    titled,
    signal: leave.signal,
    /** Writes what was searched for into the address, so that a reload finds it again. */
    remember(wanted) {
      const asked = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
      history.replaceState(null, "", `#/${name}${asked.size ? `?${asked}` : ""}`);
    },
  });
  byId("view").replaceChildren(node);
  if (move) {
    window.scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
}

function missing({ heading, titled }) {
  titled("There is no such view");
  return el("div", {}, heading, el("p", {}, "The address names none. ", el("a", { href: "#/overview" }, "To the overview")));
}

function enter(move) {
  byId("top").hidden = false;
  byId("who").replaceChildren(
    el("span", { class: "hidden" }, "Signed in as "),
    session.name,
    el("span", { class: "scopes" }, ` (${session.scopes.join(", ")})`),
  );
  watch.start();
  show(move);
}

function leave(text) {
  shown?.leave.abort();
  shown = null;
  watch.forget();
  forget();
  byId("top").hidden = true;
  viewChanges();
  signInView(text);
}

function signInView(text) {
  document.title = "Sign in · Vestibule";
  const token = el("input", { type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const wrong = el("div", { role: "alert", class: "wrong" }, text ?? "");
  const go = el("button", { type: "submit", class: "primary" }, "Sign in");
  const form = el("form", {
    class: "card sign-in",
    onsubmit: async (event) => {
      event.preventDefault();
      wrong.replaceChildren();
      go.disabled = true;
      try {
        await signIn(token.value.trim());
        enter(true);
      } catch (error) {
        if (error.status === 401) wrong.replaceChildren("This token was not accepted.");
        else wrong.replaceChildren(trouble(error).firstChild);
        go.disabled = false;
        token.focus();
      } finally {
        token.value = "";
      }
    },
  },
  el("img", { src: "/console/favicon.svg", alt: "", width: 40, height: 40 }),
  el("h1", {}, "Sign in to Vestibule"),
  field("Admin token", token, "The value of VESTIBULE_ADMIN_TOKEN, or a token with fewer rights. It is sent once and not kept."),
  wrong, go);
  byId("view").replaceChildren(form);
  token.focus();
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
byId("sign-out").addEventListener("click", async () => {
  try {
    await signOut();
    leave("You are signed out.");
  } catch {
    leave("You are signed out here. The server could not be told; the session ends there by itself.");
  }
  // Whoever signs in next begins at the beginning.
  history.replaceState(null, "", location.pathname);
});
window.addEventListener("hashchange", () => session.csrf && shown && show(true));
events.addEventListener("over", () => leave("Your session is over. Sign in again."));
for (const change of ["reachable", "unreachable"]) {
  events.addEventListener(change, () => {
    byId("banner").textContent = isReachable() ? "" : "The server cannot be reached. The console keeps trying.";
  });
}

/** A reload goes on with the session, if there is one. */
async function begin() {
  if (shown) return;
  if (!session.csrf) return signInView();
  try {
    const { token } = await get(api(["status"]));
    session.begin({ csrf: session.csrf, ...token });
    enter(false);
  } catch (error) {
    if (error.status === 401) return;
    if (!byId("view").querySelector(".trouble")) byId("view").replaceChildren(trouble(error, begin));
    if (error.status === 0) setTimeout(begin, 2000);
  }
}

begin();
