//! Each claim: from an accepted token, one thing changed, one reason.

use serde_json::{Value, json};

use super::world::{AUDIENCE, ISSUER, Mint, NOW_SECS, OTHER_ROBOT, ROBOT, World};
use crate::{clock::Timestamp, error::Reason, token::VerifiedToken};

const NO_TEXTS: [fn() -> Value; 6] = [
    || json!(null),
    || json!(1),
    || json!(true),
    || json!({}),
    || json!(["a"]),
    || json!(""),
];

fn tenants(token: &VerifiedToken) -> Vec<&str> {
    token
        .tenant_candidates()
        .iter()
        .map(|tenant| &**tenant)
        .collect()
}

fn scopes(token: &VerifiedToken) -> Vec<&str> {
    token.scopes().iter().map(|scope| &**scope).collect()
}

fn user(claim: &str, value: Value) -> Mint {
    Mint::user().claim(claim, value)
}

fn machine(claim: &str, value: Value) -> Mint {
    Mint::machine().claim(claim, value)
}

#[test]
fn what_a_users_token_states() {
    let token = World::new().accepts(&Mint::user());
    assert_eq!(**token.issuer(), *ISSUER);
    assert_eq!(token.subject(), "user_ada");
    assert_eq!(**token.client_id(), *"app_web01");
    assert_eq!(token.authorized_party(), Some("con_acme"));
    assert_eq!(tenants(&token), ["tenant_acme"]);
    assert_eq!(scopes(&token), ["openid", "profile"]);
    assert_eq!(token.issued_at(), Timestamp::from_secs(NOW_SECS - 60));
    assert_eq!(token.expires_at(), Timestamp::from_secs(NOW_SECS + 3_600));
}

#[test]
fn a_token_is_first_used_once() {
    let token = World::new().accepts(&Mint::user());
    let same = token.clone();
    assert!(token.first_use());
    assert!(!token.first_use() && !same.first_use());
}

#[test]
fn nothing_that_a_machine_writes_grants_anything() {
    let token = Mint::machine()
        .claim("azp", json!("con_acme"))
        .claim("scope", json!("admin"))
        .claim("scopes", json!("admin"))
        .claim("tenant", json!("tenant_acme"));
    let world = World::with(|settings| settings.tenant_claim = "tenant".to_owned());
    let token = world.accepts(&token);
    assert!(token.scopes().is_empty());
    assert!(token.tenant_candidates().is_empty());
    assert_eq!(token.authorized_party(), None);
}

// --- users ---

#[test]
fn a_users_subject() {
    let world = World::new();
    world.refuses(&Mint::user().without("sub"), Reason::MissingClaim);
    for value in NO_TEXTS {
        world.refuses(&user("sub", value()), Reason::BadClaim);
    }
    let longest = "u".repeat(128);
    for subject in [
        "u",
        "google-oauth2|1234",
        "a+b._|/~:@c -d",
        "...",
        "../tenants/x",
        &longest,
    ] {
        assert_eq!(
            world.accepts(&user("sub", json!(subject))).subject(),
            subject
        );
    }
    for subject in [
        "u".repeat(129),
        "u".repeat(600),
        ".".into(),
        "..".into(),
        "user\n".into(),
        "user\t1".into(),
        "user\u{a0}1".into(),
        "us\u{e9}r".into(),
        "user?".into(),
        "user#".into(),
        "user%41".into(),
        "user\\1".into(),
        "user\u{0}".into(),
    ] {
        world.refuses(&user("sub", json!(subject)), Reason::BadClaim);
    }
}

#[test]
fn a_client_is_no_person() {
    let world = World::new();
    for subject in [
        ROBOT,
        OTHER_ROBOT,
        "ext_abcde",
        "scauth_abcde",
        "authress_abcde",
        "sc_x",
        "app_web01",
    ] {
        world.refuses(&user("sub", json!(subject)), Reason::SubjectMismatch);
    }
    // The shape that the provider might give to `client_credentials`.
    let token = user("sub", json!(ROBOT)).claim("client_id", json!(ROBOT));
    world.refuses(&token, Reason::SubjectMismatch);
    world.accepts(&user("sub", json!("score_1")));
}

#[test]
fn a_users_client_id() {
    let world = World::new();
    world.refuses(&Mint::user().without("client_id"), Reason::MissingClaim);
    for value in NO_TEXTS {
        world.refuses(&user("client_id", value()), Reason::BadClaim);
    }
    for client_id in ["app web", "app\n", "\u{e4}pp", &"a".repeat(129)] {
        world.refuses(&user("client_id", json!(client_id)), Reason::BadClaim);
    }
    world.accepts(&user("client_id", json!("AUTHRESS")));
    world.accepts(&user("client_id", json!("a".repeat(128))));
}

