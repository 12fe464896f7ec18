// Who was just refused, and why.

import { api, get } from "./api.js";
import { accountLink, userLink } from "./accounts.js";
import { button, el, field, moment, table, trouble } from "./dom.js";
import { count, plural, words } from "./format.js";
import { repeat } from "./lists.js";

const EVERY = 2000;
const PAGE = 1000;
/** How many are kept for the filter, and how many are shown. */
const KEPT = 2000;
const SHOWN = 200;
/** A flood is not chased: after so many pages at once, what lies between is left out. */
const PAGES = 4;

export function refusals({ heading, titled, query, signal, remember }) {
  titled("Refusals");
  let items = [];
  let after = null;
  let skipped = false;
  let held = false;
  let asking = false;

  const list = table({
    caption: "Refusals, the newest first",
    empty: "Nobody was refused since the server started.",
    key: ({ seq }) => seq,
    columns: [
      { name: "Time", header: true, cell: ({ at }) => moment(at) },
      { name: "Reason", cell: ({ reason, request_id: id }) => el("a", { href: `#/explain?request=${encodeURIComponent(id)}` }, words(reason), el("span", { class: "hidden" }, " explain")) },
      { name: "Told", class: "wide", cell: ({ status, code }) => [el("span", { class: "digits" }, String(status)), " ", el("code", {}, code)] },
      { name: "Who", cell: who },
      { name: "Account", class: "wide", cell: ({ account_id: id }) => (id ? accountLink(id) : "–") },
      { name: "Request", class: "wide long", cell: ({ method, path }) => (path || method ? el("code", {}, [method, path].filter(Boolean).join(" ")) : "–") },
    ],
  });
  const filter = el("select", { onchange: () => {
    remember({ reason: filter.value });
    draw();
  } });
  const hold = button("Pause", () => {
    held = !held;
    hold.setAttribute("aria-pressed", held);
    if (!held) read();
    draw();
  }, { "aria-pressed": "false" });
  const said = el("p", { class: "count" });
  const wrong = el("div");
  filter.append(option("", "All reasons"));
  const wanted = query.get("reason") ?? "";
  if (wanted) filter.append(option(wanted, words(wanted)));
  filter.value = wanted;

  function who({ user_id: user, client_id: client }) {
    return user ? userLink(user) : client ? el("code", {}, client) : "unknown";
  }

  async function read() {
    if (held || asking) return;
    asking = true;
    try {
      for (let turn = 0; turn <= PAGES && !held; turn += 1) {
        if (turn === PAGES) skipped = true;
        const from = turn === PAGES ? null : after;
        const page = await get(api(["refusals"], { after: from, limit: PAGE }), { signal });
        // A server that has started again counts from the beginning.
        if (after !== null && page.next < after) items = [];
        const newest = items[0]?.seq ?? -1;
        items = [...page.items.filter(({ seq }) => seq > newest).reverse(), ...items].slice(0, KEPT);
        after = page.next;
        if (from === null || page.items.length < PAGE) break;
      }
      wrong.replaceChildren();
      draw();
    } catch (error) {
      // A server out of reach is said by the banner.
      if (!signal.aborted && error.status !== 0) wrong.replaceChildren(trouble(error, read));
    } finally {
      asking = false;
    }
  }

  function draw() {
    const fitting = filter.value ? items.filter(({ reason }) => reason === filter.value) : items;
    if (items.length) list.say(`None of the latest ${count(items.length)} has this reason.`);
    list.update(fitting.slice(0, SHOWN));
    said.textContent = [
      `${plural(fitting.length, "refusal")}${fitting.length > SHOWN ? `, of which the newest ${SHOWN} are shown` : ""}.`,
      held ? "Paused." : "Live.",
      skipped && "So many come in that not all are listed.",
    ].filter(Boolean).join(" ");
    if (document.activeElement !== filter) options();
  }

  function options() {
    const counts = new Map();
    for (const { reason } of items) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    if (filter.value && !counts.has(filter.value)) counts.set(filter.value, 0);
    const value = filter.value;
    filter.replaceChildren(option("", `All reasons (${count(items.length)})`),
      ...[...counts].sort(([a], [b]) => a.localeCompare(b)).map(([reason, n]) => option(reason, `${words(reason)} (${count(n)})`)));
    filter.value = value;
  }

  read();
  repeat(read, EVERY, signal);
  return el("div", {}, heading,
    el("p", { class: "help" }, "The latest refusals of this server since it started. The reason leads to its explanation; the caller is told the code only."),
    el("div", { class: "tools" }, field("Reason", filter), hold), said, wrong, list.node);
}

const option = (value, text) => el("option", { value }, text);
