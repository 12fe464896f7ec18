//! The assertion of a proxy, as it is sent or as a key of ours signs it.

use std::sync::LazyLock;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use vestibule::{
    Code, Reason, Timestamp,
    assertion::{ASSERTION, AssertionToken, AssertionVerifier, VerifiedAssertion},
    provider::access_key::AccessKey,
    settings::{AcceptedAssertions, ProviderSettings, SettingsReader},
};

use crate::tree::Tree;

/// 2026-10-26T07:33:20Z.
const NOW: i64 = 1_793_000_000;
const DAY: i64 = 86_400;
const LEEWAY: i64 = 30_000;
const LIFETIME: i64 = 60_000;
/// The first moment that RFC 3339 cannot write any more, in milliseconds.
const YEAR_10000: i64 = 253_402_300_800_000;

/// What the first byte chooses.
const AS_SENT: u8 = 1;

/// Stands for the name of the signing key, which nobody could guess.
const KID: &str = "$kid";

/// The first byte chooses who signs: the key of today, yesterday or tomorrow, or a stranger; the
/// rest is a header's value as it is sent, or a line with a JOSE header and then claims.
///
/// A value as it is sent is accepted only if a key of ours signed it, and in one form. Of the
/// signed ones exactly those are accepted that the documents say, worked out here a second time.
pub fn assertion(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    if choice & AS_SENT != 0 {
        as_sent(rest);
        return;
    }
    let signer = &WORLD.keys[usize::from(choice >> 1) % WORLD.keys.len()];
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (header, claims) = rest.split_at(line.unwrap_or(rest.len()));
    let claims = claims.get(1..).unwrap_or_default();
    let header = String::from_utf8_lossy(header).replace(KID, &signer.kid);
    let text = signer.sign(header.as_bytes(), claims);
    let found = verify(text.as_bytes());
    if text.len() > 8_192 {
        assert_eq!(found.map(drop), Err(Reason::TokenTooLong));
        return;
    }
    match (found, accepted(header.as_bytes(), claims, signer)) {
        (Ok(Some(assertion)), Some(facts)) => {
            assert_eq!(facts, Facts::of(&assertion), "what the assertion says");
            one_way_to_write_it(&text);
        }
        (Err(_), None) => {}
        (Ok(_), None) => panic!("accepted, and should not be"),
        (Ok(None), Some(_)) => panic!("not seen"),
        (Err(reason), Some(_)) => panic!("refused for {reason}, and should not be"),
    }
}

fn as_sent(bytes: &[u8]) {
    match verify(bytes) {
        // An empty one says that nobody was asked who he is.
        Ok(None) => assert!(bytes.is_empty() || HeaderValue::from_bytes(bytes).is_err()),
        Ok(Some(_)) => {
            let text = std::str::from_utf8(bytes).expect("ASCII");
            assert!(is_signed(text), "nobody entitled signed it");
            one_way_to_write_it(text);
        }
        Err(reason) => {
            let told = matches!(
                reason.code(),
                Code::InvalidToken | Code::MalformedAuthorization
            );
            let signed = std::str::from_utf8(bytes).is_ok_and(is_signed);
            assert!(told || signed, "a stranger learns {reason}");
        }
    }
}

/// What becomes of a header with this value; none where there is no assertion.
fn verify(value: &[u8]) -> Result<Option<VerifiedAssertion>, Reason> {
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return Ok(None);
    };
    let mut headers = HeaderMap::new();
    headers.insert(ASSERTION, value);
    let Some(token) = AssertionToken::from_headers(&headers)? else {
        return Ok(None);
    };
    let now = Timestamp::from_secs(NOW);
    WORLD.verifier.verify(token, now).map(Some)
}

/// Whoever has seen an accepted one cannot make a second of it.
fn one_way_to_write_it(text: &str) {
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "parts");
    for place in 0..parts.len() {
        for (before, behind) in [("", "="), ("", "=="), ("+", ""), ("", "A")] {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[place] = format!("{before}{}{behind}", parts[place]);
            let other = parts.join(".");
            assert!(verify(other.as_bytes()).is_err(), "also accepted: {other}");
        }
    }
    for other in [
        format!("{text}."),
        format!(".{text}"),
        format!("{text},{text}"),
    ] {
        assert!(verify(other.as_bytes()).is_err(), "also accepted: {other}");
    }
}