#[test]
fn a_client_that_obtained_a_users_token() {
    let clients = [
        ROBOT,
        "ext_abcde",
        "scauth_abcde",
        "authress_abcde",
        "sc_not-quite",
    ];
    let world = World::new();
    for client_id in clients {
        world.refuses(
            &user("client_id", json!(client_id)),
            Reason::ClientIssuedUser,
        );
    }
    let world = World::with(|settings| settings.allow_client_issued_users = true);
    for client_id in clients {
        let token = world.accepts(&user("client_id", json!(client_id)));
        assert_eq!(**token.client_id(), *client_id);
    }
}

#[test]
fn only_accepted_applications_where_there_is_a_list() {
    let world = World::with(|settings| {
        settings.applications = vec!["app_web01".into(), ROBOT.into()];
    });
    world.accepts(&Mint::user());
    for client_id in ["app_web02", "app_web0", "APP_WEB01"] {
        world.refuses(
            &user("client_id", json!(client_id)),
            Reason::NotAnApplication,
        );
    }
    // Being listed does not make a client an application.
    world.refuses(&user("client_id", json!(ROBOT)), Reason::ClientIssuedUser);
    // The list is about users.
    world.accepts(&Mint::machine());
}

#[test]
fn a_users_connection() {
    let world = World::new();
    assert_eq!(
        world
            .accepts(&Mint::user().without("azp"))
            .authorized_party(),
        None
    );
    for value in NO_TEXTS {
        world.refuses(&user("azp", value()), Reason::BadClaim);
    }
    world.accepts(&user("azp", json!("c".repeat(128))));
    world.refuses(&user("azp", json!("c".repeat(129))), Reason::BadClaim);
    world.refuses(&user("azp", json!("con\n")), Reason::BadClaim);
}

#[test]
fn audiences_are_texts() {
    let world = World::new();
    for value in [
        json!(null),
        json!(1),
        json!({}),
        json!(""),
        json!([""]),
        json!([1]),
        json!([null]),
        json!([["tenant_acme"]]),
        json!(["tenant_acme", 1]),
        json!("tenant\n"),
        json!("t".repeat(129)),
        json!(["t".repeat(600)]),
        json!(vec!["tenant_acme"; 65]),
    ] {
        world.refuses(&user("aud", value.clone()), Reason::BadClaim);
    }
    world.accepts(&user("aud", json!(vec!["tenant_acme"; 64])));
}

#[test]
fn tenant_candidates() {
    let world = World::with(|settings| {
        settings.api_audiences = vec!["api_notes".into(), "urn:notes".into()];
    });
    let api = "api_notes";
    for (aud, expected) in [
        (json!(["tenant_acme", api]), vec!["tenant_acme"]),
        (json!([api]), vec![]),
        (json!(api), vec![]),
        (json!([api, "urn:notes"]), vec![]),
        (json!([api, "https://api.authress.io"]), vec![]),
        (json!([api, "://"]), vec![]),
        (json!(["b", api, "a", "b"]), vec!["b", "a"]),
        (
            json!([api, "api_notes2", "API_NOTES"]),
            vec!["api_notes2", "API_NOTES"],
        ),
        (json!([api, "urn:other"]), vec!["urn:other"]),
        (json!([api, "t".repeat(128)]), vec![&*"t".repeat(128)]),
        // A URL may be longer than a tenant's id.
        (json!([api, format!("https://{}", "a".repeat(200))]), vec![]),
    ] {
        assert_eq!(tenants(&world.accepts(&user("aud", aud))), expected);
    }
    let world = World::new();
    assert!(tenants(&world.accepts(&Mint::user().without("aud"))).is_empty());
    assert!(tenants(&world.accepts(&user("aud", json!([])))).is_empty());
    assert_eq!(
        tenants(&world.accepts(&user("aud", json!("tenant_acme")))),
        ["tenant_acme"]
    );
    assert_eq!(
        tenants(&world.accepts(&user("aud", json!(["a", "b"])))),
        ["a", "b"]
    );
}

#[test]
fn an_api_must_be_named_where_there_is_a_list() {
    let world =
        World::with(|settings| settings.api_audiences = vec!["api_a".into(), "api_b".into()]);
    for aud in [
        json!("api_a"),
        json!(["api_b"]),
        json!(["tenant_acme", "api_b"]),
    ] {
        world.accepts(&user("aud", aud));
    }
    for aud in [
        json!([]),
        json!(["tenant_acme"]),
        json!("API_A"),
        json!("api_a/"),
    ] {
        world.refuses(&user("aud", aud), Reason::WrongAudience);
    }
    world.refuses(&Mint::user().without("aud"), Reason::WrongAudience);
    // The list is about users.
    world.accepts(&Mint::machine());
}

