//! `exp`, `iat` and `nbf`, to the edge.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Mint, NOW, NOW_SECS, World};
use crate::{clock::Timestamp, error::Reason};

fn user(claim: &str, value: Value) -> Mint {
    Mint::user().claim(claim, value)
}

fn machine(claim: &str, value: Value) -> Mint {
    Mint::machine().claim(claim, value)
}

#[test]
fn exp_and_iat_are_required() {
    let world = World::new();
    for claim in ["exp", "iat"] {
        world.refuses(&Mint::user().without(claim), Reason::MissingClaim);
        world.refuses(&Mint::machine().without(claim), Reason::MissingClaim);
    }
}

#[test]
fn a_moment_is_a_number_that_can_be_one() {
    let world = World::new();
    for claim in ["exp", "iat", "nbf"] {
        for value in [
            json!(null),
            json!(NOW_SECS.to_string()),
            json!([NOW_SECS]),
            json!({}),
            json!(true),
            json!(-1),
            json!(-0.5),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
            json!(-1e300),
            json!(253_402_300_800_i64),
        ] {
            world.refuses(&user(claim, value.clone()), Reason::BadClaim);
            world.refuses(&machine(claim, value), Reason::BadClaim);
        }
    }
}

#[test]
fn a_moment_may_have_a_fraction() {
    let world = World::new();
    let token = world.accepts(&user("exp", json!(NOW_SECS as f64 + 60.75)));
    assert_eq!(
        token.expires_at(),
        Timestamp::from_millis(NOW_SECS * 1_000 + 60_750)
    );
    let token = world.accepts(&user("iat", json!(NOW_SECS as f64)));
    assert_eq!(token.issued_at(), NOW);
}

#[test]
fn expired_on_or_after_exp_and_leeway() {
    let world = World::new();
    for token in [Mint::user(), Mint::machine()] {
        let token = token.claim("exp", json!(NOW_SECS)).mint();
        let end = Timestamp::from_secs(NOW_SECS + 30);
        let before = Timestamp::from_millis(end.as_millis() - 1);
        assert!(world.verify_at(&token, before).is_ok());
        for after in [
            end,
            end + Duration::from_secs(1),
            Timestamp::from_millis(i64::MAX),
        ] {
            assert_eq!(world.verify_at(&token, after).unwrap_err(), Reason::Expired);
        }
    }
    // What else is wrong with its times does not hide that it has expired.
    world.refuses(&user("exp", json!(NOW_SECS - 3_600)), Reason::Expired);
    world.refuses(&user("exp", json!(0)), Reason::Expired);
}

#[test]
fn without_leeway_exp_is_the_end() {
    let world = World::with(|settings| settings.token_leeway = Duration::ZERO);
    world.refuses(&user("exp", json!(NOW_SECS)), Reason::Expired);
    world.accepts(&user("exp", json!(NOW_SECS + 1)));
}

#[test]
fn not_before_its_time() {
    let world = World::new();
    for claim in ["iat", "nbf"] {
        world.accepts(&user(claim, json!(NOW_SECS + 30)));
        world.accepts(&machine(claim, json!(NOW_SECS + 30)));
        world.refuses(&user(claim, json!(NOW_SECS + 31)), Reason::NotYetValid);
        world.refuses(&machine(claim, json!(NOW_SECS + 31)), Reason::NotYetValid);
        world.refuses(
            &user(claim, json!(NOW_SECS as f64 + 30.5)),
            Reason::NotYetValid,
        );
    }
    world.accepts(&user("nbf", json!(0)));
}

#[test]
fn issued_before_it_expires() {
    let world = World::new();
    let token = |iat: i64| user("iat", json!(iat)).claim("exp", json!(NOW_SECS + 10));
    world.refuses(&token(NOW_SECS + 11), Reason::BadClaim);
    world.accepts(&token(NOW_SECS + 10));
}

#[test]
fn lives_no_longer_than_allowed() {
    let world = World::new();
    for token in [Mint::user(), Mint::machine()] {
        let issued = NOW_SECS - 60;
        let lives = |secs: i64| token.clone().claim("exp", json!(issued + secs));
        world.accepts(&lives(86_400));
        world.accepts(&lives(86_430));
        world.refuses(&lives(86_431), Reason::LifetimeTooLong);
        world.refuses(&lives(200_000_000_000), Reason::LifetimeTooLong);
    }
    world.refuses(&user("iat", json!(0)), Reason::LifetimeTooLong);
}
