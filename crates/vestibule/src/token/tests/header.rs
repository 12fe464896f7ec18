//! One algorithm, one form of `kid`, the right type, no key of its own.

use serde_json::json;

use super::world::{Mint, World};
use crate::error::Reason;

#[test]
fn starts_from_accepted_tokens() {
    let world = World::new();
    world.accepts(&Mint::user());
    world.accepts(&Mint::machine());
}

#[test]
fn one_algorithm() {
    let world = World::new();
    for alg in [
        json!("none"),
        json!("None"),
        json!("HS256"),
        json!("RS256"),
        json!("RS512"),
        json!("PS256"),
        json!("ES256"),
        json!("ES256K"),
        json!("eddsa"),
        json!("EDDSA"),
        json!("EdDSA "),
        json!("Ed25519"),
        json!("Ed448"),
        json!(""),
        json!(null),
        json!(["EdDSA"]),
        json!(1),
    ] {
        for token in [Mint::user(), Mint::machine()] {
            let token = token.header("alg", alg.clone());
            world.refuses_unasked(&token, Reason::UnsupportedAlgorithm);
        }
    }
    world.refuses_unasked(
        &Mint::user().without_header("alg"),
        Reason::UnsupportedAlgorithm,
    );
}

#[test]
fn no_critical_extensions() {
    let world = World::new();
    for crit in [
        json!(["b64"]),
        json!([]),
        json!(["exp"]),
        json!(null),
        json!("exp"),
    ] {
        let token = Mint::user()
            .header("crit", crit)
            .header("b64", json!(false));
        world.refuses_unasked(&token, Reason::CriticalHeader);
    }
}

#[test]
fn no_keys_of_its_own() {
    let world = World::new();
    for member in ["jwk", "jku", "x5u", "x5c"] {
        for value in [
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            json!("https://attacker.example/jwks"),
            json!(["MIIB"]),
            json!(null),
        ] {
            world.refuses_unasked(&Mint::user().header(member, value), Reason::EmbeddedKey);
        }
    }
}

#[test]
fn what_a_standard_says_to_ignore_is_ignored() {
    let world = World::new();
    for (member, value) in [
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("cty", json!("JWT")),
        ("b64", json!(true)),
        ("b64", json!(false)),
        ("unknown", json!({ "deep": [1, null, { "x": 1.5 }] })),
        ("JWK", json!(1)),
    ] {
        world.accepts(&Mint::user().header(member, value));
    }
}

#[test]
fn kid_has_one_form() {
    let world = World::new();
    for kid in [
        json!(""),
        json!("a b"),
        json!("../account1"),
        json!("account1?x=1"),
        json!("account1#"),
        json!("account1\n"),
        json!("acc\u{f6}unt1"),
        json!("a".repeat(65)),
        json!(null),
        json!(1),
        json!(["account1"]),
    ] {
        world.refuses_unasked(&Mint::user().header("kid", kid), Reason::BadKeyId);
    }
    world.refuses_unasked(&Mint::user().without_header("kid"), Reason::BadKeyId);
    world.refuses(
        &Mint::user().header("kid", json!("a".repeat(64))),
        Reason::UnknownKey,
    );
    world.refuses(
        &Mint::user().header("kid", json!("Account1")),
        Reason::UnknownKey,
    );
    world.refuses(
        &Mint::user().header("kid", json!("_-9aZ")),
        Reason::UnknownKey,
    );
}

#[test]
fn types_of_users() {
    let world = World::new();
    for typ in [
        "at+jwt",
        "AT+JWT",
        "at+JWT",
        "application/at+jwt",
        "Application/AT+jwt",
    ] {
        world.accepts(&Mint::user().header("typ", json!(typ)));
    }
    for typ in [
        // An identity token, and a login code.
        json!("JWT"),
        json!("jwt"),
        json!("application/jwt"),
        json!("oauth-authz-req+jwt"),
        json!("id+jwt"),
        json!("at+jwt; a=b"),
        json!("text/at+jwt"),
        json!("/at+jwt"),
        json!("application/application/at+jwt"),
        json!("at+jwt "),
        json!(""),
        json!(null),
        json!(["at+jwt"]),
    ] {
        world.refuses_unasked(&Mint::user().header("typ", typ), Reason::WrongType);
    }
    world.refuses_unasked(&Mint::user().without_header("typ"), Reason::WrongType);
}

#[test]
fn types_of_machines() {
    let world = World::new();
    for typ in [
        "at+jwt",
        "JWT",
        "jwt",
        "application/at+jwt",
        "application/jwt",
    ] {
        world.accepts(&Mint::machine().header("typ", json!(typ)));
    }
    for typ in [
        json!("oauth-authz-req+jwt"),
        json!("dpop+jwt"),
        json!("application/oauth-authz-req+jwt"),
        json!("J"),
        json!(null),
    ] {
        world.refuses_unasked(&Mint::machine().header("typ", typ), Reason::WrongType);
    }
    world.refuses_unasked(&Mint::machine().without_header("typ"), Reason::WrongType);
}