#[test]
fn another_claim_may_name_the_tenant() {
    let world = World::with(|settings| settings.tenant_claim = "tenant".to_owned());
    assert!(tenants(&world.accepts(&Mint::user())).is_empty());
    for (value, expected) in [
        (json!("tenant_x"), vec!["tenant_x"]),
        (
            json!(["tenant_x", "tenant_y", "https://x"]),
            vec!["tenant_x", "tenant_y"],
        ),
    ] {
        assert_eq!(tenants(&world.accepts(&user("tenant", value))), expected);
    }
    for value in [
        json!(null),
        json!(1),
        json!({}),
        json!([1]),
        json!(""),
        json!(vec!["t"; 65]),
    ] {
        world.refuses(&user("tenant", value), Reason::BadClaim);
    }
    // `aud` is judged all the same.
    world.refuses(&user("aud", json!(1)), Reason::BadClaim);
    // One of the claims that are read anyway.
    for claim in ["azp", "client_id", "scope"] {
        let world = World::with(|settings| settings.tenant_claim = claim.to_owned());
        let token = world.accepts(&user(claim, json!("tenant_acme")));
        assert_eq!(tenants(&token), ["tenant_acme"], "{claim}");
    }
}

/// Only the claim that is named, wherever in the token it stands.
#[test]
fn no_other_claim_names_the_tenant() {
    let world = World::with(|settings| settings.tenant_claim = "tenant".to_owned());
    let token = user("tenant", json!("tenant_acme"));
    let both = token.claim("tenant_before", json!("tenant_globex"));
    let both = both.claim("zone", json!("tenant_globex"));
    assert_eq!(tenants(&world.accepts(&both)), ["tenant_acme"]);
    let other = user("zone", json!("tenant_globex"));
    assert_eq!(tenants(&world.accepts(&other)), [""; 0]);
}

#[test]
fn scopes_of_users() {
    let world = World::new();
    let many = (0..1_000)
        .map(|i| format!("s{i}"))
        .collect::<Vec<_>>()
        .join(" ");
    let long = "s".repeat(2_000);
    for (scope, expected) in [
        ("", vec![]),
        (" ", vec![]),
        ("a", vec!["a"]),
        ("a  b a c", vec!["a", "b", "c"]),
        (
            "notes:read https://x/y!",
            vec!["notes:read", "https://x/y!"],
        ),
        (&*many, many.split(' ').collect()),
        (&*long, vec![&*long]),
    ] {
        assert_eq!(
            scopes(&world.accepts(&user("scope", json!(scope)))),
            expected,
            "{scope}"
        );
    }
    assert!(scopes(&world.accepts(&Mint::user().without("scope"))).is_empty());
    for scope in [
        json!(null),
        json!(1),
        json!(["openid"]),
        json!({}),
        json!("a\tb"),
        json!("a\nb"),
        json!("a\"b"),
        json!("a\\b"),
        json!("\u{e4}"),
        json!(format!("{many} one-more")),
    ] {
        world.refuses(&user("scope", scope), Reason::BadClaim);
    }
}

#[test]
fn other_claims_are_left_alone() {
    let world = World::new();
    for (claim, value) in [
        ("jti", json!("x")),
        ("email", json!("ada@acme.example")),
        ("custom", json!({ "a": [1, { "b": null }] })),
        ("https://example.com/claim", json!(1.5)),
        ("SUB", json!("user_bob")),
    ] {
        assert_eq!(world.accepts(&user(claim, value)).subject(), "user_ada");
    }
}

// --- machines ---

#[test]
fn a_machines_subject() {
    let world = World::new();
    world.refuses(&Mint::machine().without("sub"), Reason::MissingClaim);
    for value in NO_TEXTS {
        world.refuses(&machine("sub", value()), Reason::BadClaim);
    }
    world.refuses(&machine("sub", json!(OTHER_ROBOT)), Reason::SubjectMismatch);
}

#[test]
fn a_machines_client_id() {
    let world = World::new();
    // Older SDKs leave it out.
    let token = world.accepts(&Mint::machine().without("client_id"));
    assert_eq!(**token.client_id(), *ROBOT);
    for client_id in [OTHER_ROBOT, "app_web01", "SC_robot01", "sc_robot011"] {
        world.refuses(
            &machine("client_id", json!(client_id)),
            Reason::ClientIdMismatch,
        );
    }
    for value in NO_TEXTS {
        world.refuses(&machine("client_id", value()), Reason::BadClaim);
    }
}

#[test]
fn a_machines_audience() {
    let world = World::new();
    world.accepts(&machine("aud", json!([AUDIENCE])));
    world.refuses(&Mint::machine().without("aud"), Reason::MissingClaim);
    for aud in [
        json!([]),
        json!("other.accounts.authress.io"),
        json!("Test.accounts.authress.io"),
        json!(format!("{AUDIENCE}.")),
        json!(format!("https://{AUDIENCE}")),
        json!("tenant_acme"),
        json!([AUDIENCE, "tenant_acme"]),
        json!([AUDIENCE, AUDIENCE]),
        json!(["tenant_acme"]),
    ] {
        world.refuses(&machine("aud", aud), Reason::WrongAudience);
    }
    for aud in [json!(null), json!(1), json!({}), json!([1]), json!("")] {
        world.refuses(&machine("aud", aud), Reason::BadClaim);
    }
}
