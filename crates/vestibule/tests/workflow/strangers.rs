//! People who are refused though their tokens are good: with ever new tokens they cost the
//! provider nearly nothing, and who is let in meanwhile gets in (contract §2).

use vestibule::Reason;
use vestibule_sandbox::{Endpoint, Tenant, User};

use crate::app::{App, app, eventually, with};

const TOKENS: usize = 100;
/// A refusal is remembered for ten seconds at most: it is forgotten by now.
const FORGOTTEN: u64 = 11;

/// Comes with ever new tokens; gives the calls that this costs.
async fn calls_of(app: &App, who: &str, reason: Reason) -> u64 {
    let before = app.calls(&[Endpoint::User, Endpoint::Tenant]);
    for _ in 0..TOKENS {
        app.user(who).me().await.refused(reason);
    }
    app.calls(&[Endpoint::User, Endpoint::Tenant]) - before
}

#[tokio::test]
async fn somebody_whom_the_provider_does_not_know() {
    let app = app().await;
    assert_eq!(calls_of(&app, "user_nobody", Reason::UnknownUser).await, 1);
    app.advance(FORGOTTEN);
    assert_eq!(calls_of(&app, "user_nobody", Reason::UnknownUser).await, 1);
    // Created meanwhile.
    app.sandbox
        .add_user(User::new("user_nobody").tenant("tenant_acme"));
    app.advance(FORGOTTEN);
    app.user("user_nobody").me().await.ok();
}

#[tokio::test]
async fn somebody_without_a_tenant() {
    let app = app().await;
    app.sandbox.add_user(User::new("user_peter"));
    assert_eq!(calls_of(&app, "user_peter", Reason::NoTenant).await, 1);
}

#[tokio::test]
async fn somebody_whose_tenant_is_no_customer() {
    let app = app().await;
    app.sandbox.add_tenant(Tenant::new("tenant_initech"));
    app.sandbox
        .add_user(User::new("user_peter").tenant("tenant_initech"));
    assert_eq!(
        calls_of(&app, "user_peter", Reason::UnknownAccount).await,
        2
    );
    app.advance(FORGOTTEN);
    assert_eq!(
        calls_of(&app, "user_peter", Reason::UnknownAccount).await,
        0
    );
    // It becomes one, and nobody waits until the refusal is forgotten.
    app.spaces
        .create_account("Initech", "tenant_initech")
        .await
        .unwrap();
    let answer = eventually(
        async || app.user("user_peter").me().await,
        |answer| answer.is_ok(),
    );
    answer.await.ok();
}

#[tokio::test]
async fn somebody_by_another_connection() {
    let app = app().await;
    for _ in 0..TOKENS {
        let token = app.sandbox.user_token("user_ada").azp("con_elsewhere");
        app.with(token)
            .me()
            .await
            .refused(Reason::ConnectionMismatch);
    }
    assert_eq!(app.calls(&[Endpoint::User, Endpoint::Tenant]), 2);
}

#[tokio::test]
async fn one_strangers_refusal_is_not_anothers() {
    let app = app().await;
    app.sandbox
        .add_user(User::new("user_peter").tenant("tenant_none"));
    app.user("user_peter")
        .me()
        .await
        .refused(Reason::UnknownTenant);
    app.user("user_ada").me().await.ok();
    // Nor his own, once he signs in to a customer.
    let token = app.sandbox.user_token("user_peter").tenant("tenant_acme");
    app.with(token).me().await.ok();
}

/// Also where nothing that the provider says is remembered.
#[tokio::test]
async fn strangers_where_every_request_asks() {
    let app = with("USER_CACHE_TTL", "0").start().await;
    app.sandbox.add_tenant(Tenant::new("tenant_initech"));
    app.sandbox
        .add_user(User::new("user_peter").tenant("tenant_initech"));
    assert_eq!(
        calls_of(&app, "user_peter", Reason::UnknownAccount).await,
        2
    );
    assert_eq!(calls_of(&app, "user_nobody", Reason::UnknownUser).await, 1);
    app.advance(FORGOTTEN);
    assert_eq!(
        calls_of(&app, "user_peter", Reason::UnknownAccount).await,
        2
    );
}

/// That there is no such user is remembered twice, by the provider's answers and as a refusal:
/// the two together for no longer than one.
#[tokio::test]
async fn two_memories_do_not_add_up() {
    let app = app().await;
    app.user("user_nobody")
        .me()
        .await
        .refused(Reason::UnknownUser);
    app.advance(8);
    // Another way of signing in has a refusal of its own, from the answer of eight seconds ago.
    let another = || app.with(app.sandbox.user_token("user_nobody").azp("con_other"));
    another().me().await.refused(Reason::UnknownUser);
    app.sandbox
        .add_user(User::new("user_nobody").tenant("tenant_acme"));
    app.advance(3);
    let now = another().me().await;
    assert!(now.try_refused(Reason::UnknownUser).is_err());
    app.user("user_nobody").me().await.ok();
}
