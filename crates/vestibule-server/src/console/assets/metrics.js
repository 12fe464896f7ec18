// The server's counters, asked every two seconds, and what their differences say.

import { api, events, get, metricsText, session } from "./api.js";

const POLL = 2000;
const STATUS_EVERY = 3;
/** How long is shown, in milliseconds. */
export const SHOWN = 300_000;
/** A percentile of two seconds would jump; it is of the latest ten. */
const SMOOTH = 10_000;
/** After a longer pause a rate would be the average of what nobody watched. */
const GAP = 7000;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Prometheus' text: for each name the list of its samples, {labels, value}. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    if (!samples.has(found[1])) samples.set(found[1], []);
    samples.get(found[1]).push({ labels, value: Number(found[3]) });
  }
  return samples;
}

/** What the console wants of one reading. */
function reading(text, at) {
  const samples = parse(text);
  const all = (name) => samples.get(`vestibule_${name}`) ?? [];
  const sum = (name) => all(name).reduce((total, { value }) => total + value, 0);
  const by = (list, label) => {
    const sums = new Map();
    for (const { labels, value } of list) sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
    return sums;
  };
  const histogram = (name, label) => {
    const found = new Map();
    for (const { labels, value } of all(`${name}_bucket`)) {
      if (!found.has(labels[label])) found.set(labels[label], []);
      found.get(labels[label]).push([Number(labels.le.replace("+Inf", "Infinity")), value]);
    }
    return found;
  };
  const outcome = by(all("authentications_total"), "outcome");
  return {
    at,
    accepted: outcome.get("accepted") ?? 0,
    refused: outcome.get("refused") ?? 0,
    reasons: by(all("authentications_total").filter(({ labels }) => labels.outcome === "refused"), "reason"),
    hits: sum("token_cache_hits_total"),
    misses: sum("token_cache_misses_total"),
    sessions: sum("tenant_sessions_open"),
    provisioned: sum("users_provisioned_total"),
    times: histogram("authentication_duration_seconds", "path"),
    calls: all("provider_requests_total"),
    callTimes: histogram("provider_requests_duration_seconds", "endpoint"),
  };
}

const COUNTERS = ["accepted", "refused", "hits", "misses", "provisioned"];

/** The buckets that were added in between, of one histogram or several. */
function added(from, to, names) {
  const sums = new Map();
  for (const name of names) {
    const before = new Map(from?.get(name) ?? []);
    for (const [bound, value] of to.get(name) ?? []) {
      sums.set(bound, (sums.get(bound) ?? 0) + value - (before.get(bound) ?? 0));
    }
  }
  return [...sums].sort(([a], [b]) => a - b);
}

/**
 * The value below which this share lies, straight within its bucket; beyond the last bound, that
 * bound. Null where there is nothing.
 */
function quantile(buckets, share) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const wanted = total * share;
  let [below, before] = [0, 0];
  for (const [bound, upTo] of buckets) {
    if (upTo >= wanted && upTo > before) {
      if (bound === Infinity) return below;
      return below + ((bound - below) * (wanted - before)) / (upTo - before);
    }
    [below, before] = [bound, upTo];
  }
  return below;
}

const total = (buckets) => buckets.at(-1)?.[1] ?? 0;

class Watch extends EventTarget {
  readings = [];
  points = [];
  status = null;
  restartedAt = null;
  #timer = null;
  #stop = null;
  #turn = 0;

  start() {
    if (this.#stop) return;
    this.#stop = new AbortController();
    this.#tick(this.#stop.signal);
  }

  /** What was read stays, to be gone on with. */
  stop() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    this.#stop = null;
  }

  forget() {
    this.stop();
    Object.assign(this, { readings: [], points: [], status: null, restartedAt: null });
    this.#turn = 0;
  }

  async #tick(signal) {
    try {
      const text = await metricsText({ signal });
      this.#take(reading(text, Date.now()));
      if (this.#turn++ % STATUS_EVERY === 0) this.status = await get(api(["status"]), { signal });
    } catch {
      // Said by the banner; the next turn tries again, the status too.
      this.#turn = 0;
    }
    if (signal.aborted) return;
    this.dispatchEvent(new Event("read"));
    this.#timer = setTimeout(() => this.#tick(signal), POLL);
  }

