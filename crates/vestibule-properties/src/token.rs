//! A bearer token, as it is sent or as somebody entitled signs it.

mod expected;

use std::sync::{Arc, LazyLock};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use vestibule::{
    BearerToken, Code, Reason, Timestamp, VerifiedToken,
    settings::{ProviderSettings, SettingsReader},
    token::{
        KeySetId, KeySource, RegisteredClients, TokenClass, TokenPolicy, Verifier, VerifyingKey,
    },
};

use self::expected::Rules;
use crate::tree::Tree;

const ISSUER: &str = "https://auth.example.com";
const ROBOT: &str = "sc_robot01";
const OWN_CLIENT: &str = "sc_own01";
/// 2026-10-26T07:33:20Z.
const NOW: i64 = 1_793_000_000;

/// What the first byte chooses.
const AS_SENT: u8 = 1;
const SIGNED_BY_ROBOT: u8 = 2;

/// The first byte chooses settings, and who signs; the rest is a token as it is sent, or a line
/// with a header and then claims, which are put into a token and signed.
///
/// A token as it is sent is accepted only if it has three parts that are not empty, each written
/// in the one way that base64url without padding allows. One that nobody entitled has signed gets
/// no answer that tells something. Of the signed ones exactly those are accepted that the contract
/// accepts, worked out here a second time, and what comes out is what they say.
pub fn token(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let world = &WORLDS[usize::from(choice >> 2) % WORLDS.len()];
    if choice & AS_SENT != 0 {
        if let Ok(text) = std::str::from_utf8(rest) {
            as_sent(world, text);
        }
        return;
    }
    let signer = match choice & SIGNED_BY_ROBOT {
        0 => TokenClass::User,
        _ => TokenClass::Machine,
    };
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (header, claims) = rest.split_at(line.unwrap_or(rest.len()));
    let claims = claims.get(1..).unwrap_or_default();
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = key_of(signer).sign(input.as_bytes()).to_bytes();
    let text = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
    let found = world.verify(&text);
    if text.len() > 8_192 {
        assert_eq!(found.map(drop), Err(Reason::TokenTooLong));
        return;
    }
    let expected = world.rules.accepted(header, claims, signer);
    match (found, expected) {
        (Ok(token), Some(facts)) => {
            assert_eq!(facts, expected::Facts::of(&token), "what the token says");
            as_sent(world, &text);
            one_way_to_write_it(world, &text);
        }
        (Err(reason), None) => {
            assert_ne!(reason, Reason::NotThreeParts);
            let header = Tree::read(header).filter(Tree::is_object);
            // The header is judged before the claims are read.
            if header.is_some_and(|header| !header.has_each_member_once()) {
                assert_eq!(reason, Reason::DuplicateMember);
            }
        }
        (Ok(_), None) => panic!("accepted, and should not be"),
        (Err(reason), Some(_)) => panic!("refused for {reason}, and should not be"),
    }
}

fn as_sent(world: &World, text: &str) {
    match world.verify(text) {
        Ok(_) => {
            let parts: Vec<&str> = text.split('.').collect();
            assert_eq!(parts.len(), 3, "parts");
            for part in &parts {
                assert!(!part.is_empty(), "an empty part");
                let decoded = URL_SAFE_NO_PAD.decode(part).expect("base64url");
                assert_eq!(
                    URL_SAFE_NO_PAD.encode(decoded),
                    **part,
                    "a second way to write it"
                );
            }
            for part in &parts[..2] {
                let tree = Tree::read(&URL_SAFE_NO_PAD.decode(part).unwrap()).expect("JSON");
                assert!(
                    tree.is_object() && tree.has_each_member_once(),
                    "a member twice"
                );
            }
            assert!(is_signed(text), "nobody entitled signed it");
        }
        Err(reason) if !is_signed(text) => {
            let told = matches!(
                reason.code(),
                Code::InvalidToken | Code::MalformedAuthorization
            );
            assert!(told, "a stranger learns {reason}");
        }
        Err(_) => {}
    }
}

