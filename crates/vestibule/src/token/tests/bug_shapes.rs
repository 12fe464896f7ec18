//! Mistakes that caches of tokens have made elsewhere, each replayed: what is remembered of one
//! token must never speak for another, nor for longer than it is true.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    memory::Memory,
    world::{
        ISSUER, Mint, NOW, NOW_SECS, PROVIDER_KEY, ROBOT, ROBOT_KEY, SECOND_ISSUER, STRANGERS_KEY,
        World,
    },
};
use crate::{
    clock::ManualClock,
    error::Reason,
    token::{CacheOutcome, CachedVerifier, KeySetId},
};

/// So long that only what the token and its key say can end an entry.
const LONG: Duration = Duration::from_secs(1_000_000);

fn remembering(token: &Mint) -> Memory {
    let memory = Memory::of(100, LONG);
    memory.verify(&token.mint()).unwrap();
    assert_eq!(memory.outcome(&token.mint()), CacheOutcome::Hit);
    memory
}

#[test]
fn a_key_made_of_the_last_characters() {
    let ada = Mint::user();
    let memory = remembering(&ada);
    let grace = Mint::user().claim("sub", json!("user_grace"));
    let same_end = grace.with_signature(&ada.signature());
    let refused = memory.verify(&same_end).unwrap_err();
    assert_eq!(refused, Reason::BadSignature);
}

#[test]
fn a_key_without_the_signature() {
    let memory = remembering(&Mint::user());
    let forged = Mint::user().signed_by(STRANGERS_KEY).mint();
    assert_eq!(memory.verify(&forged).unwrap_err(), Reason::BadSignature);
    let unsigned = format!("{}.", Mint::user().signing_input());
    assert_eq!(memory.verify(&unsigned).unwrap_err(), Reason::BadSignature);
}

#[test]
fn a_key_without_the_issuer() {
    let memory = remembering(&Mint::user());
    let elsewhere = Mint::user().claim("iss", json!(SECOND_ISSUER)).mint();
    assert_eq!(memory.verify(&elsewhere).unwrap_err(), Reason::UnknownKey);
    // The same `kid` in two sets is two keys.
    let second = KeySetId::Issuer(SECOND_ISSUER.into());
    memory.keys.set(&second, "account1", Some(STRANGERS_KEY));
    let elsewhere = Mint::user()
        .claim("iss", json!(SECOND_ISSUER))
        .claim("jti", json!(1));
    let refused = memory.verify(&elsewhere.mint()).unwrap_err();
    assert_eq!(refused, Reason::BadSignature);
}

#[test]
fn scopes_ignored_on_a_hit() {
    let memory = remembering(&Mint::user().claim("scope", json!("openid")));
    let more = Mint::user().claim("scope", json!("openid admin")).mint();
    let scopes = |token: &str| {
        let verified = memory.verify(token).unwrap();
        verified
            .token
            .scopes()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(scopes(&more), ["openid", "admin"]);
        assert_eq!(
            scopes(&Mint::user().claim("scope", json!("openid")).mint()),
            ["openid"]
        );
    }
}

#[test]
fn an_audience_ignored_on_a_hit() {
    let World { keys, verifier, .. } = World::with(|settings| {
        settings.api_audiences = vec!["https://api.example.com".to_owned()];
    });
    let clock = ManualClock::new(NOW);
    let memory = Memory {
        keys,
        cached: CachedVerifier::new(verifier, 100, LONG, Arc::new(clock.clone())),
        clock,
    };
    let good = Mint::user()
        .claim("aud", json!(["tenant_acme", "https://api.example.com"]))
        .mint();
    let other = Mint::user().mint();
    for _ in 0..2 {
        assert!(memory.verify(&good).is_ok());
        assert_eq!(memory.verify(&other).unwrap_err(), Reason::WrongAudience);
    }
}

#[test]
fn a_verdict_that_survives_its_key() {
    let robot = KeySetId::Client(ROBOT.into());
    let account = KeySetId::Issuer(ISSUER.into());
    for (token, set, kid, seed) in [
        (Mint::user(), account, "account1", PROVIDER_KEY),
        (Mint::machine(), robot, "robot1", ROBOT_KEY),
    ] {
        let memory = remembering(&token);
        memory.keys.set(&set, kid, None);
        for _ in 0..2 {
            assert_eq!(
                memory.verify(&token.mint()).unwrap_err(),
                Reason::UnknownKey
            );
        }
        // Its name is given to another key.
        memory.keys.set(&set, kid, Some(STRANGERS_KEY));
        assert_eq!(
            memory.verify(&token.mint()).unwrap_err(),
            Reason::BadSignature
        );
        memory.keys.set(&set, kid, Some(seed));
        assert!(memory.verify(&token.mint()).is_ok());
        // Without a refusal in between.
        assert_eq!(memory.outcome(&token.mint()), CacheOutcome::Hit);
        memory.keys.set(&set, kid, Some(STRANGERS_KEY));
        assert_eq!(
            memory.verify(&token.mint()).unwrap_err(),
            Reason::BadSignature
        );
    }
}

#[test]
fn a_verdict_that_survives_exp() {
    let token = Mint::user().claim("exp", json!(NOW_SECS + 10));
    let memory = remembering(&token);
    memory.clock.advance(Duration::from_secs(40));
    for _ in 0..3 {
        assert_eq!(memory.verify(&token.mint()).unwrap_err(), Reason::Expired);
    }
}

#[test]
fn a_verdict_that_begins_before_its_time() {
    let token = Mint::user().claim("nbf", json!(NOW_SECS - 10));
    let memory = remembering(&token);
    memory
        .clock
        .set(NOW.saturating_sub(Duration::from_secs(50)));
    let early = memory.verify(&token.mint()).unwrap_err();
    assert_eq!(early, Reason::NotYetValid);
}

#[test]
fn a_verdict_of_another_tenant() {
    let memory = remembering(&Mint::user());
    let abroad = Mint::user().claim("aud", json!(["tenant_globex"])).mint();
    for (token, tenant) in [
        (abroad, "tenant_globex"),
        (Mint::user().mint(), "tenant_acme"),
    ] {
        for _ in 0..2 {
            let verified = memory.verify(&token).unwrap();
            let tenants = verified.token.tenant_candidates();
            assert_eq!(tenants.len(), 1);
            assert_eq!(&*tenants[0], tenant);
        }
    }
}
