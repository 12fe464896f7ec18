//! `TOKEN_REFUSAL_LIMIT`: who sends too many tokens that are refused has no new ones looked at,
//! and nobody else notices.

use vestibule::{Code, Reason};

use crate::{
    app::{App, with},
    entrance::Actor,
};

const ATTACKER: &str = "192.0.2.66:4000";
const NEIGHBOUR: &str = "192.0.2.67:4000";

fn forged(app: &App) -> Actor {
    app.with(app.sandbox.user_token("user_ada").tamper_signature())
}

/// Sends forged tokens until one is not looked at; gives how many were.
async fn spend(app: &App, dress: impl Fn(Actor) -> Actor) -> usize {
    for number in 0..1_000 {
        let answer = dress(forged(app)).me().await;
        if answer.try_refused(Reason::BadSignature).is_err() {
            answer.refused(Reason::SourceOverLimit);
            return number;
        }
    }
    1_000
}

#[tokio::test]
async fn one_source_pays_for_itself() {
    let app = with("TOKEN_REFUSAL_LIMIT", "2").start().await;
    let known = app.user("user_ada");
    known.clone().from(ATTACKER).me().await.ok();
    let looked_at = spend(&app, |actor| actor.from(ATTACKER)).await;
    assert!((20..=30).contains(&looked_at), "{looked_at}");
    // From there no new token is looked at, good or not, whatever the caller says of himself.
    let new = app.user("user_ada").from("192.0.2.66:5000");
    let lying = new.header("x-forwarded-for", "192.0.2.1");
    let answer = lying.me().await;
    answer.problem(Code::TooManyRequests);
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.refused(Reason::SourceOverLimit);
    // Who is at work there goes on; others have not noticed; and it ends.
    known.from(ATTACKER).me().await.ok();
    app.user("user_alan").from(NEIGHBOUR).me().await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    app.user("user_ada").from(ATTACKER).me().await.ok();
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_source() {
    let app = with("TOKEN_REFUSAL_LIMIT", "2").start().await;
    spend(&app, |actor| actor.from("[2001:db8::1]:4000")).await;
    let same = app.user("user_ada").from("[2001:db8::9:2]:4000");
    same.me().await.refused(Reason::SourceOverLimit);
    app.user("user_ada")
        .from("[2001:db8:0:1::1]:4000")
        .me()
        .await
        .ok();
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_saw_counts() {
    let app = with("TOKEN_REFUSAL_LIMIT", "2")
        .with("VESTIBULE_TRUSTED_PROXIES", "10.0.0.0/8")
        .start()
        .await;
    let through = |actor: Actor, caller: &str| {
        let forwarded = format!("203.0.113.9, {caller}, 10.0.0.2");
        actor
            .from("10.0.0.1:4000")
            .header("x-forwarded-for", forwarded)
    };
    spend(&app, |actor| through(actor, "192.0.2.66")).await;
    let new = || app.user("user_ada");
    through(new(), "192.0.2.66")
        .me()
        .await
        .refused(Reason::SourceOverLimit);
    through(new(), "192.0.2.67").me().await.ok();
    // The same address without the proxy is the same source.
    new()
        .from(ATTACKER)
        .me()
        .await
        .refused(Reason::SourceOverLimit);
}

#[tokio::test]
async fn nobody_is_limited_by_default_nor_where_nobody_knows_whence() {
    let app = crate::app::app().await;
    assert_eq!(spend(&app, |actor| actor.from(ATTACKER)).await, 1_000);
    let app = with("TOKEN_REFUSAL_LIMIT", "1").start().await;
    assert_eq!(spend(&app, |actor| actor).await, 1_000);
}

/// Outages are nobody's fault, and the same garbage again costs nothing.
#[tokio::test]
async fn what_does_not_count() {
    let app = with("TOKEN_REFUSAL_LIMIT", "1").start().await;
    let same = forged(&app).from(ATTACKER);
    for _ in 0..100 {
        same.me().await.refused(Reason::BadSignature);
    }
    app.sandbox.fail(
        vestibule_sandbox::Target::All,
        vestibule_sandbox::Fault::Status(500),
    );
    for _ in 0..100 {
        let robot = app.client("sc_robot01").from(ATTACKER);
        robot.me().await.refused(Reason::ProviderUnavailable);
    }
    app.sandbox.heal();
    app.user("user_ada").from(ATTACKER).me().await.ok();
}
