//! From an assertion that is accepted: break one thing, expect the exact reason.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    ASSERTION, AssertionToken, AssertionVerifier, CachedAssertions, VerifiedAssertion,
    keys::{DayKey, Root},
};
use crate::{
    admission::Admission,
    bearer::{BearerToken, MAX_TOKEN_BYTES},
    clock::{ManualClock, Timestamp},
    credential::Credential,
    error::{Code, Reason},
    principal::PrincipalKind,
    provider::access_key::{AccessKey, test_key},
    settings::{AcceptedAssertions, AdmissionSettings, ProviderSettings, SettingsReader},
    token::CacheOutcome,
};

/// Noon of a day, so that its midnights are far.
const NOW: i64 = 1_795_521_600;
const DAY: i64 = 86_400;
const USER: Uuid = Uuid::from_u128(0x0190_a8f2_0000_7000_8000_0000_0000_0001);
const ACCOUNT: Uuid = Uuid::from_u128(0x0190_a8f2_0000_7000_8000_0000_0000_0002);

fn root() -> Root {
    Root::of(&AccessKey::parse(&test_key(7)).unwrap())
}

/// An assertion to be.
struct Draft {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: DayKey,
}

impl Draft {
    fn new() -> Self {
        let key = root().key_at(NOW);
        let header = json!({
            "alg": "EdDSA", "typ": "vestibule-assertion+jwt", "kid": key.key_id(),
        });
        let claims = json!({
            "iat": NOW, "exp": NOW + 60, "iss": "vestibule", "aud": "orders", "sub": USER,
            "kind": "user", "role": "owner", "authress_user_id": "user_ada",
            "account_id": ACCOUNT, "tenant_id": "tenant_acme", "client_id": "app_web",
            "scope": "openid profile", "token_exp": NOW + 3_600,
        });
        let members = |value: Value| value.as_object().cloned().unwrap();
        Self {
            header: members(header),
            claims: members(claims),
            key,
        }
    }

    fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.header.remove(name);
        self.claims.remove(name);
        self
    }

    /// Signed by this key, under its own name.
    fn key(self, key: DayKey) -> Self {
        let mut this = self.header("kid", key.key_id());
        this.key = key;
        this
    }

    fn mint(&self) -> String {
        let text = |members: &Map<String, Value>| json!(members).to_string();
        self.mint_texts(&text(&self.header), &text(&self.claims))
    }

    fn mint_texts(&self, header: &str, claims: &str) -> String {
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!(
            "{}.{}",
            encoded(header.as_bytes()),
            encoded(claims.as_bytes())
        );
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", encoded(&signature))
    }
}

fn settings(pairs: &[(&str, &str)]) -> ProviderSettings {
    let key = test_key(7);
    let whole = [
        ("AUTHRESS_API_URL", "https://auth.example.com"),
        ("AUTHRESS_ACCESS_KEY", &key),
    ];
    let mut reader = SettingsReader::from_pairs(whole.iter().chain(pairs).copied());
    ProviderSettings::read(&mut reader).unwrap()
}

fn verifier_with(clock: &ManualClock, pairs: &[(&str, &str)]) -> CachedAssertions {
    let accepted = AcceptedAssertions {
        audience: "orders".into(),
        issuer: "vestibule".into(),
    };
    let settings = settings(pairs);
    let admission = Arc::new(Admission::new(&AdmissionSettings::default()));
    let verifier = AssertionVerifier::new(accepted, &settings);
    let size = settings.token_cache_size;
    CachedAssertions::new(verifier, size, admission, Arc::new(clock.clone()))
}

fn at(now: i64) -> ManualClock {
    ManualClock::new(Timestamp::from_secs(now))
}

async fn verify(
    verifier: &CachedAssertions,
    text: &str,
) -> Result<(VerifiedAssertion, CacheOutcome), Reason> {
    verifier.verify_from(AssertionToken(text), None).await
}

/// What becomes of it at this moment, where nothing is remembered.
async fn judged_at(now: i64, text: &str) -> Option<Reason> {
    verify(&verifier_with(&at(now), &[]), text).await.err()
}

