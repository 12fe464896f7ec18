//! Whose keys may prove a token: decided by the exact issuer, before anything is asked.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use super::world::{
    ISSUER, Mint, ORIGIN, OTHER_ROBOT, OTHER_ROBOT_KEY, OWN, PROVIDER_KEY, ROBOT, ROBOT_KEY,
    SECOND_ISSUER, SECOND_ISSUER_KEY, SECOND_ORIGIN, STRANGERS_KEY, World, access_key,
};
use crate::{
    error::{Code, Reason},
    token::{TokenClass, is_client_id},
};

fn client_issuer(origin: &str, id: &str) -> serde_json::Value {
    json!(format!("{origin}/v1/clients/{id}"))
}

#[test]
fn users_and_machines() {
    let world = World::new();
    let token = world.accepts(&Mint::user());
    assert_eq!(token.class(), TokenClass::User);
    assert_eq!(**token.issuer(), *ISSUER);
    let token = world.accepts(&Mint::machine());
    assert_eq!(token.class(), TokenClass::Machine);
    assert_eq!(**token.issuer(), *format!("{ORIGIN}/v1/clients/{ROBOT}"));
    assert_eq!((token.subject(), &**token.client_id()), (ROBOT, ROBOT));
}

#[test]
fn every_configured_issuer_counts() {
    let world = World::new();
    let second = Mint::user()
        .claim("iss", json!(SECOND_ISSUER))
        .header("kid", json!("second1"))
        .signed_by(SECOND_ISSUER_KEY);
    world.accepts(&second);
    world.accepts(&Mint::machine().claim("iss", client_issuer(SECOND_ORIGIN, ROBOT)));
}

#[test]
fn an_issuer_is_compared_byte_for_byte() {
    let world = World::new();
    for issuer in [
        "https://auth.example.com/",
        "https://auth.example.com:443",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "//auth.example.com",
        "auth.example.com",
        "https://auth.example.com.",
        "https://auth.example.com/.",
        "https://auth.example.com?",
        "https://auth.example.com#",
        "https://user@auth.example.com",
        "https://auth.example.com@attacker.example",
        "https://auth.example.com.attacker.example",
        "https://attacker.example/https://auth.example.com",
        "https://%61uth.example.com",
        " https://auth.example.com",
        "https://auth.example.com ",
        "https://auth.example.co",
        "https://\u{ff41}uth.example.com",
        "x",
    ] {
        let token = Mint::user().claim("iss", json!(issuer));
        world.refuses_unasked(&token, Reason::UnknownIssuer);
    }
    for value in [
        json!(""),
        json!(null),
        json!([ISSUER]),
        json!({ "a": ISSUER }),
        json!(1),
    ] {
        world.refuses_unasked(&Mint::user().claim("iss", value), Reason::BadClaim);
    }
    world.refuses_unasked(&Mint::user().claim("iss", json!("x\n")), Reason::BadClaim);
    world.refuses_unasked(&Mint::user().without("iss"), Reason::MissingIssuer);
}

#[test]
fn a_clients_issuer_has_one_form() {
    let world = World::new();
    for issuer in [
        format!("{ORIGIN}/v1/clients/{ROBOT}/"),
        format!("{ORIGIN}/v1/clients/{ROBOT}?"),
        format!("{ORIGIN}/v1/clients/{ROBOT}#x"),
        format!("{ORIGIN}/v1/clients//{ROBOT}"),
        format!("{ORIGIN}//v1/clients/{ROBOT}"),
        format!("{ORIGIN}/v2/clients/{ROBOT}"),
        format!("{ORIGIN}/V1/clients/{ROBOT}"),
        format!("{ORIGIN}/v1/clients/./{ROBOT}"),
        format!("{ORIGIN}/v1/clients/x/../{ROBOT}"),
        format!("{ORIGIN}/v1/clients/../clients/{ROBOT}"),
        format!("{ORIGIN}/v1/clients/%73c_robot01"),
        format!("{ORIGIN}/v1/clients%2F{ROBOT}"),
        format!("{ORIGIN}/v1/clients/{ROBOT}%00"),
        format!("{ORIGIN}/v1/clients/{ROBOT}%2f"),
        format!("{ORIGIN}/v1/clients/{ROBOT};a"),
        format!("{ORIGIN}\\v1\\clients\\{ROBOT}"),
        format!("{ORIGIN}:443/v1/clients/{ROBOT}"),
        format!("http://auth.example.com/v1/clients/{ROBOT}"),
        format!("https://AUTH.example.com/v1/clients/{ROBOT}"),
        format!("https://u:p@auth.example.com/v1/clients/{ROBOT}"),
        // An issuer of people is not one of clients.
        format!("{SECOND_ISSUER}/v1/clients/{ROBOT}"),
        format!("https://attacker.example/v1/clients/{ROBOT}"),
        format!("{ORIGIN}/v1/clients/"),
        format!("{ORIGIN}/v1/clients"),
        format!("{ORIGIN}/v1/clients/app_web01"),
        format!("{ORIGIN}/v1/clients/user_ada"),
        format!("{ORIGIN}/v1/clients/SC_robot01"),
        format!("{ORIGIN}/v1/clients/sc_"),
        format!("{ORIGIN}/v1/clients/sc_1234"),
        format!("{ORIGIN}/v1/clients/sc_{}", "a".repeat(31)),
        format!("{ORIGIN}/v1/clients/sc_robot-1"),
        // The id of a client of old.
        format!("{ORIGIN}/v1/clients/0190a1b2-0000-7000-8000-000000000001"),
    ] {
        let token = Mint::machine().claim("iss", json!(issuer));
        world.refuses_unasked(&token, Reason::UnknownIssuer);
    }
    assert!(world.clients.asked_for.lock().unwrap().is_empty());
}

