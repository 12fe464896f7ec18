//! The token cache (contract §2.5), on a clock that stands still. Its own counters show whether a
//! token was verified again.

use vestibule::Reason;
use vestibule_sandbox::TokenBuilder;

use crate::{
    app::{App, app, eventually, subject, with},
    counters::Counters,
    entrance::Actor,
};

/// `TOKEN_CACHE_TTL` and `JWKS_REFRESH` as they are by default.
const TTL: u64 = 300;
const LEEWAY: i64 = 30;

/// So many tokens of one person, each used once.
async fn used(app: &App, count: usize) -> Vec<Actor> {
    let mut actors = Vec::new();
    for _ in 0..count {
        let actor = app.user("user_ada");
        actor.me().await.ok();
        actors.push(actor);
    }
    actors
}

/// How many of these, all of them good, are verified again.
async fn verified_again(counters: &Counters, actors: &[Actor]) -> u64 {
    let before = counters.misses();
    for actor in actors {
        actor.me().await.ok();
    }
    counters.misses() - before
}

#[tokio::test]
async fn a_hit_is_not_verified_again() {
    let counters = Counters::here();
    let app = app().await;
    let actors = used(&app, 1).await;
    assert_eq!(verified_again(&counters, &actors).await, 0);
    app.advance(TTL);
    assert_eq!(verified_again(&counters, &actors).await, 1);
    assert_eq!((counters.hits(), counters.misses()), (1, 2));
}

/// What is remembered is that a key made a signature, not that the key is good.
#[tokio::test]
async fn a_remembered_token_ends_with_its_key() {
    let app = with("TOKEN_CACHE_TTL", "86400").start().await;
    let actors = used(&app, 3).await;
    app.withdraw_account_key().await;
    for actor in &actors {
        actor.me().await.refused(Reason::UnknownKey);
    }
}

/// Nobody brings the new key: the set's own refresh is enough.
#[tokio::test]
async fn a_remembered_token_outlives_its_key_by_the_soft_age_and_one_refresh() {
    let app = with("TOKEN_CACHE_TTL", "86400").start().await;
    let (ada, robot) = (app.user("user_ada"), app.client("sc_robot01"));
    ada.me().await.ok();
    robot.me().await.ok();
    let old = app.sandbox.account_key();
    app.sandbox.rotate_account_key();
    app.sandbox.remove_account_key(old.kid()).unwrap();
    app.sandbox.remove_client_keys("sc_robot01").unwrap();
    app.advance(TTL - 1);
    ada.me().await.ok();
    robot.me().await.ok();
    app.advance(1);
    for actor in [ada, robot] {
        // The first use starts the refresh, and does not wait for it.
        actor.me().await.ok();
        eventually(async || actor.me().await, |answer| !answer.is_ok())
            .await
            .refused(Reason::UnknownKey);
    }
}

#[tokio::test]
async fn every_token_is_verified_again_within_its_time_and_not_all_at_once() {
    let counters = Counters::here();
    let app = app().await;
    let actors = used(&app, 40).await;
    assert_eq!(verified_again(&counters, &actors).await, 0);
    let mut again = Vec::new();
    for _ in 0..10 {
        app.advance(TTL / 10);
        again.push(verified_again(&counters, &actors).await);
    }
    assert_eq!(again.iter().sum::<u64>(), 40, "{again:?}");
    // No tenth of the time sees more than half of them turn: each has an instant of its own.
    assert!(again.iter().all(|count| *count <= 20), "{again:?}");
}

#[tokio::test]
async fn nothing_is_used_past_its_end() {
    let counters = Counters::here();
    let app = with("TOKEN_CACHE_TTL", "86400").start().await;
    let mut actors = Vec::new();
    for _ in 0..5 {
        let actor = app.with(app.sandbox.user_token("user_ada").expires_in(20));
        actor.me().await.ok();
        actors.push(actor);
    }
    app.advance(19);
    // One in a thousand may have come to the end of its bucket, but not all.
    assert!(verified_again(&counters, &actors).await < 5);
    // Within the leeway they are good, but not from memory.
    app.advance(1);
    for _ in 0..2 {
        assert_eq!(verified_again(&counters, &actors).await, 5);
    }
}