fn is_signed(text: &str) -> bool {
    let Some((input, signature)) = text.rsplit_once('.') else {
        return false;
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let mut ours = WORLD.keys.iter().filter(|key| key.day.is_some());
    ours.any(|key| key.signing.sign(input.as_bytes()).to_bytes()[..] == signature)
}

/// What an assertion says.
#[derive(Debug, PartialEq)]
struct Facts {
    kind: String,
    id: String,
    account: String,
    subject: String,
    client_id: String,
    scopes: Vec<String>,
    token_ends: i64,
}

impl Facts {
    fn of(assertion: &VerifiedAssertion) -> Self {
        let scopes = assertion.scopes().iter().map(|scope| scope.to_string());
        Self {
            kind: assertion.kind().to_string(),
            id: assertion.id().to_string(),
            account: assertion.account_id().to_string(),
            subject: assertion.subject().to_owned(),
            client_id: assertion.client_id().to_string(),
            scopes: scopes.collect(),
            token_ends: assertion.token_expires_at().as_millis(),
        }
    }
}

/// What is said, if it is to be accepted where `signer` signed it.
fn accepted(header: &[u8], claims: &[u8], signer: &Key) -> Option<Facts> {
    let (header, claims) = (object(header)?, object(claims)?);
    let forbidden = ["crit", "jwk", "jku", "x5u", "x5c"];
    let fits = !forbidden.iter().any(|name| header.get(name).is_some())
        && header.get("alg")?.text()? == "EdDSA"
        && header.get("typ")?.text()? == "vestibule-assertion+jwt"
        && header.get("kid")?.text()? == signer.kid
        && claims.get("iss")?.text()? == "vestibule"
        && claims.get("aud")?.text()? == "orders"
        && claims.get("nbf").is_none();
    if !fits {
        return None;
    }
    let at = |name| moment(claims.get(name)?);
    let (issued_at, expires_at, token_ends) = (at("iat")?, at("exp")?, at("token_exp")?);
    let now = NOW * 1_000;
    let good = now < expires_at + LEEWAY
        && issued_at <= now + LEEWAY
        && expires_at - issued_at <= LIFETIME + LEEWAY
        && expires_at <= token_ends
        && signer.day? == issued_at.div_euclid(DAY * 1_000);
    let text = |name| value(claims.get(name)?).map(str::to_owned);
    let kind = text("kind")?;
    let facts = Facts {
        id: uuid(text("sub")?)?,
        account: uuid(text("account_id")?)?,
        subject: text("authress_user_id")?,
        client_id: text("client_id")?,
        scopes: scopes(claims.get("scope")?.text()?)?,
        token_ends,
        kind,
    };
    (good && matches!(&*facts.kind, "user" | "machine")).then_some(facts)
}

/// The text of one object in which every member occurs once.
fn object(text: &[u8]) -> Option<Tree> {
    Tree::read(text).filter(|tree| tree.is_object() && tree.has_each_member_once())
}

/// Milliseconds; RFC 7519 §2: seconds, with or without a fraction.
fn moment(value: &Tree) -> Option<i64> {
    let last = (YEAR_10000 / 1_000 - 1) as f64;
    let millis = match value {
        Tree::Integer(seconds) => seconds.checked_mul(1_000)?,
        Tree::Float(seconds) if *seconds >= 0.0 && *seconds <= last => {
            (seconds * 1_000.0).floor() as i64
        }
        _ => return None,
    };
    (0..YEAR_10000).contains(&millis).then_some(millis)
}

/// A text that a claim may be.
fn value(value: &Tree) -> Option<&str> {
    let text = value.text()?;
    let fits = (1..=512).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then_some(text)
}

/// In the form of RFC 9562 §4, in lower case.
fn uuid(text: String) -> Option<String> {
    let fits = text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    fits.then_some(text)
}

/// RFC 6749 §3.3.
fn scopes(text: &str) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        let fits = |b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if !scope.bytes().all(fits) {
            return None;
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    (scopes.len() <= 1_000).then_some(scopes)
}

/// A key that signs.
struct Key {
    /// Days since 1970; none for a stranger's.
    day: Option<i64>,
    kid: String,
    signing: SigningKey,
}

impl Key {
    fn new(day: Option<i64>, seed: [u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&seed);
        let x = URL_SAFE_NO_PAD.encode(signing.verifying_key().as_bytes());
        // RFC 7638 §3, RFC 8037 §2.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self {
            day,
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(members)),
            signing,
        }
    }

    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let (header, claims) = (
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
        );
        let input = format!("{header}.{claims}");
        let signature = self.signing.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

struct World {
    verifier: AssertionVerifier,
    /// Of today, yesterday and tomorrow, and a stranger's.
    keys: [Key; 4],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // The short ids match no scanner for leaked keys.
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend([7; 32]);
    let access_key = format!("sc_own01.k1.test.{}", STANDARD.encode(der));
    let secret = AccessKey::parse(&access_key).expect("an access key");
    let secret = secret.derive_key("assertions");
    let key = |day: i64| {
        let mut seed = [0; 32];
        Hkdf::<Sha256>::new(Some(b"vestibule assertion v1"), &secret)
            .expand(&day.to_be_bytes(), &mut seed)
            .expect("a short key");
        Key::new(Some(day), seed)
    };
    let mut reader = SettingsReader::from_pairs([
        ("AUTHRESS_API_URL", "https://auth.example.com".to_owned()),
        ("AUTHRESS_ACCESS_KEY", access_key),
    ]);
    let settings = ProviderSettings::read(&mut reader).expect("sound settings");
    let accepted = AcceptedAssertions {
        audience: "orders".into(),
        issuer: "vestibule".into(),
    };
    let today = NOW / DAY;
    World {
        verifier: AssertionVerifier::new(accepted, &settings),
        keys: [
            key(today),
            key(today - 1),
            key(today + 1),
            Key::new(None, [9; 32]),
        ],
    }
});