#[test]
fn ids_of_clients() {
    for id in ["sc_12345", "ext_abcDE", "scauth_00000", "authress_abcde"] {
        assert!(is_client_id(id), "{id}");
    }
    let longest = format!("sc_{}", "z".repeat(30));
    assert!(is_client_id(&longest));
    for id in [
        "",
        "sc_",
        "sc_1234",
        "sc-12345",
        "sc_1234_",
        "sc_1234\u{e9}",
        "app_12345",
        "xsc_12345",
    ] {
        assert!(!is_client_id(id), "{id}");
    }
    assert!(!is_client_id(&format!("{longest}z")));
}

#[test]
fn should_a_clients_issuer_be_configured_for_people_it_still_is_a_clients() {
    let issuer = format!("{ORIGIN}/v1/clients/{ROBOT}");
    let world = World::with(|settings| settings.issuers.push(issuer.as_str().into()));
    let forged = Mint::user()
        .claim("iss", json!(issuer))
        .header("kid", json!("robot1"))
        .signed_by(ROBOT_KEY);
    world.refuses(&forged, Reason::SubjectMismatch);
    assert_eq!(world.accepts(&Mint::machine()).class(), TokenClass::Machine);
}

#[test]
fn a_kid_means_something_in_its_own_set_only() {
    let world = World::new();
    // Another issuer's key, under that issuer's name for it.
    let foreign = Mint::user()
        .header("kid", json!("second1"))
        .signed_by(SECOND_ISSUER_KEY);
    world.refuses(&foreign, Reason::UnknownKey);
    // A client has a key that it named like the provider's, and signs as the provider.
    world.refuses(&Mint::user().signed_by(ROBOT_KEY), Reason::BadSignature);
    // Two clients whose keys have one name.
    world.refuses(
        &Mint::machine().signed_by(OTHER_ROBOT_KEY),
        Reason::BadSignature,
    );
    // The provider does not sign for clients.
    world.refuses(
        &Mint::machine().signed_by(PROVIDER_KEY),
        Reason::BadSignature,
    );
    world.refuses(
        &Mint::machine().header("kid", json!("robot2")),
        Reason::UnknownKey,
    );
}

#[test]
fn a_client_speaks_for_itself_only() {
    let world = World::new();
    for subject in [OTHER_ROBOT, "user_ada", "sc_robot011", "SC_robot01"] {
        let token = Mint::machine().claim("sub", json!(subject));
        world.refuses(&token, Reason::SubjectMismatch);
    }
    // Another's issuer needs another's key.
    let token = Mint::machine()
        .claim("iss", client_issuer(ORIGIN, OTHER_ROBOT))
        .claim("sub", json!(OTHER_ROBOT))
        .claim("client_id", json!(OTHER_ROBOT));
    world.refuses(&token, Reason::BadSignature);
    world.accepts(&token.signed_by(OTHER_ROBOT_KEY));
}

#[test]
fn a_client_unknown_here_costs_no_call() {
    let world = World::new();
    let token = Mint::machine()
        .claim("iss", client_issuer(ORIGIN, "sc_stranger1"))
        .claim("sub", json!("sc_stranger1"))
        .claim("client_id", json!("sc_stranger1"));
    world.refuses_unasked(&token, Reason::UnregisteredClient);
    assert_eq!(Reason::UnregisteredClient.code(), Code::InvalidToken);
    assert_eq!(*world.clients.asked_for.lock().unwrap(), ["sc_stranger1"]);
}

#[test]
fn users_ask_for_no_client() {
    let world = World::new();
    world.accepts(&Mint::user());
    assert!(world.clients.asked_for.lock().unwrap().is_empty());
}

#[test]
fn our_own_client_is_never_a_caller() {
    // Also where it was registered somehow, and signed with its true key.
    let world = World::with(|settings| settings.allow_client_issued_users = true);
    let own = Mint::machine()
        .claim("iss", client_issuer(ORIGIN, OWN))
        .claim("sub", json!(OWN))
        .claim("client_id", json!(OWN))
        .header("kid", json!("k1"))
        .signed_by(7);
    world.refuses_unasked(&own, Reason::OwnClient);
    world.refuses(
        &Mint::user().claim("client_id", json!(OWN)),
        Reason::OwnClient,
    );
    // A client of old, whose id says nothing.
    let world = World::with(|settings| settings.access_key = access_key("0190a1b2"));
    for claim in ["sub", "client_id"] {
        let token = Mint::user().claim(claim, json!("0190a1b2"));
        world.refuses(&token, Reason::OwnClient);
    }
}

#[test]
fn outages_are_told_apart_from_bad_tokens() {
    let world = World::new();
    world.clients.down.store(true, SeqCst);
    world.refuses_unasked(&Mint::machine(), Reason::StorageUnavailable);
    world.clients.down.store(false, SeqCst);
    world.keys.down.store(true, SeqCst);
    for token in [
        Mint::user(),
        Mint::machine(),
        Mint::user().signed_by(STRANGERS_KEY),
    ] {
        world.refuses(&token, Reason::ProviderUnavailable);
    }
}

#[test]
fn before_the_signature_is_proven_the_wire_learns_nothing() {
    let world = World::new();
    // Whatever the claims say: expired, unknown, absurd.
    for (claim, value) in [
        ("exp", json!(1)),
        ("exp", json!("x")),
        ("sub", json!("")),
        ("aud", json!(5)),
        ("client_id", json!("sc_robot01")),
    ] {
        for token in [Mint::user(), Mint::machine()] {
            let token = token.claim(claim, value.clone()).signed_by(STRANGERS_KEY);
            world.refuses(&token, Reason::BadSignature);
        }
    }
    assert_eq!(Reason::BadSignature.code(), Code::InvalidToken);
}