  #take(now) {
    const last = this.readings.at(-1);
    const restarted = last !== undefined && COUNTERS.some((name) => now[name] < last[name]);
    if (restarted) {
      this.readings = [];
      this.restartedAt = now.at;
      this.status = null;
      this.#turn = 0;
    }
    this.readings.push(now);
    this.points.push(this.#point(restarted ? undefined : last, now));
    const old = now.at - SHOWN;
    while (this.readings.length && this.readings[0].at < old) this.readings.shift();
    while (this.points.length && this.points[0].at < old) this.points.shift();
  }

  #point(last, now) {
    if (!last || now.at - last.at > GAP) return { at: now.at };
    const seconds = (now.at - last.at) / 1000;
    const seen = now.hits - last.hits + now.misses - last.misses;
    const since = this.readings.find(({ at }) => at >= now.at - SMOOTH) ?? last;
    const times = added(since.times, now.times, now.times.keys());
    return {
      at: now.at,
      accepted: (now.accepted - last.accepted) / seconds,
      refused: (now.refused - last.refused) / seconds,
      ratio: seen > 0 ? (now.hits - last.hits) / seen : null,
      p50: quantile(times, 0.5),
      p95: quantile(times, 0.95),
      p99: quantile(times, 0.99),
    };
  }

  /** How long it is that the sums below speak of, in seconds. */
  get seconds() {
    return this.readings.length ? (this.readings.at(-1).at - this.readings[0].at) / 1000 : 0;
  }

  /** Each reason: {reason, rate now, recent: in what is shown, total: since the server started}. */
  reasons() {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    if (!last) return [];
    const before = this.readings.findLast(({ at }) => at <= last.at - SMOOTH) ?? first;
    const seconds = (last.at - before.at) / 1000;
    return [...last.reasons]
      .map(([reason, n]) => ({
        reason,
        rate: seconds > 0 ? (n - (before.reasons.get(reason) ?? 0)) / seconds : 0,
        recent: n - (first.reasons.get(reason) ?? 0),
        total: n,
      }))
      .sort((a, b) => b.recent - a.recent || b.total - a.total || a.reason.localeCompare(b.reason));
  }

  /** How long callers waited: for tokens in the cache, for others, for both. */
  times() {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    if (!last) return [];
    return [["In the cache", ["hit"]], ["Not in the cache", ["miss"]], ["All", ["hit", "miss"]]].map(([name, paths]) => {
      const buckets = added(first.times, last.times, paths);
      return { name, count: total(buckets), p50: quantile(buckets, 0.5), p95: quantile(buckets, 0.95), p99: quantile(buckets, 0.99) };
    });
  }

  /** Calls to the provider by endpoint: {endpoint, ok, failed, failures, p95}, in what is shown. */
  calls() {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    if (!last) return [];
    const found = new Map();
    for (const { labels, value } of last.calls) {
      const before = first.calls.find(({ labels: old }) => old.endpoint === labels.endpoint && old.outcome === labels.outcome);
      const row = found.get(labels.endpoint) ?? { endpoint: labels.endpoint, ok: 0, failed: 0, failures: {}, total: 0 };
      const recent = value - (before?.value ?? 0);
      // "Gone" is an answer: there is no such user, tenant or client.
      const good = labels.outcome === "ok" || labels.outcome === "gone";
      row[good ? "ok" : "failed"] += recent;
      row.total += value;
      if (!good && recent > 0) row.failures[labels.outcome] = recent;
      found.set(labels.endpoint, row);
    }
    for (const row of found.values()) row.p95 = quantile(added(first.callTimes, last.callTimes, [row.endpoint]), 0.95);
    return [...found.values()].sort((a, b) => a.endpoint.localeCompare(b.endpoint));
  }
}

/** The one watch of this page. It pauses while nobody can see the page. */
export const watch = new Watch();

document.addEventListener("visibilitychange", () => {
  if (document.hidden) watch.stop();
  else if (session.csrf) watch.start();
});
events.addEventListener("over", () => watch.stop());