#[tokio::test]
async fn a_sound_one_is_accepted_with_what_it_says() {
    let verifier = verifier_with(&at(NOW), &[]);
    let (assertion, _) = verify(&verifier, &Draft::new().mint()).await.unwrap();
    let facts = assertion.facts();
    assert_eq!(
        (facts.kind, facts.id, facts.account_id),
        (PrincipalKind::User, USER, ACCOUNT)
    );
    assert_eq!(
        (&*facts.subject, &*facts.client_id),
        ("user_ada", "app_web")
    );
    assert_eq!(
        facts
            .scopes
            .iter()
            .map(|scope| &**scope)
            .collect::<Vec<_>>(),
        ["openid", "profile"]
    );
    assert_eq!(facts.token_ends, Timestamp::from_secs(NOW + 3_600));
    let machine = Draft::new()
        .claim("kind", "machine")
        .claim("scope", "")
        .mint();
    let (assertion, _) = verify(&verifier, &machine).await.unwrap();
    assert_eq!(assertion.facts().kind, PrincipalKind::Machine);
}

#[tokio::test]
async fn the_header_is_held_to_the_rules_of_tokens() {
    let draft = Draft::new;
    for (broken, reason) in [
        (draft().header("alg", "none"), Reason::UnsupportedAlgorithm),
        (draft().header("alg", "HS256"), Reason::UnsupportedAlgorithm),
        (
            draft().header("alg", "Ed25519"),
            Reason::UnsupportedAlgorithm,
        ),
        (draft().without("alg"), Reason::UnsupportedAlgorithm),
        (draft().header("crit", json!([])), Reason::CriticalHeader),
        (draft().header("jwk", json!({})), Reason::EmbeddedKey),
        (
            draft().header("jku", "https://keys.example"),
            Reason::EmbeddedKey,
        ),
        (draft().header("x5u", Value::Null), Reason::EmbeddedKey),
        (draft().header("x5c", json!([])), Reason::EmbeddedKey),
        (draft().without("kid"), Reason::BadKeyId),
        (draft().header("kid", "unknown"), Reason::UnknownKey),
        (draft().without("typ"), Reason::WrongType),
        (draft().header("typ", "at+jwt"), Reason::WrongType),
        (draft().header("typ", "JWT"), Reason::WrongType),
        (
            draft().header("typ", "application/vestibule-assertion+jwt"),
            Reason::WrongType,
        ),
        (
            draft().header("typ", "Vestibule-Assertion+JWT"),
            Reason::WrongType,
        ),
    ] {
        assert_eq!(
            judged_at(NOW, &broken.mint()).await,
            Some(reason),
            "{:?}",
            broken.header
        );
    }
}

#[tokio::test]
async fn every_claim_is_required_and_judged() {
    for name in [
        "sub",
        "aud",
        "exp",
        "iat",
        "kind",
        "authress_user_id",
        "account_id",
        "client_id",
        "scope",
        "token_exp",
    ] {
        let text = Draft::new().without(name).mint();
        assert_eq!(
            judged_at(NOW, &text).await,
            Some(Reason::MissingClaim),
            "{name}"
        );
        let null = Draft::new().claim(name, Value::Null).mint();
        assert_eq!(
            judged_at(NOW, &null).await,
            Some(Reason::BadClaim),
            "{name}"
        );
    }
    let draft = Draft::new;
    for (broken, reason) in [
        (draft().without("iss"), Reason::MissingIssuer),
        (
            draft().claim("iss", "https://auth.example.com"),
            Reason::UnknownIssuer,
        ),
        (draft().claim("iss", "Vestibule"), Reason::UnknownIssuer),
        (draft().claim("aud", "billing"), Reason::WrongAudience),
        (draft().claim("aud", "order"), Reason::WrongAudience),
        (draft().claim("aud", json!(["orders"])), Reason::BadClaim),
        (draft().claim("kind", "admin"), Reason::BadClaim),
        (draft().claim("sub", "user_ada"), Reason::BadClaim),
        (
            draft().claim("sub", USER.simple().to_string()),
            Reason::BadClaim,
        ),
        (draft().claim("account_id", "acme"), Reason::BadClaim),
        (draft().claim("nbf", NOW), Reason::BadClaim),
        (draft().claim("exp", "soon"), Reason::BadClaim),
        (draft().claim("scope", json!(["openid"])), Reason::BadClaim),
        // It never outlives the token that it was made for.
        (draft().claim("token_exp", NOW + 59), Reason::BadClaim),
    ] {
        assert_eq!(
            judged_at(NOW, &broken.mint()).await,
            Some(reason),
            "{:?}",
            broken.claims
        );
    }
}

