// Accounts, and everything of one of them.

import { accountOf, api, forget, get, learn, session, userOf } from "./api.js";
import { nameOf, newAccount, newClient, removeClient, rename, resume, revokeTokens, suspend } from "./actions.js";
import { badge, button, el, facts, identifier, moment, status, swap, table, trouble, whenBack } from "./dom.js";
import { words } from "./format.js";
import { pages, repeat, search } from "./lists.js";

const ACTIVITY_EVERY = 5000;

/** A link to an account by its id; says its name once that is known. */
export function accountLink(id) {
  return linkTo("accounts", id, accountOf(id), "an account");
}

export function userLink(id) {
  return linkTo("users", id, userOf(id), "a user");
}

function linkTo(view, id, found, unnamed) {
  const link = el("a", { href: `#/${view}/${encodeURIComponent(id)}`, title: id }, `${unnamed} …${id.slice(-6)}`);
  found.then((item) => item && (link.textContent = nameOf(item)));
  return link;
}

export function accounts({ heading, titled, query, signal, remember }) {
  titled("Accounts");
  const list = table({
    caption: "Accounts",
    key: ({ id }) => id,
    empty: "There is no account yet.",
    columns: [
      { name: "Name", header: true, cell: ({ id, name }) => el("a", { href: `#/accounts/${id}` }, name) },
      { name: "Status", cell: ({ status: word }) => status(word) },
      { name: "Authress tenant", class: "long", cell: ({ authress_tenant_id: tenant }) => tenant },
      { name: "Id", class: "wide", cell: ({ id }) => el("code", {}, id) },
    ],
  });
  const find = search({
    label: "Find an account",
    help: "A part of its name, or the whole id or tenant id.",
    value: query.get("search") ?? "",
    found: (text) => {
      remember({ search: text });
      list.say(text ? `No account fits “${text}”.` : "There is no account yet.");
      items.load();
    },
  });
  const items = pages({ path: ["accounts"], query: () => ({ search: find.value }), list, noun: "account", live: true, signal, read: (page) => learn("accounts", page) });
  const add = session.may("write") && button("New account", async () => {
    const made = await newAccount();
    if (made) location.hash = `#/accounts/${made.id}`;
  });
  items.load();
  return el("div", {}, el("div", { class: "head" }, heading, add), find.node, items.node);
}

export function account({ id, heading, titled, signal }) {
  titled("Account");
  const top = el("div");
  const rest = el("div");

  async function load() {
    try {
      const found = await get(api(["accounts", id]), { signal });
      learn("accounts", [found]);
      show(found);
      rest.replaceChildren(users(id, signal), clients(found, signal), activity(id, signal));
    } catch (error) {
      if (!signal.aborted) top.replaceChildren(trouble(error, load));
    }
  }
  whenBack(() => top.querySelector(".trouble") && load(), signal);

  function show(item) {
    titled(item.name);
    const changed = (after) => {
      if (!after) return;
      forget();
      learn("accounts", [after]);
      show(after);
    };
    swap(top,
      facts([["Status", status(item.status)], ["Authress tenant", identifier(item.authress_tenant_id)], ["Id", identifier(item.id)]]),
      el("div", { class: "buttons" },
        item.status === "active"
          ? session.may("stop") && button("Suspend", async () => changed(await suspend("account", item)), { class: "danger" })
          : session.may("write") && button("Resume", async () => changed(await resume("account", item))),
        session.may("stop") && button("Revoke tokens", () => revokeTokens("account", item)),
        session.may("write") && button("Rename", async () => changed(await rename(item)))));
  }

  load();
  return el("div", {}, el("p", { class: "crumb" }, el("a", { href: "#/accounts" }, "Accounts")), heading, top, rest);
}

function users(id, signal) {
  const list = userTable({ caption: "Users of the account", empty: "Nobody has come yet.", changed: (...change) => items.replace(...change) });
  const items = pages({ path: ["accounts", id, "users"], list, noun: "user", signal, read: (page) => learn("users", page) });
  items.load();
  return el("section", { "aria-labelledby": "users-of" }, el("h2", { id: "users-of" }, "Users"), items.node);
}

