// Lines over the last minutes: an SVG in the size it is shown in, so that its text stays readable.

import { el, newId, svg, table } from "./dom.js";
import { clockTime, duration } from "./format.js";
import { SHOWN } from "./metrics.js";

const HEIGHT = 148;
const SIDES = { top: 10, bottom: 22, left: 52 };
const LABEL_HEIGHT = 13;

/** Round numbers from zero to at least `most`, about three steps. */
function roundSteps(most) {
  const raw = most / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const steps = [0];
  while (steps.at(-1) < most) steps.push(steps.at(-1) + step);
  return steps.map((value) => Number(value.toPrecision(6)));
}

const SCALES = {
  // From zero, since half of it must look like half.
  linear(values) {
    const ticks = roundSteps(Math.max(1, ...values));
    return { ticks, place: (value) => value / ticks.at(-1) };
  },
  share() {
    return { ticks: [0, 0.5, 1], place: (value) => value };
  },
  // Microseconds and seconds in one picture.
  decades(values) {
    const low = Math.floor(Math.log10(Math.min(...values, 1e-4)));
    const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(...values, 1e-4))));
    const all = Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
    const ticks = high - low > 4 ? all.filter((_, at) => at % 2 === 0) : all;
    return { ticks, place: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
  },
};

/**
 * A card with a heading, the latest values, the picture and the same as a table.
 *
 * `series`: {name, class, of(point)}; `format(value)`; `unit` follows a number; `scale`: linear,
 * share or decades.
 */