#[tokio::test]
async fn a_member_occurs_once() {
    let draft = Draft::new();
    let (header, claims) = (
        json!(draft.header).to_string(),
        json!(draft.claims).to_string(),
    );
    let doubled = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    for (header, claims) in [
        (doubled(&header, r#""alg":"EdDSA""#), claims.clone()),
        (header.clone(), doubled(&claims, r#""aud":"orders""#)),
        (header.clone(), doubled(&claims, r#""\u0061ud":"orders""#)),
        (header.clone(), doubled(&claims, r#""x":{"y":1,"y":1}"#)),
    ] {
        let text = draft.mint_texts(&header, &claims);
        assert_eq!(
            judged_at(NOW, &text).await,
            Some(Reason::DuplicateMember),
            "{header} {claims}"
        );
    }
    let not_json = draft.mint_texts(&header, "[]");
    assert_eq!(judged_at(NOW, &not_json).await, Some(Reason::BadJson));
}

#[tokio::test]
async fn time_has_two_ends_and_a_length() {
    let text = Draft::new().mint();
    for (now, expected) in [
        (NOW - 31, Some(Reason::NotYetValid)),
        (NOW - 30, None),
        (NOW + 89, None),
        (NOW + 90, Some(Reason::Expired)),
    ] {
        assert_eq!(judged_at(now, &text).await, expected, "{}", now - NOW);
    }
    for (lifetime, expected) in [(90, None), (91, Some(Reason::LifetimeTooLong))] {
        let text = Draft::new().claim("exp", NOW + lifetime).mint();
        assert_eq!(judged_at(NOW, &text).await, expected, "{lifetime}");
    }
    // The token was let in within its own leeway.
    let late = Draft::new()
        .claim("exp", NOW - 5)
        .claim("token_exp", NOW - 5);
    assert_eq!(judged_at(NOW, &late.mint()).await, None);
}

#[tokio::test]
async fn keys_are_of_their_day() {
    let root = root();
    for (days, expected) in [
        (-2, Some(Reason::UnknownKey)),
        (-1, Some(Reason::BadClaim)),
        (1, Some(Reason::BadClaim)),
        (2, Some(Reason::UnknownKey)),
    ] {
        let other = Draft::new().key(root.key_at(NOW + days * DAY));
        assert_eq!(judged_at(NOW, &other.mint()).await, expected, "{days}");
    }
    // Shortly before and after midnight, with clocks that differ.
    let midnight = NOW + DAY / 2;
    for (signed, judged) in [(midnight - 1, midnight + 20), (midnight, midnight - 20)] {
        let text = Draft::new()
            .key(root.key_at(signed))
            .claim("iat", signed)
            .claim("exp", signed + 60)
            .claim("token_exp", signed + DAY)
            .mint();
        assert_eq!(judged_at(judged, &text).await, None, "{signed} {judged}");
    }
    // Another access key, under the name of ours.
    let mut forged = Draft::new();
    forged.key = Root::new([9; 32]).key_at(NOW);
    assert_eq!(
        judged_at(NOW, &forged.mint()).await,
        Some(Reason::BadSignature)
    );
    let stranger = Draft::new().key(Root::new([9; 32]).key_at(NOW)).mint();
    assert_eq!(judged_at(NOW, &stranger).await, Some(Reason::UnknownKey));
}

#[tokio::test]
async fn what_is_remembered_is_asked_for_time_again() {
    let clock = at(NOW);
    let verifier = verifier_with(&clock, &[]);
    let text = Draft::new().mint();
    let outcome = async |verifier: &CachedAssertions| verify(verifier, &text).await.map(|it| it.1);
    assert_eq!(outcome(&verifier).await, Ok(CacheOutcome::Miss));
    assert_eq!(outcome(&verifier).await, Ok(CacheOutcome::Hit));
    clock.advance(Duration::from_secs(89));
    assert_eq!(outcome(&verifier).await, Ok(CacheOutcome::Hit));
    clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&verifier).await, Err(Reason::Expired));
    clock.set(Timestamp::from_secs(NOW - 31));
    assert_eq!(outcome(&verifier).await, Err(Reason::NotYetValid));

    let forgetful = verifier_with(&at(NOW), &[("TOKEN_CACHE_SIZE", "0")]);
    for _ in 0..2 {
        assert_eq!(outcome(&forgetful).await, Ok(CacheOutcome::Miss));
    }
}

#[tokio::test]
async fn a_changed_byte_is_another_assertion() {
    let verifier = verifier_with(&at(NOW), &[]);
    let text = Draft::new().mint();
    verify(&verifier, &text).await.unwrap();
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&verifier, &changed).await.is_err(), "{place}");
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn credential(pairs: &[(&'static str, &str)], accepts: bool) -> Result<&'static str, Reason> {
    match Credential::from_headers(&headers(pairs), accepts) {
        Ok(Credential::Bearer(_)) => Ok("bearer"),
        Ok(Credential::Assertion(_)) => Ok("assertion"),
        Err(reason) => Err(reason),
    }
}

const BEARER: (&str, &str) = ("authorization", "Bearer a.b.c");
const ASSERTED: (&str, &str) = ("x-vestibule-assertion", "a.b.c");
const EMPTY: (&str, &str) = ("x-vestibule-assertion", "");

#[test]
fn a_request_has_one_credential() {
    for (sent, expected) in [
        (&[][..], Err(Reason::MissingToken)),
        (&[BEARER], Ok("bearer")),
        (&[ASSERTED], Ok("assertion")),
        // How the server says that nobody was asked who he is.
        (&[EMPTY], Err(Reason::MissingToken)),
        (&[BEARER, ASSERTED], Err(Reason::TwoCredentials)),
        (&[BEARER, EMPTY], Err(Reason::TwoCredentials)),
        (
            &[("authorization", ""), ASSERTED],
            Err(Reason::TwoCredentials),
        ),
        (
            &[("authorization", "Basic YTpi"), ASSERTED],
            Err(Reason::TwoCredentials),
        ),
        (&[ASSERTED, ASSERTED], Err(Reason::MalformedAssertion)),
        (&[EMPTY, EMPTY], Err(Reason::MalformedAssertion)),
        (&[EMPTY, ASSERTED], Err(Reason::MalformedAssertion)),
        (
            &[("x-vestibule-assertion", "a.b.c,a.b.c")],
            Err(Reason::MalformedAssertion),
        ),
        (
            &[("x-vestibule-assertion", "Bearer a.b.c")],
            Err(Reason::MalformedAssertion),
        ),
        (
            &[("x-vestibule-assertion", " ")],
            Err(Reason::MalformedAssertion),
        ),
        (
            &[("x-vestibule-assertion", "a.b.c=")],
            Err(Reason::MalformedAssertion),
        ),
        (
            &[("x-vestibule-assertion", "ä")],
            Err(Reason::MalformedAssertion),
        ),
    ] {
        assert_eq!(credential(sent, true), expected, "{sent:?}");
    }
    for reason in [Reason::TwoCredentials, Reason::MalformedAssertion] {
        assert_eq!(reason.code(), Code::MalformedAuthorization);
        assert!(!reason.token_sent());
    }
    let longest = "a".repeat(MAX_TOKEN_BYTES);
    assert_eq!(
        credential(&[("x-vestibule-assertion", &longest)], true),
        Ok("assertion")
    );
    let longer = format!("{longest}a");
    assert_eq!(
        credential(&[("x-vestibule-assertion", &longer)], true),
        Err(Reason::TokenTooLong)
    );
}

#[test]
fn where_it_is_not_accepted_it_is_not_looked_at() {
    for asserted in [ASSERTED, EMPTY, ("x-vestibule-assertion", "ä")] {
        assert_eq!(credential(&[asserted], false), Err(Reason::MissingToken));
        assert_eq!(
            credential(&[BEARER, asserted, asserted], false),
            Ok("bearer")
        );
    }
}

#[test]
fn debug_hides_it() {
    let sent = headers(&[("x-vestibule-assertion", "secret.secret.secret")]);
    let token = AssertionToken::from_headers(&sent).unwrap().unwrap();
    assert_eq!(format!("{token:?}"), "AssertionToken(20 bytes)");
    assert!(!sent.contains_key(AUTHORIZATION) && sent.contains_key(ASSERTION));
    assert!(BearerToken::from_headers(&sent).unwrap().is_none());
}

proptest! {
    /// No bytes from outside make it panic, and none are accepted.
    #[test]
    fn a_stranger_is_never_let_in(value in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..96),
        "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}".prop_map(String::into_bytes),
    ]) {
        let Ok(header) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut sent = HeaderMap::new();
        sent.insert(ASSERTION, header);
        if let Ok(Some(token)) = AssertionToken::from_headers(&sent) {
            prop_assert_eq!(token.as_str().as_bytes(), &value[..]);
            let verifier = verifier_with(&at(NOW), &[]);
            let refused = futures_util::future::FutureExt::now_or_never(verifier.verify_from(token, None));
            prop_assert!(refused.is_some_and(|it| it.is_err()));
        }
    }
}
