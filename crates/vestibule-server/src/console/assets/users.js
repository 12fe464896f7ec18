// Users of all accounts, and one of them.

import { api, forget, get, learn, session } from "./api.js";
import { changeRole, nameOf, removeUser, resume, revokeTokens, suspend } from "./actions.js";
import { accountLink, activity, userTable } from "./accounts.js";
import { button, el, facts, identifier, status, swap, trouble, whenBack } from "./dom.js";
import { pages, search } from "./lists.js";

export function users({ heading, titled, query, signal, remember }) {
  titled("Users");
  const list = userTable({ caption: "Users", empty: "There is no user yet.", withAccount: true, changed: (...change) => items.replace(...change) });
  const find = search({
    label: "Find a user",
    help: "The beginning of a name or an e-mail address, or a whole id of here or of Authress.",
    value: query.get("search") ?? "",
    found: (text) => {
      remember({ search: text });
      list.say(text ? `No user fits “${text}”.` : "There is no user yet.");
      items.load();
    },
  });
  const items = pages({ path: ["users"], query: () => ({ search: find.value }), list, noun: "user", live: true, signal, read: (page) => learn("users", page) });
  items.load();
  return el("div", {}, heading, find.node, items.node);
}

export function user({ id, heading, titled, signal }) {
  titled("User");
  const body = el("div");
  const rest = el("div");

  async function load() {
    try {
      const found = await get(api(["users", id]), { signal });
      learn("users", [found]);
      show(found);
      rest.replaceChildren(activity(found.account_id, signal, found.id));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(trouble(error, load));
    }
  }
  whenBack(() => body.querySelector(".trouble") && load(), signal);

  function show(item) {
    titled(nameOf(item));
    const changed = (after) => {
      if (!after) return;
      forget();
      learn("users", [after]);
      show(after);
    };
    swap(body,
      facts([
        ["Status", status(item.status)],
        ["Role", item.role],
        ["Account", accountLink(item.account_id)],
        ["E-mail", item.email ?? "–"],
        ["Authress id", identifier(item.authress_user_id)],
        ["Id", identifier(item.id)],
      ]),
      el("div", { class: "buttons" },
        item.status === "active"
          ? session.may("stop") && button("Suspend", async () => changed(await suspend("user", item)), { class: "danger" })
          : session.may("write") && button("Resume", async () => changed(await resume("user", item))),
        session.may("stop") && button("Revoke tokens", () => revokeTokens("user", item)),
        session.may("write") && button("Change role", async () => changed(await changeRole(item))),
        session.may("write") && button("Remove", async () => {
          if (!(await removeUser(item))) return;
          forget();
          location.hash = "#/users";
        })));
  }

  load();
  return el("div", {}, el("p", { class: "crumb" }, el("a", { href: "#/users" }, "Users")), heading, body, rest);
}
