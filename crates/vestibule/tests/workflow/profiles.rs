//! Name, e-mail and picture are the provider's: taken over when they change, and bounded.

use serde_json::{Value, json};
use vestibule_sandbox::{Endpoint, User};

use crate::app::{app, eventually, found};

/// `USER_CACHE_TTL` as it is by default.
const TTL: u64 = 60;

#[tokio::test]
async fn changes_are_taken_over() {
    let app = app().await;
    let ada = app.user("user_ada");
    ada.me().await.ok();
    let before = app.row("user_ada").await.unwrap();
    let changed = User::new("user_ada")
        .name("Ada Lovelace")
        .picture("https://acme.example/ada.png")
        .tenant("tenant_acme");
    app.sandbox.add_user(changed);
    app.advance(TTL - 1);
    assert_eq!(ada.me().await.ok()["user"]["name"], "Ada");
    assert_eq!(app.sandbox.calls(Endpoint::User), 1);
    app.advance(1);
    // Nobody waits for it: the answer before was still good.
    let answer = eventually(
        async || ada.me().await,
        |answer| answer.json()["user"]["name"] == "Ada Lovelace",
    );
    let user = answer.await.ok()["user"].take();
    assert_eq!(user["email"], Value::Null);
    assert_eq!(user["picture"], "https://acme.example/ada.png");
    assert_eq!(user["id"], json!(before.id));
    let row = found(async || {
        let row = app.row("user_ada").await.unwrap();
        (row.name != before.name).then_some(row)
    })
    .await;
    assert_eq!(row.name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(
        (row.email, row.picture.as_deref()),
        (None, Some("https://acme.example/ada.png"))
    );
    assert_eq!(app.sandbox.calls(Endpoint::User), 2);
}

#[tokio::test]
async fn each_change_alone_is_taken_over() {
    let app = app().await;
    let ada = app.user("user_ada");
    ada.me().await.ok();
    let mut members = [
        ("email", "ada@acme.example"),
        ("name", "Ada"),
        ("picture", ""),
    ];
    for (changed, value) in [
        (2, "https://acme.example/a.png"),
        (0, "a@acme.example"),
        (1, "A"),
        (2, "https://acme.example/b.png"),
    ] {
        members[changed].1 = value;
        let user = User::new("user_ada").tenant("tenant_acme");
        let user = members
            .iter()
            .fold(user, |user, (name, value)| user.member(*name, *value));
        app.sandbox.add_user(user);
        app.advance(TTL);
        let name = members[changed].0;
        let answer = eventually(
            async || ada.me().await,
            |answer| answer.json()["user"][name] == value,
        );
        assert_eq!(answer.await.ok()["user"][name], value, "{name}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_left_out() {
    let app = app().await;
    let long = |count: usize| "é".repeat(count);
    let rows: [(&str, &str, Value, bool); 16] = [
        ("user_a", "name", json!(long(256)), true),
        ("user_b", "name", json!(long(257)), false),
        ("user_c", "name", json!("x".repeat(900_000)), false),
        ("user_d", "name", json!("a\u{0}b"), false),
        ("user_e", "name", json!("a\nb"), false),
        ("user_f", "name", json!("\u{1b}[31mred"), false),
        ("user_g", "name", json!(7), false),
        ("user_h", "name", json!(null), false),
        ("user_i", "email", json!(long(320)), true),
        ("user_j", "email", json!(long(321)), false),
        ("user_k", "email", json!("a@b\r\nc"), false),
        ("user_l", "email", json!(["a@b.example"]), false),
        ("user_m", "picture", json!(long(2_048)), true),
        ("user_n", "picture", json!(long(2_049)), false),
        ("user_o", "picture", json!({ "url": "x" }), false),
        ("user_p", "picture", json!("a\u{7f}"), false),
    ];
    for (id, member, value, fits) in rows {
        let user = User::new(id)
            .tenant("tenant_acme")
            .member(member, value.clone());
        app.sandbox.add_user(user);
        let me = app.user(id).me().await.ok();
        let expected = if fits { value } else { Value::Null };
        assert_eq!(me["user"][member], expected, "{id}");
    }
}

#[tokio::test]
async fn nothing_in_the_token_changes_a_profile() {
    let app = app().await;
    let token = app
        .sandbox
        .user_token("user_ada")
        .claim("name", "Somebody Else")
        .claim("email", "else@elsewhere.example")
        .claim("picture", "https://elsewhere.example/x.png");
    let me = app.with(token).me().await.ok();
    assert_eq!(me["user"]["name"], "Ada");
    assert_eq!(me["user"]["email"], "ada@acme.example");
    assert_eq!(me["user"]["picture"], Value::Null);
}
