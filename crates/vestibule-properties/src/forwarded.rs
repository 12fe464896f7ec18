//! A request that a proxy asks about: who is believed, and which rule it meets.

mod hosts;
mod input;
mod paths;
mod rules;
mod source;

use std::{collections::BTreeSet, fs};

use axum::{Router, extract::ConnectInfo};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;
use vestibule::settings::SettingsReader;
use vestibule_server::{serve, settings::ServeSettings};

use self::{
    input::{Asked, Input},
    rules::{Demand, Rules},
};
use crate::{
    request::IDENTITY,
    world::{RUNTIME, WORLD},
};

/// The application that assertions are for where no rule names one.
const NO_RULE: &str = "none";

/// Lines with a peer, the trusted networks, a request to `/v1/authorize`, and rules: `input.rs`.
///
/// What a peer that is not trusted says of another request changes nothing, neither the answer nor
/// whom the request is counted against. Two places that say different things are refused. Of the
/// rules the most specific one applies, whatever their order; what meets none is refused. A path
/// or host that servers read differently is refused, or the rule allows the difference and all
/// readings meet it. Identity headers come with every permission, empty where nobody was asked who
/// he is, and with no refusal.
pub fn forwarded(bytes: &[u8]) {
    let Some(input) = std::str::from_utf8(bytes).ok().and_then(Input::read) else {
        return;
    };
    let Some(settings) = settings_of(&input, false) else {
        return;
    };
    let trusted = source::is_trusted(&input.trusted, input.peer);
    let believed = settings.library.admission.trusted_proxies.clone();
    let found = vestibule::source_address(input.peer, &input.asked.headers, &believed);
    assert_eq!(found, source::expected(&input), "somebody else is counted");

    let api = serve::public_api(settings.server, WORLD.vestibule.clone());
    let answer = ask(&api, &input, &input.asked);
    answer.is_whole();
    answer.is_one_of(&expected(&input, trusted));
    if !trusted {
        let alone = input.asked.without_forwarded();
        let found = vestibule::source_address(input.peer, &alone.headers, &believed);
        assert_eq!(found, source::expected(&input));
        assert_eq!(ask(&api, &input, &alone), answer, "a stranger is believed");
    }
    if input.rules.len() > 1 {
        let turned = settings_of(&input, true).expect("the order is no mistake");
        let api = serve::public_api(turned.server, WORLD.vestibule.clone());
        assert_eq!(ask(&api, &input, &input.asked), answer, "the order counts");
    }
}

/// The settings with the rules of the input, in their order or turned around.
fn settings_of(input: &Input, turned: bool) -> Option<ServeSettings> {
    let mut audiences = vec![NO_RULE.to_owned()];
    audiences.extend((0..input.rules.len()).map(rules::audience));
    let mut pairs = WORLD.environment.clone();
    pairs.push(("VESTIBULE_TRUSTED_PROXIES", input.networks.clone()));
    pairs.push(("VESTIBULE_ASSERTION_AUDIENCES", audiences.join(",")));
    let name = format!("{:?}.toml", std::thread::current().id()).replace(['(', ')'], "");
    let path = WORLD.directory.path().join(name);
    fs::write(&path, rules::written(&input.rules, turned)).expect("a file can be written");
    ServeSettings::read(SettingsReader::from_pairs(pairs).with_file(&path)).ok()
}

fn ask(api: &Router, input: &Input, asked: &Asked) -> Answer {
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(asked.uri.clone())
        .extension(ConnectInfo(std::net::SocketAddr::new(input.peer, 4_000)));
    if let Some(headers) = request.headers_mut() {
        headers.clone_from(&asked.headers);
    }
    let request = request.body(axum::body::Body::empty()).expect("a request");
    let answer = RUNTIME.block_on(api.clone().oneshot(request));
    let Ok(answer) = answer;
    Answer::of(answer.status(), answer.headers())
}

/// All answers that would be right.
fn expected(input: &Input, trusted: bool) -> BTreeSet<Verdict> {
    let has_token = input.asked.has_token();
    let refused_for = |verdict| match has_token {
        true => verdict,
        false => Verdict::NotKnown,
    };
    if input.rules.is_empty() {
        return [refused_for(Verdict::Ada(NO_RULE.to_owned()))].into();
    }
    let original = match input.asked.original(trusted) {
        Err(_) => return [Verdict::BadRequest].into(),
        Ok(None) => return [refused_for(Verdict::MeetsNone)].into(),
        Ok(Some(original)) => original,
    };
    let rules = Rules(&input.rules);
    let demands = match rules.judge(&original) {
        Err(_) => return [Verdict::BadRequest].into(),
        Ok(demands) => demands,
    };
    demands
        .into_iter()
        .map(|demand| match demand {
            Demand::Refused => Verdict::BadRequest,
            Demand::NoRule => refused_for(Verdict::MeetsNone),
            Demand::Nothing => Verdict::Nobody,
            Demand::Person(number) => refused_for(Verdict::Ada(rules::audience(number))),
            Demand::Machine => refused_for(Verdict::OthersOnly),
        })
        .collect()
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    BadRequest,
    /// 401: there was no token.
    NotKnown,
    /// 403: no rule is for such requests.
    MeetsNone,
    /// 403: a rule that is not for people.
    OthersOnly,
    /// Whoever it is.
    Nobody,
    /// Ada, for this application.
    Ada(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    code: Option<String>,
    identity: Vec<String>,
    audience: Option<String>,
}

impl Answer {
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let assertion = text("x-vestibule-assertion");
        Self {
            status,
            code: text("x-vestibule-code"),
            identity: IDENTITY.iter().filter_map(|name| text(name)).collect(),
            audience: assertion.map(|assertion| audience_of(&assertion)),
        }
    }

    /// Every header that speaks of the caller is there, or none is.
    fn is_whole(&self) {
        if self.status == StatusCode::OK {
            assert_eq!(self.identity.len(), IDENTITY.len(), "one is missing");
            assert!(self.audience.is_some() && self.code.is_none());
        } else {
            assert!(self.identity.is_empty(), "a refusal with an identity");
            assert!(self.audience.is_none() && self.code.is_some());
        }
    }

    fn is_one_of(&self, expected: &BTreeSet<Verdict>) {
        let verdict = self.verdict();
        assert!(
            expected.contains(&verdict),
            "{verdict:?} and not one of {expected:?}"
        );
    }

    fn verdict(&self) -> Verdict {
        match (self.status.as_u16(), self.code.as_deref()) {
            (200, _) => match self.identity.iter().all(String::is_empty) {
                true => {
                    assert_eq!(self.audience.as_deref(), Some(""), "nobody is asserted");
                    Verdict::Nobody
                }
                false => {
                    assert_eq!(self.identity[0], "user");
                    assert_eq!(self.identity[3], "ada@acme.example");
                    Verdict::Ada(self.audience.clone().unwrap_or_default())
                }
            },
            (400, Some("invalid_request")) => Verdict::BadRequest,
            (401, Some("missing_token")) => Verdict::NotKnown,
            (403, Some("insufficient_scope")) => Verdict::MeetsNone,
            (403, Some("insufficient_role")) => Verdict::OthersOnly,
            other => panic!("{other:?}"),
        }
    }
}

/// `aud` of an assertion; empty where there is none.
fn audience_of(assertion: &str) -> String {
    let Some(claims) = assertion.split('.').nth(1) else {
        return assertion.to_owned();
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    claims["aud"].as_str().expect("one audience").to_owned()
}