/** Users with what may be done; `changed(id, user)` gets each as it is then, without `user` once it is gone. */
export function userTable({ caption, empty, changed, withAccount = false }) {
  return table({
    caption,
    empty,
    key: ({ id }) => id,
    columns: [
      {
        name: "Name",
        header: true,
        cell: (user) => [
          el("a", { href: `#/users/${user.id}` }, nameOf(user)),
          user.email && user.email !== nameOf(user) && el("span", { class: "narrow sub" }, user.email),
        ],
      },
      { name: "E-mail", class: "wide", cell: ({ email }) => email ?? "–" },
      withAccount && { name: "Account", class: "wide", cell: ({ account_id: of }) => accountLink(of) },
      { name: "Role", class: "wide", cell: ({ role }) => role },
      { name: "Status", cell: ({ status: word }) => status(word) },
      (session.may("stop") || session.may("write")) && { name: "Actions", hidden: true, class: "actions", cell: (user) => quick("user", user, changed) },
    ].filter(Boolean),
  });
}

/** Suspend or resume, within a row. */
function quick(kind, item, changed) {
  const done = (after) => after && changed(item.id, after);
  const name = el("span", { class: "hidden" }, ` ${nameOf(item)}`);
  if (item.status === "active") {
    return session.may("stop") ? button(["Suspend", name], async () => done(await suspend(kind, item)), { class: "small" }) : "";
  }
  return session.may("write") ? button(["Resume", name], async () => done(await resume(kind, item)), { class: "small" }) : "";
}

function clients(of, signal) {
  const list = table({
    caption: "Service clients of the account",
    empty: "No service client is registered.",
    key: ({ id }) => id,
    columns: [
      { name: "Name", header: true, cell: ({ name, client_id: id }) => [name, el("span", { class: "narrow sub" }, id)] },
      { name: "Client id", class: "wide", cell: ({ client_id: id }) => el("code", {}, id) },
      { name: "Scopes", class: "wide", cell: ({ scopes }) => scopes.join(" ") || "none" },
      { name: "Status", cell: ({ status: word }) => status(word) },
      (session.may("stop") || session.may("write")) && {
        name: "Actions", hidden: true, class: "actions",
        cell: (client) => [
          quick("client", client, (...change) => items.replace(...change)),
          session.may("write") && button(["Remove", el("span", { class: "hidden" }, ` ${client.name}`)],
            async () => (await removeClient(client)) && items.replace(client.id), { class: "small" }),
        ].filter(Boolean),
      },
    ].filter(Boolean),
  });
  const items = pages({ path: ["accounts", of.id, "clients"], list, noun: "service client", signal });
  const add = session.may("write") && button("New service client", async () => {
    const made = await newClient(of);
    if (made) items.add(made);
  }, { class: "small" });
  items.load();
  return el("section", { "aria-labelledby": "clients-of" }, el("div", { class: "head" }, el("h2", { id: "clients-of" }, "Service clients"), add), items.node);
}

const KINDS = {
  sign_in: ["signed in", "good"],
  refusal: ["refused", "bad"],
  system_session: ["system session", "plain"],
  provisioning: ["first visit", "plain"],
  admin_action: ["admin", "warn"],
};

/** An account's latest activity; `who`: of this user alone, as far as the first page has it. */
export function activity(id, signal, who) {
  const list = table({
    caption: `Activity of the ${who ? "user" : "account"}, the newest first`,
    empty: who ? "Nothing among the account's latest entries." : "Nothing has happened yet.",
    key: ({ id: entry }) => entry,
    columns: [
      { name: "When", header: true, cell: ({ at }) => moment(at) },
      { name: "What", cell: ({ kind }) => badge(...(KINDS[kind] ?? [words(kind)])) },
      !who && { name: "Who", cell: ({ user_id: user, client_id: client }) => (user ? userLink(user) : client ?? "–") },
      { name: "Reason", class: "long", cell: ({ kind, reason }) => (reason ? (kind === "refusal" ? words(reason) : reason) : "–") },
      {
        name: "Request", class: "wide",
        cell: ({ kind, request_id: request }) => request && (kind === "refusal" ? el("a", { href: `#/explain?request=${encodeURIComponent(request)}` }, "Explain", el("span", { class: "hidden" }, ` request ${request}`)) : el("code", {}, request)) || "–",
      },
    ].filter(Boolean),
  });
  const only = ({ user_id: user }) => !who || user === who;
  const items = pages({ path: ["accounts", id, "activity"], list, noun: ["entry", "entries"], signal, only });
  items.load();
  repeat(items.refresh, ACTIVITY_EVERY, signal);
  return el("section", { "aria-labelledby": "activity-of" }, el("h2", { id: "activity-of" }, "Activity"), items.node);
}
