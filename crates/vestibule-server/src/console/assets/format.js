// Numbers and times as people read them.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => grouped.format(n);

/** A number a second; one decimal where it matters, so that it does not jump in width. */
export function rate(n) {
  if (n >= 99.5) return grouped.format(n);
  return n === 0 ? "0" : n.toFixed(n < 0.095 ? 2 : 1);
}

export function percent(share) {
  const n = share * 100;
  // Never "100 %" for something that is not.
  return `${n >= 99.95 && n < 100 ? "99.9" : n.toFixed(n > 0 && n < 99.95 ? 1 : 0)} %`;
}

/** A length of time in seconds, by three digits at most. */
export function duration(seconds) {
  const [value, unit] =
    seconds < 0.001 ? [seconds * 1e6, "µs"] : seconds < 1 ? [seconds * 1e3, "ms"] : [seconds, "s"];
  return `${value >= 99.5 ? value.toFixed(0) : value >= 9.95 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(2).replace(/\.?0+$/, "")} ${unit}`;
}

/** A long time, such as how long a server has run. */
export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

export function ago(date, now = Date.now()) {
  const seconds = (now - date.getTime()) / 1000;
  return seconds < -1 ? `in ${span(-seconds)}` : seconds < 2 ? "now" : `${span(seconds)} ago`;
}

const two = (n) => String(n).padStart(2, "0");
const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const time = (date) => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

/** The time of day; with the date where it is not today's. */
export function clockTime(date) {
  return day(date) === day(new Date()) ? time(date) : `${day(date)} ${time(date)}`;
}

/** Unmistakable: this browser's time, and UTC as logs have it. */
export const fullTime = (date) => `${day(date)} ${time(date)} (${date.toISOString()})`;

export const words = (name) => name.replaceAll("_", " ");
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
