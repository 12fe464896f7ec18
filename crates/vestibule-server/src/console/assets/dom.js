// What all views are made of. Whatever a server says becomes text nodes, never markup.

import { Trouble, events } from "./api.js";
import { ago, clockTime, fullTime } from "./format.js";

/** An element; `null` and `false` among attributes and children are left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of a picture. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let lastId = 0;

/** An id that nothing else on the page has. */
export const newId = (what) => `${what}-${(lastId += 1)}`;

export function button(label, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, ...[label].flat());
}

/** A label, its input and a line of help. */
export function field(label, input, help) {
  input.id ||= newId("field");
  const hint = help && el("p", { class: "help", id: newId("help") }, help);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  return el("div", { class: "field" }, el("label", { for: input.id }, label), input, hint);
}

/** A word that says a state; its colour and sign only repeat it. */
export function badge(text, tone = "plain") {
  return el("span", { class: `badge ${tone}` }, text);
}

export const status = (word) => badge(word, word === "active" ? "good" : "bad");

/** A moment: the time of day, or how long ago it was; in full when pointed at. */
export function moment(text, { relative = false } = {}) {
  if (!text) return "–";
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  return el("time", { datetime: text, title: fullTime(date) }, relative ? ago(date) : clockTime(date));
}

/** An id in full, with a button that copies it where the browser lets it. */
export function identifier(id) {
  const copy =
    navigator.clipboard &&
    button("Copy", async () => {
      copy.textContent = await navigator.clipboard.writeText(id).then(() => "Copied", () => "Not allowed");
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    }, { class: "tiny", "aria-label": `Copy ${id}` });
  return el("span", { class: "identifier" }, el("code", {}, id), copy);
}

/** A list of facts: pairs of a name and what there is. */
export function facts(pairs, attributes = {}) {
  return el(
    "dl",
    { class: "facts", ...attributes },
    pairs.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/**
 * A table that changes in place: rows that stay the same keep their nodes, and with them focus and
 * selection.
 *
 * `columns`: {name, cell(item), class}; `key(item)`: what an item is known by; `empty`: what is said
 * where there is none.
 */
export function table({ caption, columns, key, empty = "Nothing yet.", class: kind = "" }) {
  const body = el("tbody");
  const title = el("caption", { class: "hidden" }, caption);
  const head = el(
    "thead",
    {},
    el("tr", {}, columns.map(({ name, class: column, hidden }) =>
      el("th", { scope: "col", class: column }, hidden ? el("span", { class: "hidden" }, name) : name))),
  );
  const node = el("table", { class: kind }, title, head, body);
  const frame = el("div", { class: "frame" }, node);
  // One that is too wide moves sideways within its frame, by keys too.
  new ResizeObserver(() => {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", caption]]) {
      if (wide) frame.setAttribute(name, value);
      else frame.removeAttribute(name);
    }
  }).observe(frame);
  let rows = new Map();

  function row(item) {
    return el("tr", {}, columns.map(({ cell, class: column, header }) =>
      el(header ? "th" : "td", { class: column, scope: header && "row" }, cell(item))));
  }

  function update(items) {
    const next = new Map();
    for (const item of items) {
      const name = key(item);
      const text = JSON.stringify(item);
      const old = rows.get(name);
      if (old && old.text === text) next.set(name, old);
      else next.set(name, { text, node: replaced(old?.node, row(item)) });
    }
    for (const [name, { node: gone }] of rows) if (!next.has(name)) gone.remove();
    rows = next;
    let at = body.firstChild;
    if (at?.dataset?.empty) {
      at.remove();
      at = body.firstChild;
    }
    for (const { node: tr } of next.values()) {
      if (tr === at) at = at.nextSibling;
      else body.insertBefore(tr, at);
    }
    if (!next.size) {
      body.append(el("tr", { "data-empty": "yes" }, el("td", { colspan: columns.length, class: "empty" }, empty)));
    }
  }

  return { node: frame, update, say: (text) => (empty = text) };
}

/** The new row in the old one's place; where the focus was in it, it is again. */
function replaced(old, row) {
  if (!old?.isConnected) return row;
  const at = [...old.querySelectorAll("a, button")].indexOf(document.activeElement);
  old.replaceWith(row);
  if (at >= 0) row.querySelectorAll("a, button")[at]?.focus();
  return row;
}

/** Other content; where the focus was in the old, it is at the same place of the new. */
export function swap(node, ...content) {
  const at = [...node.querySelectorAll("a, button")].indexOf(document.activeElement);
  node.replaceChildren(...content.filter(Boolean));
  if (at >= 0) [...node.querySelectorAll("a, button")][at]?.focus();
}

/** What went wrong, with a way to try again. */
export function trouble(error, again) {
  const { title, text } = Trouble.words(error);
  return el(
    "div",
    { class: "trouble", role: "alert" },
    el("p", {}, el("strong", {}, title), " ", text),
    again && button("Try again", again),
  );
}

/**
 * Asks once before something is done, and does it: `act` gets the form's data. Stays open with the
 * reason where that fails. True: it was done.
 */
export function ask({ title, text, fields = [], action, danger = false, act }) {
  return new Promise((resolve) => {
    const heading = el("h2", { id: newId("title") }, title);
    const body = el("div", { id: newId("text"), class: "text" }, text);
    const wrong = el("div", { role: "alert" });
    const cancel = button("Cancel", () => dialog.close());
    const go = el("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    let done = false;
    const form = el("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        wrong.replaceChildren();
        go.disabled = true;
        try {
          await act(Object.fromEntries(new FormData(form)));
          done = true;
          dialog.close();
        } catch (error) {
          wrong.replaceChildren(trouble(error));
          go.disabled = false;
        }
      },
    }, heading, body, fields, wrong, el("div", { class: "buttons" }, cancel, go));
    const dialog = el("dialog", {
      "aria-labelledby": heading.id,
      "aria-describedby": body.id,
      onclose: () => {
        dialog.remove();
        resolve(done);
      },
    }, form);
    document.body.append(dialog);
    dialog.showModal();
    // Enter alone must not do what cannot be undone.
    if (danger && !fields.length) cancel.focus();
  });
}

let stays = false;

/** Says in the page's own line that something was done: in this view, or in the next one. */
export function note(text, { next = false } = {}) {
  document.getElementById("note").textContent = text;
  stays = next;
}

export function viewChanges() {
  if (!stays) note("");
  stays = false;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/** Tries again by itself once a server that could not be reached is back. */
export const whenBack = (act, signal) => events.addEventListener("reachable", act, { signal });