/// Whoever has an accepted token cannot make a second one of it.
fn one_way_to_write_it(world: &World, text: &str) {
    let parts: Vec<&str> = text.split('.').collect();
    for place in 0..parts.len() {
        // What careless readers skip or fill in (RFC 4648 §3.2, §3.3).
        for (before, behind) in [("", "="), ("", "=="), ("", "~"), ("+", ""), ("", "A")] {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[place] = format!("{before}{}{behind}", parts[place]);
            let other = parts.join(".");
            assert!(world.verify(&other).is_err(), "also accepted: {other}");
        }
    }
    for other in [format!("{text}."), format!(".{text}"), format!("{text}.x")] {
        assert!(world.verify(&other).is_err(), "also accepted: {other}");
    }
}

/// Whether one of the keys signed the text before the last dot.
fn is_signed(text: &str) -> bool {
    let Some((input, signature)) = text.rsplit_once('.') else {
        return false;
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    [TokenClass::User, TokenClass::Machine]
        .iter()
        .any(|class| key_of(*class).sign(input.as_bytes()).to_bytes()[..] == signature)
}

fn key_of(class: TokenClass) -> SigningKey {
    SigningKey::from_bytes(&[class as u8 + 1; 32])
}

/// A verifier, and the rules that it should follow.
struct World {
    verifier: Verifier,
    rules: Rules,
}

/// One for each of the settings that change what is accepted, and the defaults.
static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
    [
        Rules::default(),
        Rules {
            api_audiences: &["api_one", "https://api.example.com"],
            ..Rules::default()
        },
        Rules {
            applications: &["app_web", "app_phone"],
            ..Rules::default()
        },
        Rules {
            allow_client_issued_users: true,
            ..Rules::default()
        },
        Rules {
            tenant_claim: "tenant",
            ..Rules::default()
        },
        Rules {
            tenant_claim: "azp",
            api_audiences: &["api_one"],
            applications: &["app_web", ROBOT],
            allow_client_issued_users: true,
        },
    ]
    .into_iter()
    .map(World::new)
    .collect()
});

impl World {
    fn new(rules: Rules) -> Self {
        // The short ids match no scanner for leaked keys.
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend([7; 32]);
        let access_key = format!("{OWN_CLIENT}.k1.test.{}", STANDARD.encode(der));
        let mut reader = SettingsReader::from_pairs([
            ("AUTHRESS_API_URL", ISSUER.to_owned()),
            ("AUTHRESS_ACCESS_KEY", access_key),
            ("API_AUDIENCES", rules.api_audiences.join(",")),
            ("AUTHRESS_APPLICATIONS", rules.applications.join(",")),
            ("AUTHRESS_TENANT_CLAIM", rules.tenant_claim.to_owned()),
            (
                "AUTHRESS_ALLOW_CLIENT_ISSUED_USERS",
                rules.allow_client_issued_users.to_string(),
            ),
        ]);
        let settings = ProviderSettings::read(&mut reader).expect("sound settings");
        let known = Arc::new(Known);
        let verifier = Verifier::new(TokenPolicy::new(&settings), Arc::clone(&known) as _, known);
        Self { verifier, rules }
    }

    fn verify(&self, text: &str) -> Result<VerifiedToken, Reason> {
        let token = BearerToken::parse(text)?;
        self.verifier
            .verify(&token, Timestamp::from_secs(NOW))
            .now_or_never()
            .expect("keys and clients answer at once")
    }
}

/// The provider's key, and that of the one client that is registered.
#[derive(Debug)]
struct Known;

impl KeySource for Known {
    fn key<'a>(
        &'a self,
        set: &'a KeySetId,
        kid: &'a str,
    ) -> BoxFuture<'a, Result<VerifyingKey, Reason>> {
        let class = match set {
            KeySetId::Issuer(_) if kid == "account1" => Ok(TokenClass::User),
            KeySetId::Client(id) if &**id == ROBOT && kid == "robot1" => Ok(TokenClass::Machine),
            _ => Err(Reason::UnknownKey),
        };
        let key = class.map(|class| VerifyingKey::from(&key_of(class)));
        ready(key).boxed()
    }
}

impl RegisteredClients for Known {
    fn is_registered<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, Reason>> {
        ready(Ok(client_id == ROBOT)).boxed()
    }
}
