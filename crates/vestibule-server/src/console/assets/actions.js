// What an operator may do. What stops somebody is asked once, by name.

import { api, patch, post, remove } from "./api.js";
import { ask, el, field, note } from "./dom.js";

const nameOf = (item) => item.name || item.email || item.client_id || item.authress_user_id || item.id;

const KINDS = {
  account: {
    word: "account",
    path: ({ id }) => ["accounts", id],
    suspended: "All its users and service clients are refused with account_suspended, on every server within a second, until you resume it.",
  },
  user: {
    word: "user",
    path: ({ id }) => ["users", id],
    suspended: "Every request of this person is refused with user_suspended, on every server within a second, until you resume the user.",
  },
  client: {
    word: "service client",
    path: ({ client_id: id }) => ["clients", id],
    suspended: "Every request of this software is refused with client_suspended, on every server within a second, until you resume it.",
  },
};

const at = (kind, item, ...more) => api([...KINDS[kind].path(item), ...more]);

/** Each of these gives the item as it is then, or null where nothing was done. */
export async function suspend(kind, item) {
  let after = null;
  await ask({
    title: `Suspend ${nameOf(item)}?`,
    text: [el("p", {}, described(kind, item)), el("p", {}, KINDS[kind].suspended)],
    action: "Suspend",
    danger: true,
    act: async () => (after = await post(at(kind, item, "suspend"))),
  });
  if (after) note(`${nameOf(item)} is suspended.`);
  return after;
}

export async function resume(kind, item) {
  let after = null;
  await ask({
    title: `Resume ${nameOf(item)}?`,
    text: el("p", {}, `${described(kind, item)} Requests are let in again.`),
    action: "Resume",
    act: async () => (after = await post(at(kind, item, "resume"))),
  });
  if (after) note(`${nameOf(item)} is let in again.`);
  return after;
}

/** The tokens of a user or account until now. */
export async function revokeTokens(kind, item) {
  const done = await ask({
    title: `Revoke the tokens of ${nameOf(item)}?`,
    text: [
      el("p", {}, described(kind, item)),
      el("p", {}, `Every token issued until now is refused, on every server within a second. Whoever signs in again gets in; to keep ${kind === "user" ? "a person" : "everybody"} out, suspend the ${kind}.`),
    ],
    action: "Revoke tokens",
    danger: true,
    act: () => post(api(["revocations"]), { kind, which: item.id }),
  });
  if (done) note(`The tokens of ${nameOf(item)} that were issued until now are revoked.`);
  return done;
}

export async function removeUser(user) {
  const done = await ask({
    title: `Remove ${nameOf(user)}?`,
    text: [el("p", {}, described("user", user)), el("p", {}, "The user disappears here. Whoever signs in again at the provider comes back, with the same role and status; to keep a person out, suspend the user.")],
    action: "Remove user",
    danger: true,
    act: () => remove(at("user", user)),
  });
  if (done) note(`${nameOf(user)} is removed.`, { next: true });
  return done;
}

export async function removeClient(client) {
  const done = await ask({
    title: `Remove ${nameOf(client)}?`,
    text: [el("p", {}, described("client", client)), el("p", {}, "The service client is forgotten and refused. To let it in again, register it again.")],
    action: "Remove service client",
    danger: true,
    act: () => remove(at("client", client)),
  });
  if (done) note(`${nameOf(client)} is removed.`);
  return done;
}

export async function changeRole(user) {
  let after = null;
  const role = input("role", { value: user.role, pattern: "[a-z][a-z0-9_\\-]{0,63}", required: true });
  await ask({
    title: `Change the role of ${nameOf(user)}`,
    text: el("p", {}, described("user", user)),
    fields: [field("Role", role, "Begins with a-z; a-z, 0-9, _ and -, at most 64 characters.")],
    action: "Change role",
    act: async (data) => (after = await patch(at("user", user), { role: data.role })),
  });
  if (after) note(`${nameOf(user)} has the role ${after.role}.`);
  return after;
}

export async function rename(account) {
  let after = null;
  await ask({
    title: `Rename ${account.name}`,
    text: el("p", {}, described("account", account)),
    fields: [field("Name", input("name", { value: account.name, required: true }))],
    action: "Rename",
    act: async (data) => (after = await patch(at("account", account), { name: data.name.trim() })),
  });
  if (after) note(`The account is named ${after.name}.`);
  return after;
}

export async function newAccount() {
  let made = null;
  await ask({
    title: "New account",
    text: el("p", {}, "A customer of the platform, with its own data, for a tenant of Authress."),
    fields: [field("Name", input("name", { required: true })), field("Authress tenant", input("tenant", { required: true }), "Its id, such as tenant_acme.")],
    action: "Create account",
    act: async (data) => (made = await post(api(["accounts"]), { name: data.name.trim(), tenant: data.tenant.trim() })),
  });
  if (made) note(`The account ${made.name} is there.`, { next: true });
  return made;
}

export async function newClient(account) {
  let made = null;
  await ask({
    title: `New service client of ${account.name}`,
    text: el("p", {}, "Software that signs its own tokens. It gets in for this account, with these scopes."),
    fields: [
      field("Client id", input("client_id", { required: true }), "Its id at Authress, such as sc_robot01."),
      field("Name", input("name", { required: true })),
      field("Scopes", input("scopes"), "Separated by spaces; may be empty."),
    ],
    action: "Register service client",
    act: async ({ client_id: id, name, scopes }) => {
      const body = { client_id: id.trim(), account_id: account.id, name: name.trim(), scopes: scopes.split(/\s+/).filter(Boolean) };
      made = await post(api(["clients"]), body);
    },
  });
  if (made) note(`The service client ${made.name} is registered.${made.warning ? ` Mind: ${made.warning}` : ""}`);
  return made;
}

const input = (name, attributes = {}) => el("input", { name, autocomplete: "off", spellcheck: "false", autocapitalize: "none", ...attributes });

/** Which one it is, so that nobody of the same name is hit. */
function described(kind, item) {
  const more = { account: item.authress_tenant_id, user: item.email || item.authress_user_id, client: item.client_id }[kind];
  return `The ${KINDS[kind].word} ${nameOf(item)}${more && more !== nameOf(item) ? ` (${more})` : ""}.`;
}

export { described, nameOf };
