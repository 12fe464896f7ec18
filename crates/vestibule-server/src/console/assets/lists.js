// Lists that come in pages.

import { api, get } from "./api.js";
import { button, el, field, trouble, whenBack } from "./dom.js";
import { plural } from "./format.js";

const PAGE = 50;

/**
 * The items behind a path, a page at a time, in a table. `noun`: what one item is called, and
 * several; their number is told to screen readers where `live`. `read`: gets every page's items.
 * `only`: which of them are shown.
 */
export function pages({ path, query = () => ({}), list, noun, live = false, signal, read = () => {}, only = () => true }) {
  const said = el("p", { class: "count", role: live && "status" });
  const wrong = el("div");
  const more = button("Show more", () => next());
  let items = [];
  let cursor = null;
  let whole = true;
  let going = null;

  async function ask(from) {
    going?.abort();
    const mine = (going = new AbortController());
    const answer = await get(api(path, { ...query(), limit: PAGE, cursor: from }), { signal: AbortSignal.any([signal, mine.signal]) });
    read(answer.items);
    return answer;
  }

  function draw() {
    const fitting = items.filter(only);
    list.update(fitting);
    said.textContent = fitting.length ? `${plural(fitting.length, ...[noun].flat())}${cursor ? ", and more" : ""}` : "";
    more.hidden = !cursor;
  }

  let failed = null;

  async function next(from = cursor) {
    more.disabled = true;
    failed = null;
    try {
      const answer = await ask(from);
      items = from ? [...items, ...answer.items] : answer.items;
      whole = !from;
      cursor = answer.next_cursor;
      wrong.replaceChildren();
      draw();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      failed = () => next(from);
      wrong.replaceChildren(trouble(error, failed));
    } finally {
      more.disabled = false;
    }
  }

  whenBack(() => failed?.(), signal);
  more.hidden = true;
  return {
    node: el("div", { class: "list" }, said, wrong, list.node, more),
    load: () => next(null),
    /** Reads the first page again, unless the reader has gone beyond it. */
    async refresh() {
      if (!whole) return;
      try {
        const answer = await ask(null);
        ({ items, next_cursor: cursor } = answer);
        wrong.replaceChildren();
        draw();
      } catch {
        // What is there stays; the next time may go well.
      }
    },
    /** Another state of an item, or none: what was done shows without asking again. */
    replace(id, item) {
      items = items.flatMap((old) => (old.id !== id ? [old] : item ? [item] : []));
      draw();
    },
    add(item) {
      items = [item, ...items];
      draw();
    },
  };
}

/** A field that searches while one types. */
export function search({ label, help, value, found }) {
  const input = el("input", { type: "search", value, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    found(input.value.trim());
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, 200);
  });
  const node = el("form", { role: "search", class: "search", onsubmit: (event) => {
    event.preventDefault();
    look();
  } }, field(label, input, help));
  return { node, get value() { return input.value.trim(); } };
}

/** Calls `act` again and again while the page can be seen and the view is shown. */
export function repeat(act, every, signal) {
  const timer = setInterval(() => !document.hidden && act(), every);
  signal.addEventListener("abort", () => clearInterval(timer));
}
