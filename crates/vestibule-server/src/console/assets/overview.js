// What happens at the entrance right now.

import { chart, seconds } from "./chart.js";
import { badge, el, facts, moment, table } from "./dom.js";
import { ago, count, duration, percent, rate, span, words } from "./format.js";
import { watch } from "./metrics.js";

const time = (value) => (value === null ? "–" : duration(value));

export function overview({ heading, titled, signal }) {
  titled("Overview");
  const state = el("div", { class: "state" });
  const charts = [
    chart({ title: "Accepted", unit: "per second", scale: "linear", format: rate, axis: String,
      series: [{ name: "Accepted", class: "good", of: (point) => point.accepted }] }),
    chart({ title: "Refused", unit: "per second", scale: "linear", format: rate, axis: String,
      series: [{ name: "Refused", class: "bad", of: (point) => point.refused }] }),
    chart({ title: "Time to decide", scale: "decades", ...seconds,
      series: ["p50", "p95", "p99"].map((name) => ({ name, class: name, of: (point) => point[name] })) }),
    chart({ title: "Tokens found in the cache", scale: "share", format: percent, axis: (share) => `${share * 100} %`,
      series: [{ name: "Found", class: "plain", of: (point) => point.ratio }] }),
  ];
  const reasons = table({
    caption: "Refusals by reason",
    key: ({ reason }) => reason,
    empty: "Nobody was refused since the server started.",
    columns: [
      { name: "Reason", header: true, cell: ({ reason }) => el("a", { href: `#/refusals?reason=${encodeURIComponent(reason)}` }, words(reason)) },
      { name: "Per second", class: "number", cell: ({ rate: now }) => rate(now) },
      { name: "5 minutes", class: "number", cell: ({ recent }) => count(recent) },
      { name: "Since start", class: "number wide", cell: ({ total }) => count(total) },
    ],
  });
  const times = table({
    caption: "Time to decide by whether the token was in the cache, last five minutes",
    key: ({ name }) => name,
    columns: [
      { name: "Token", header: true, cell: ({ name }) => name },
      { name: "Requests", class: "number wide", cell: ({ count: n }) => count(n) },
      ...["p50", "p95", "p99"].map((name) => ({ name, class: "number", cell: (row) => time(row[name]) })),
    ],
  });
  const issuers = table({
    caption: "Issuers and their keys",
    key: ({ issuer }) => issuer,
    empty: "No issuer is accepted.",
    columns: [
      { name: "Issuer", header: true, class: "long", cell: ({ issuer }) => issuer },
      { name: "Keys", class: "number", cell: ({ keys }) => count(keys) },
      { name: "Fetched", cell: ({ fetched_at: at }) => (at ? moment(at, { relative: true }) : "never") },
      { name: "State", cell: ({ usable }) => badge(usable ? "usable" : "not usable", usable ? "good" : "bad") },
    ],
  });
  const calls = table({
    caption: "Calls to the provider, last five minutes",
    key: ({ endpoint }) => endpoint,
    empty: "The provider was not asked since the server started.",
    columns: [
      { name: "Asked for", header: true, cell: ({ endpoint }) => words(endpoint) },
      { name: "Answered", class: "number", cell: ({ ok }) => count(ok) },
      { name: "Failed", class: "number", cell: ({ failed }) => count(failed) },
      { name: "p95", class: "number wide", cell: ({ p95 }) => time(p95) },
      { name: "State", cell: health },
    ],
  });

  function health({ ok, failed, failures }) {
    const why = Object.keys(failures).map(words).join(", ");
    if (failed === 0) return ok ? badge("well", "good") : badge("not asked");
    return badge(ok ? `some fail: ${why}` : `fails: ${why}`, ok ? "warn" : "bad");
  }

  function draw() {
    for (const { draw: one } of charts) one(watch.points);
    reasons.update(watch.reasons());
    times.update(watch.times());
    calls.update(watch.calls());
    // An age grows without the item changing.
    issuers.update((watch.status?.issuers ?? []).map((issuer) => ({ ...issuer, age: issuer.fetched_at && ago(new Date(issuer.fetched_at)) })));
    state.replaceChildren(watch.status ? summary(watch.status) : el("p", {}, "Asking the server…"));
  }

  function summary({ version, started_at: started, ready, token_cache: cache }) {
    const all = ready.database && ready.keys;
    const last = watch.readings.at(-1);
    return facts([
      ["Server", badge(all ? "ready" : "not ready", all ? "good" : "bad")],
      ["Database", ready.database ? "answers" : badge("does not answer", "bad")],
      ["Provider's keys", ready.keys ? "usable" : badge("none usable", "bad")],
      ["Running for", el("span", { title: started }, span((Date.now() - Date.parse(started)) / 1000))],
      watch.restartedAt && Date.now() - watch.restartedAt < 300_000 && ["Restarted", badge(ago(new Date(watch.restartedAt)), "warn")],
      ["Token cache", `${count(cache.entries)} of ${count(cache.capacity)}`],
      last && ["Open sessions", count(last.sessions)],
      last && ["New users", `${count(last.provisioned)} since start`],
      ["Version", version],
    ]);
  }

  watch.addEventListener("read", draw, { signal });
  draw();
  const card = (title, { node }, more) => el("div", { class: "card" }, el("h2", {}, title), more, node);
  return el("div", {}, heading, state,
    el("div", { class: "grid" }, charts.map(({ node }) => node)),
    el("div", { class: "grid" },
      card("Refusals by reason", reasons),
      card("Time to decide, by cache", times, el("p", { class: "help" }, "Last five minutes, estimated within the histogram's buckets.")),
      card("Issuers and their keys", issuers),
      card("Calls to the provider", calls, el("p", { class: "help" }, "Last five minutes."))),
    el("p", { class: "help" }, "Read every two seconds while this page can be seen. The charts show the last five minutes of this server; others have their own console."));
}
