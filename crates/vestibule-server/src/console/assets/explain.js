// Why a token or a request is accepted or refused, step by step.

import { api, post } from "./api.js";
import { accountLink, userLink } from "./accounts.js";
import { badge, el, facts, field, identifier, moment, trouble } from "./dom.js";
import { capital, words } from "./format.js";

const REQUEST = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** A token as it was pasted: without the scheme, and without the breaks of a terminal or a mail. */
export const pasted = (text) => text.trim().replace(/^(authorization:\s*)?bearer\s+/i, "").replace(/\s+/g, "");

export function explain({ heading, titled, query, signal, remember }) {
  titled("Explain");
  const text = el("textarea", { name: "subject", rows: 2, required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const result = el("div", { class: "result" });
  const said = el("p", { class: "hidden", role: "status" });
  const go = el("button", { type: "submit", class: "primary" }, "Explain");
  const form = el("form", {
    class: "card asking",
    onsubmit: (event) => {
      event.preventDefault();
      const subject = pasted(text.value);
      // It may be somebody's way in: no longer on the screen than it is needed.
      text.value = "";
      if (!subject) return;
      const isRequest = REQUEST.test(subject);
      remember({ request: isRequest ? subject : "" });
      ask(isRequest ? { request_id: subject } : { token: subject }, true);
    },
  }, field("Token or request id", text, "A token is judged as in a request, and nothing is changed. A request id is in the problem document that was answered. Neither is kept."), go);

  /** `move`: the reader has just asked, so the focus goes to the answer. */
  async function ask(subject, move) {
    result.setAttribute("aria-busy", "true");
    go.disabled = true;
    try {
      const found = await post(api(["explain"]), subject, { signal });
      result.replaceChildren(explanation(found));
      const verdict = result.querySelector("h2");
      if (move) verdict.focus();
      else said.textContent = verdict.textContent;
    } catch (error) {
      if (signal.aborted) return;
      result.replaceChildren(error.status === 404 && subject.request_id
        ? el("p", { class: "trouble", role: "alert" }, el("strong", {}, "This request is not remembered. "), "A server remembers its latest 10,000 refusals until it ends; another server may have answered, or it was not refused. Its log knows.")
        : trouble(error, () => ask(subject, move)));
    } finally {
      result.removeAttribute("aria-busy");
      go.disabled = false;
    }
  }

  const request = query.get("request");
  if (request) ask({ request_id: request });
  return el("div", {}, heading, form, said, result);
}

const VERDICTS = {
  accepted: ["Accepted", "good", "A request with this token gets in."],
  newcomer: ["Good token, new person", "warn", "The token is good and the person is not known here yet. The first request asks the provider for the user and the tenant, and makes a local user."],
  refused: ["Refused", "bad", ""],
};
const SIGNS = { passed: "✓", refused: "✕", "not reached": "·" };

function explanation(found) {
  const [word, tone, meaning] = VERDICTS[found.verdict] ?? [found.verdict, "plain", ""];
  return el("div", {},
    el("section", { class: `card verdict ${tone}`, "aria-labelledby": "verdict" },
      el("h2", { id: "verdict", tabindex: "-1" }, word, found.reason && `: ${words(found.reason)}`),
      el("p", {}, found.meaning ? `${capital(found.meaning)}.` : meaning),
      facts([
        found.code && ["The caller is told", el("code", {}, found.code)],
        found.reason && ["Reason in log and metrics", el("code", {}, found.reason)],
        found.request_id && ["Request", identifier(found.request_id)],
        found.at && ["At", moment(found.at)],
      ]),
      found.remedy && el("div", { class: "remedy" }, el("h3", {}, "What would have to change"), el("p", {}, found.remedy))),
    el("section", { class: "card", "aria-labelledby": "steps" },
      el("h2", { id: "steps" }, "Step by step"),
      el("ol", { class: "steps" }, (found.steps ?? []).map(step))),
    el("div", { class: "beside" },
      found.principal && principal(found.principal),
      claims(found.header, found.claims, found.further_claims)));
}

function step({ step: name, state, expected, found, setting }) {
  const tone = { passed: "good", refused: "bad" }[state] ?? "plain";
  return el("li", { class: `step ${tone}` },
    el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[state] ?? "·"),
    el("div", {},
      el("p", { class: "step-head" }, el("strong", {}, capital(words(name))), " ", badge(state, tone)),
      facts([
        expected && ["Expected", expected],
        found && ["Found", found],
        setting && ["Decided by", el("code", {}, setting)],
      ])));
}

function principal({ kind, user, account, token }) {
  return el("section", { class: "card", "aria-labelledby": "caller" },
    el("h2", { id: "caller" }, "Who calls"),
    facts([
      kind && ["Kind", kind],
      user && ["User", kind === "user" ? userLink(user.id) : user.name ?? user.id],
      account && ["Account", accountLink(account.id)],
      user?.role && ["Role", user.role],
      token?.scopes && ["Scopes", token.scopes.join(" ") || "none"],
      token?.expires_at && ["Token ends", moment(token.expires_at)],
    ]));
}

function claims(header, body, further) {
  const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const list = (title, members) => Object.keys(members ?? {}).length > 0 && [
    el("h3", {}, title),
    facts(Object.entries(members).map(([name, value]) => [name, el("code", {}, shown(value))]), { class: "facts claims" }),
  ];
  const parts = [list("Header", header), list("Claims", body)].filter(Boolean).flat();
  return parts.length > 0 && el("section", { class: "card", "aria-labelledby": "says" },
    el("h2", { id: "says" }, "What the token says"),
    el("p", { class: "help" }, "What no step has proven is a claim and no more."),
    parts,
    further?.length > 0 && el("p", { class: "help" }, `Not shown, since nothing depends on it: ${further.join(", ")}.`));
}