#[tokio::test]
async fn a_remembered_token_ends_with_the_leeway() {
    let app = app().await;
    let actor = app.with(app.sandbox.user_token("user_ada").expires_in(20));
    actor.me().await.ok();
    for _ in 0..20 + LEEWAY - 1 {
        app.advance(1);
        actor.me().await.ok();
    }
    app.advance(1);
    actor.me().await.refused(Reason::Expired);
}

#[tokio::test]
async fn the_bound_is_kept() {
    let counters = Counters::here();
    let app = with("TOKEN_CACHE_SIZE", "64").start().await;
    used(&app, 200).await;
    app.entrance.vestibule.refresh_gauges();
    let kept = counters.entries();
    assert!((32..=64).contains(&kept), "{kept} of 200 remembered");
}

#[tokio::test]
async fn without_a_cache_every_request_is_verified() {
    for name in ["TOKEN_CACHE_SIZE", "TOKEN_CACHE_TTL"] {
        let counters = Counters::here();
        let app = with(name, "0").start().await;
        let actors = used(&app, 1).await;
        for _ in 0..2 {
            assert_eq!(verified_again(&counters, &actors).await, 1);
        }
        assert_eq!(counters.hits(), 0);
    }
}

#[tokio::test]
async fn a_refusal_is_neither_a_success_nor_for_ever() {
    let app = app().await;
    let early = app.with(app.sandbox.user_token("user_ada").not_before_in(100));
    let forged = app.with(app.sandbox.user_token("user_ada").tamper_signature());
    for _ in 0..3 {
        early.me().await.refused(Reason::NotYetValid);
        forged.me().await.refused(Reason::BadSignature);
    }
    app.advance(100);
    early.me().await.ok();
    forged.me().await.refused(Reason::BadSignature);
}

/// Security rule 4: what is remembered is the whole token.
#[tokio::test]
async fn a_token_nearly_like_a_remembered_one() {
    let app = app().await;
    let good = app.sandbox.user_token("user_ada");
    let token = good.mint();
    app.bearer(&token).me().await.ok();
    let forged = |token: TokenBuilder| token.tamper_signature().mint();
    app.bearer(forged(good.clone()))
        .me()
        .await
        .refused(Reason::BadSignature);
    let cut = &token[..token.len() - 1];
    assert!(!app.bearer(cut).me().await.is_ok());
    app.bearer(format!("{token}A"))
        .me()
        .await
        .refused(Reason::BadSignature);
    app.bearer(format!("{token}="))
        .me()
        .await
        .refused(Reason::BadBase64);
    let [head, rest] = [&token[..token.len() / 2], &token[token.len() / 2..]];
    assert!(!app.bearer(format!("{rest}{head}")).me().await.is_ok());
    app.bearer(&token).me().await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callers_answer_is_never_anothers() {
    let app = app().await;
    let actors = [
        ("user_ada", "tenant_acme", app.user("user_ada")),
        ("user_alan", "tenant_acme", app.user("user_alan")),
        ("user_grace", "tenant_globex", app.user("user_grace")),
        ("sc_robot01", "tenant_acme", app.client("sc_robot01")),
        ("sc_robot02", "tenant_globex", app.client("sc_robot02")),
    ];
    let mut requests = tokio::task::JoinSet::new();
    for round in 0..60 {
        for (who, tenant, actor) in actors.clone() {
            requests.spawn(async move {
                if round % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                let me = actor.me().await.ok();
                assert_eq!(subject(&me), who);
                assert_eq!(me["account"]["authress_tenant_id"], tenant);
            });
        }
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn one_tenants_answer_is_never_anothers() {
    let app = app().await;
    let at_home = app.user("user_ada");
    let abroad = app.with(app.sandbox.user_token("user_ada").tenant("tenant_globex"));
    for _ in 0..3 {
        at_home.me().await.ok();
        abroad.me().await.refused(Reason::TenantMismatch);
    }
    assert_eq!(app.users(&app.globex).await, 0);
    // Nor is a refusal: another way to sign in is asked about for itself.
    let elsewhere = app.with(app.sandbox.user_token("user_alan").azp("con_elsewhere"));
    elsewhere.me().await.refused(Reason::ConnectionMismatch);
    app.user("user_alan").me().await.ok();
    app.user("user_grace").me().await.ok();
}
