// What is cut off, and cutting off.

import { accountLink, userLink } from "./accounts.js";
import { described, nameOf } from "./actions.js";
import { api, get, post, session } from "./api.js";
import { ask, badge, el, field, moment, note, table, trouble } from "./dom.js";
import { pasted } from "./explain.js";
import { pages } from "./lists.js";
import { watch } from "./metrics.js";

const KINDS = {
  user: "Everything of a user",
  account: "Everything of an account",
  token: "One token",
  key: "A service client's key",
  issuer: "All user tokens of an issuer",
};

export function revocations({ heading, titled, signal }) {
  titled("Revocations");
  const list = table({
    caption: "Revocations",
    key: ({ kind, which }) => `${kind} ${which}`,
    empty: "Nothing is revoked.",
    columns: [
      { name: "What", header: true, cell: ({ kind }) => badge(kind) },
      { name: "Which", class: "long", cell: which },
      { name: "Issued before", cell: ({ issued_before: before }) => (before ? moment(before) : "any time") },
    ],
  });
  const items = pages({ path: ["revocations"], list, noun: "revocation", signal });
  items.load();
  return el("div", {}, heading,
    el("p", { class: "help" }, "A revocation stops what was issued already, on every server within a second. Whoever signs in again gets in; to keep somebody out, suspend the user, account or service client."),
    session.may("stop") && form(items.load),
    el("section", { "aria-labelledby": "revoked" }, el("h2", { id: "revoked" }, "Revoked"), items.node));
}

function which({ kind, which: id }) {
  if (kind === "user") return userLink(id);
  if (kind === "account") return accountLink(id);
  return el("code", {}, id);
}

function form(done) {
  const text = (name, more = {}) => el("input", { name, autocomplete: "off", spellcheck: "false", autocapitalize: "none", required: true, ...more });
  const issuers = el("datalist", { id: "issuers" }, (watch.status?.issuers ?? []).map(({ issuer }) => el("option", { value: issuer })));
  const before = field("Issued before (optional)", el("input", { type: "datetime-local", name: "before", step: 1 }), "In this browser's time; until now where it is left empty.");
  const fields = {
    user: [field("User's id", text("user"), "As the user's page shows it."), before],
    account: [field("Account's id", text("account"), "As the account's page shows it."), before],
    token: [field("Token", el("textarea", { name: "token", rows: 3, required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "none" }), "Sent to this server only, and kept nowhere.")],
    key: [field("Client id", text("client_id")), field("Key id", text("kid"), "Its holder can write any time of issue, so all tokens of this key are refused.")],
    issuer: [field("Issuer", text("issuer", { list: "issuers" }), "As in AUTHRESS_ISSUERS."), issuers, before],
  };
  const choice = el("select", { name: "kind", onchange: () => choose() }, Object.entries(KINDS).map(([kind, label]) => el("option", { value: kind }, label)));
  const chosen = el("div", { class: "fields" });
  const wrong = el("div");
  const choose = () => {
    wrong.replaceChildren();
    chosen.replaceChildren(...fields[choice.value]);
  };
  const node = el("form", {
    class: "card row",
    onsubmit: async (event) => {
      event.preventDefault();
      wrong.replaceChildren();
      const data = Object.fromEntries([...new FormData(node)].map(([name, value]) => [name, value.trim()]));
      if (data.token) node.elements.token.value = "";
      try {
        if (await confirmed(await order(data))) {
          node.reset();
          choose();
          done();
        }
      } catch (error) {
        wrong.replaceChildren(trouble(error));
      }
    },
  }, el("h2", {}, "Revoke"), field("What", choice), chosen, wrong, el("button", { type: "submit", class: "danger" }, "Revoke…"));
  choose();
  return node;
}

/** What to send, and how it is called in the question. */
async function order({ kind, before, ...data }) {
  const limit = before ? { issued_before: new Date(before).toISOString() } : {};
  const until = before ? before.replace("T", " ") : "now";
  switch (kind) {
    case "user":
    case "account": {
      const found = await get(api([`${kind}s`, data[kind]]));
      return { body: { kind, which: found.id, ...limit }, name: `the tokens of ${nameOf(found)}`, text: `${described(kind, found)} Every token issued until ${until} is refused.` };
    }
    case "issuer":
      return { body: { kind, which: data.issuer, ...limit }, name: `all user tokens of ${data.issuer}`, text: `Every user token of this issuer that was issued until ${until} is refused: everybody has to sign in again.` };
    case "key":
      return { body: { kind, client_id: data.client_id, kid: data.kid }, name: `the key ${data.kid} of ${data.client_id}`, text: "Every token signed with this key is refused, whenever it was issued." };
    default: {
      const token = pasted(data.token);
      return { body: { kind, token }, name: "this token", text: `${claimed(token)} It is refused from now on; other tokens of the same caller are not.` };
    }
  }
}

/** Whose token it says it is, read here. */
function claimed(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { sub, iat } = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
    return `It says that it is of ${sub}${Number.isFinite(iat) ? `, issued ${new Date(iat * 1000).toLocaleString()}` : ""}.`;
  } catch {
    return "Whose it is cannot be read.";
  }
}

async function confirmed({ body, name, text }) {
  const done = await ask({
    title: `Revoke ${name}?`,
    text: el("p", {}, text),
    action: "Revoke",
    danger: true,
    act: () => post(api(["revocations"]), body),
  });
  if (done) note(`${name.charAt(0).toUpperCase()}${name.slice(1)}: revoked.`);
  return done;
}