export function chart({ title, series, format, axis = format, unit = "", scale, help }) {
  const heading = el("h2", { id: newId("chart") }, title);
  const latest = el("p", { class: "latest" });
  const picture = svg("svg", { class: "picture", role: "img", height: HEIGHT });
  const frame = el("div", { class: "chart-frame" }, picture);
  const values = table({
    caption: `${title}, every ten seconds`,
    key: ({ at }) => at,
    columns: [
      { name: "Time", header: true, cell: ({ at }) => clockTime(new Date(at)) },
      ...series.map(({ name, of }) => ({ name, class: "number", cell: (point) => shown(of(point)) })),
    ],
  });
  const details = el("details", { ontoggle: () => draw(drawn) },
    el("summary", {}, "As a table", el("span", { class: "hidden" }, ` of ${title}`)), values.node);
  const node = el("div", { class: "card chart" }, el("div", { class: "chart-head" }, heading, latest),
    help && el("p", { class: "help" }, help), frame, details);

  let drawn = [];
  let pointed = null;
  let width = 0;

  const shown = (value) => (value === null || value === undefined ? "–" : `${format(value)}${unit && ` ${unit}`}`);
  const has = (value) => value !== null && value !== undefined;

  function draw(points) {
    drawn = points;
    const last = points.at(-1);
    say(pointed ?? last);
    picture.setAttribute("aria-label", summary());
    if (details.open) values.update(points.filter((_, at) => (points.length - 1 - at) % 5 === 0).reverse());
    if (!width) return;
    const all = points.flatMap((point) => series.map(({ of }) => of(point))).filter(has);
    const { ticks, place } = SCALES[scale](all);
    const right = series.length > 1 ? 36 : 10;
    const inner = { width: width - SIDES.left - right, height: HEIGHT - SIDES.top - SIDES.bottom };
    const end = last?.at ?? Date.now();
    const x = (at) => SIDES.left + (1 - (end - at) / SHOWN) * inner.width;
    const y = (value) => SIDES.top + (1 - Math.min(1, place(value))) * inner.height;
    const parts = [];
    for (const tick of ticks) {
      parts.push(svg("line", { class: "rule", x1: SIDES.left, x2: width - right, y1: y(tick), y2: y(tick) }));
      parts.push(svg("text", { class: "tick", x: SIDES.left - 8, y: y(tick) + 4, "text-anchor": "end" }, axis(tick)));
    }
    for (let minute = Math.ceil((end - SHOWN) / 60_000) * 60_000; minute <= end; minute += 60_000) {
      const at = x(minute);
      parts.push(svg("line", { class: "rule", x1: at, x2: at, y1: SIDES.top + inner.height, y2: SIDES.top + inner.height + 4 }));
      if (at < SIDES.left + 14 || at > width - 16) continue;
      parts.push(svg("text", { class: "tick", x: at, y: HEIGHT - 4, "text-anchor": "middle" }, clockTime(new Date(minute)).slice(-8, -3)));
    }
    for (const { class: kind, of } of series) {
      const runs = [[]];
      for (const point of points) {
        if (has(of(point))) runs.at(-1).push(point);
        else if (runs.at(-1).length) runs.push([]);
      }
      for (const run of runs.filter(({ length }) => length)) {
        const line = run.map((point) => `${x(point.at).toFixed(1)} ${y(of(point)).toFixed(1)}`).join("L");
        if (series.length === 1 && scale === "linear") {
          const floor = SIDES.top + inner.height;
          parts.push(svg("path", { class: `area ${kind}`, d: `M${x(run[0].at).toFixed(1)} ${floor}L${line}L${x(run.at(-1).at).toFixed(1)} ${floor}Z` }));
        }
        // A single reading is a dot: a line without length, with round ends.
        parts.push(svg("path", { class: `line ${kind}`, d: `M${line}${run.length === 1 ? "h0" : ""}` }));
      }
    }
    if (series.length > 1 && last) parts.push(...names(last, y));
    if (!all.length) {
      const text = points.length > 2 ? "Nothing in the last five minutes" : "Measuring…";
      parts.push(svg("text", { class: "tick", x: SIDES.left + inner.width / 2, y: SIDES.top + inner.height / 2 + 4, "text-anchor": "middle" }, text));
    }
    if (pointed) parts.push(...mark(x, y, inner));
    picture.replaceChildren(...parts);
  }

  /** Each line's name beside its end, none upon another. */
  function names(last, y) {
    const ends = series.filter(({ of }) => has(of(last))).map(({ name, class: kind, of }) => ({ name, kind, at: y(of(last)) + 4 }));
    ends.sort((a, b) => a.at - b.at);
    for (let i = ends.length - 2; i >= 0; i -= 1) ends[i].at = Math.min(ends[i].at, ends[i + 1].at - LABEL_HEIGHT);
    const over = Math.max(0, LABEL_HEIGHT - 2 - (ends[0]?.at ?? LABEL_HEIGHT));
    return ends.map(({ name, kind, at }) => svg("text", { class: `name ${kind}`, x: width - 30, y: at + over }, name));
  }

  function mark(x, y, inner) {
    const at = x(pointed.at);
    return [
      svg("line", { class: "cursor", x1: at, x2: at, y1: SIDES.top, y2: SIDES.top + inner.height }),
      ...series.filter(({ of }) => has(of(pointed))).map(({ class: kind, of }) => svg("circle", { class: `dot ${kind}`, cx: at, cy: y(of(pointed)), r: 3.5 })),
    ];
  }

  function say(point) {
    const values = series.map(({ name, of }) => {
      const value = point && of(point);
      const number = has(value) ? [el("strong", {}, format(value)), unit && ` ${unit}`] : ["–"];
      return el("span", { class: series.length > 1 && "one" }, series.length > 1 && `${name} `, number);
    });
    latest.replaceChildren(...values, pointed ? el("span", { class: "then" }, `at ${clockTime(new Date(point.at))}`) : "");
  }

  function summary() {
    const parts = series.map(({ name, of }) => {
      const all = drawn.map(of).filter(has);
      if (!all.length) return `${name}: nothing yet`;
      return `${name}: now ${shown(of(drawn.at(-1)))}, from ${shown(Math.min(...all))} to ${shown(Math.max(...all))}`;
    });
    return `${title}, last five minutes. ${parts.join(". ")}.`;
  }

  picture.addEventListener("pointermove", (event) => {
    const at = event.clientX - picture.getBoundingClientRect().left;
    const right = series.length > 1 ? 36 : 10;
    const end = drawn.at(-1)?.at ?? 0;
    const then = end - (1 - (at - SIDES.left) / (width - SIDES.left - right)) * SHOWN;
    const near = (point) => Math.abs(point.at - then);
    pointed = drawn.length ? drawn.reduce((best, point) => (near(point) < near(best) ? point : best)) : null;
    draw(drawn);
  });
  picture.addEventListener("pointerleave", () => {
    pointed = null;
    draw(drawn);
  });
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.round(contentRect.width) === width) return;
    width = Math.round(contentRect.width);
    picture.setAttribute("width", width);
    draw(drawn);
  }).observe(frame);

  return { node, draw };
}

export const seconds = { format: duration, axis: duration };
