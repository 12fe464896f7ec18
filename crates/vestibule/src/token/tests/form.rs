//! Three parts, canonical base64url, JSON objects with every member once.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::world::{Mint, World};
use crate::{bearer::MAX_TOKEN_BYTES, error::Reason};

#[test]
fn three_parts_or_none() {
    let world = World::new();
    let token = Mint::user().mint();
    let (signing_input, _) = token.rsplit_once('.').unwrap();
    for text in [
        "a",
        "a.b",
        signing_input,
        &format!("{token}.{token}"),
        &format!("{token}."),
        &format!(".{token}"),
        "....",
        // JWE compact serialization has five parts (RFC 7516 §7.1).
        "a.b.c.d.e",
    ] {
        assert_eq!(
            world.verify_text(text).unwrap_err(),
            Reason::NotThreeParts,
            "{text}"
        );
    }
    assert_eq!(world.verify_text("..").unwrap_err(), Reason::BadJson);
    assert_eq!(world.keys.asked(), 0);
}

#[test]
fn an_access_key_is_recognised() {
    let world = World::new();
    let secret = STANDARD.encode([7; 48]);
    for text in [
        format!("sc_robot01.k1.test.{secret}"),
        format!("robot.k1.test.MC4CAQAw{secret}"),
    ] {
        assert_eq!(
            world.verify_text(&text).unwrap_err(),
            Reason::AccessKeyShaped
        );
    }
    assert_eq!(
        world.verify_text("a.b.c.d").unwrap_err(),
        Reason::NotThreeParts
    );
}

#[test]
fn each_part_is_canonical_base64url() {
    let world = World::new();
    let token = Mint::user().mint();
    let parts: Vec<&str> = token.split('.').collect();
    for part in 0..3 {
        for broken in [
            format!("{}+", parts[part]),
            format!("{}/", parts[part]),
            format!("{}~", parts[part]),
            // A length that no encoding has.
            format!("{}A", "A".repeat(4 * (parts[part].len() / 4))),
        ] {
            let mut parts = parts.clone();
            parts[part] = &broken;
            let found = world.verify_text(&parts.join(".")).unwrap_err();
            assert_eq!(found, Reason::BadBase64, "{broken}");
        }
    }
    assert_eq!(
        world.verify_text(&format!("{token}==")).unwrap_err(),
        Reason::BadBase64
    );
    assert_eq!(world.keys.asked(), 0);
}

#[test]
fn unused_bits_are_zero() {
    let world = World::new();
    // 64 bytes leave four unused bits in the last character.
    let token = Mint::user().mint();
    let (rest, last) = token.split_at(token.len() - 1);
    assert!("AQgw".contains(last), "{last}");
    let next = char::from(last.as_bytes()[0] + 1);
    let found = world.verify_text(&format!("{rest}{next}")).unwrap_err();
    assert_eq!(found, Reason::BadBase64);
}

#[test]
fn header_and_claims_are_objects() {
    let world = World::new();
    for text in [
        "",
        "null",
        "[]",
        "1",
        "\"a\"",
        "{",
        "{}{}",
        "\u{feff}{}",
        "{\"a\":\"\u{0}\"}",
    ] {
        let mut header = Mint::user();
        header.header = text.to_owned();
        world.refuses_unasked(&header, Reason::BadJson);
        let mut claims = Mint::user();
        claims.claims = text.to_owned();
        world.refuses_unasked(&claims, Reason::BadJson);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let world = World::new();
    let token = Mint::user().mint();
    let parts: Vec<&str> = token.split('.').collect();
    // {"a":"<ff>"}
    for text in [
        format!("eyJhIjoi_yJ9.{}.{}", parts[1], parts[2]),
        format!("{}.eyJhIjoi_yJ9.{}", parts[0], parts[2]),
    ] {
        assert_eq!(world.verify_text(&text).unwrap_err(), Reason::BadJson);
    }
}

#[test]
fn every_member_occurs_once() {
    let world = World::new();
    for addition in [
        r#""alg":"EdDSA","#,
        r#""kid":"account1","#,
        r#""k\u0069d":"account1","#,
        r#""typ":"JWT","#,
        r#""x":1,"x":1,"#,
        r#""x":{"y":1,"y":1},"#,
    ] {
        let mut token = Mint::user();
        token.header = token.header.replacen('{', &format!("{{{addition}"), 1);
        world.refuses_unasked(&token, Reason::DuplicateMember);
    }
    for addition in [
        r#""iss":"https://auth.example.com","#,
        r#""sub":"user_ada","#,
        r#""s\u0075b":"user_bob","#,
        r#""aud":"tenant_other","#,
        r#""exp":9999999999,"#,
        r#""iat":1,"#,
        r#""client_id":"app_web01","#,
        r#""custom":1,"custom":1,"#,
        r#""custom":[{"a":1,"a":1}],"#,
    ] {
        let mut token = Mint::user();
        token.claims = token.claims.replacen('{', &format!("{{{addition}"), 1);
        world.refuses_unasked(&token, Reason::DuplicateMember);
    }
}

#[test]
fn the_longest_token_is_judged() {
    let world = World::new();
    let mut filler = 0;
    loop {
        let token = Mint::user()
            .claim("filler", "x".repeat(filler).into())
            .mint();
        match MAX_TOKEN_BYTES.checked_sub(token.len()) {
            Some(0..=3) => {
                assert!(world.verify_text(&token).is_ok());
                let longer = Mint::user()
                    .claim("filler", "x".repeat(filler + 6).into())
                    .mint();
                assert_eq!(
                    world.verify_text(&longer).unwrap_err(),
                    Reason::TokenTooLong
                );
                return;
            }
            Some(missing) => filler += (missing / 4 * 3).max(1),
            None => panic!("jumped over the limit"),
        }
    }
}
