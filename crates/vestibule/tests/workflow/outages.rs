//! Authress fails, in all of the ways that it can: whoever is known goes on working, whoever is
//! not is told why, and nothing is believed that is no answer (contract §2).

use std::time::Duration;

use vestibule::Reason;
use vestibule_sandbox::{Client, Endpoint, Fault, Target, Tenant, User};

use crate::app::{app, eventually, with};

/// A fault, and what it means for a user, a tenant and a client's key set that are asked for.
type Row = (&'static str, Fault, [Reason; 3]);

fn faults() -> Vec<Row> {
    const FAILS: [Reason; 3] = [Reason::ProviderUnavailable; 3];
    let gone = [
        Reason::UnknownUser,
        Reason::UnknownTenant,
        Reason::UnknownKey,
    ];
    let mut faults = vec![
        ("hang", Fault::Hang, FAILS),
        ("trickle", Fault::Trickle(Duration::from_millis(50)), FAILS),
        ("reset", Fault::Reset, FAILS),
        ("truncated", Fault::Truncated, FAILS),
        ("oversized", Fault::Oversized, FAILS),
        ("html", Fault::Html, FAILS),
        ("notjson", Fault::NotJson, FAILS),
        ("list", Fault::Body("[]".to_owned()), FAILS),
        ("null", Fault::Body("null".to_owned()), FAILS),
        (
            "redirect",
            Fault::Redirect("/v1/users/user_ada".to_owned()),
            FAILS,
        ),
        // Another's record is none; in a key set the key asked for is missing.
        (
            "wrongid",
            Fault::WrongId,
            [
                Reason::ProviderUnavailable,
                Reason::ProviderUnavailable,
                Reason::UnknownKey,
            ],
        ),
        ("s404", Fault::Status(404), gone),
    ];
    for (name, status) in [
        ("s401", 401),
        ("s403", 403),
        ("s429", 429),
        ("s500", 500),
        ("s503", 503),
    ] {
        faults.push((name, Fault::Status(status), FAILS));
    }
    faults
}

#[tokio::test]
async fn every_fault_for_somebody_new() {
    let app = with("PROVIDER_TIMEOUT", "0.3").start().await;
    for (name, fault, [user, tenant, keys]) in faults() {
        let id = format!("user_{name}");
        app.sandbox.add_user(User::new(&id).tenant("tenant_acme"));
        app.sandbox
            .fail(Target::path(format!("/v1/users/{id}")), fault.clone());
        let answer = app.user(&id).me().await;
        assert_eq!(answer.try_refused(user), Ok(()), "{name}");

        let (id, place) = (format!("person_{name}"), format!("tenant_{name}"));
        app.sandbox.add_tenant(Tenant::new(&place));
        app.sandbox.add_user(User::new(&id).tenant(&place));
        app.sandbox
            .fail(Target::path(format!("/v1/tenants/{place}")), fault.clone());
        let answer = app.user(&id).me().await;
        assert_eq!(answer.try_refused(tenant), Ok(()), "{name}");

        let id = format!("sc_client{name}");
        app.sandbox.add_client(Client::new(&id));
        app.directory
            .add_client(app.acme.id, &id, "A client", &[])
            .await
            .unwrap();
        let path = format!("/v1/clients/{id}/.well-known/openid-configuration/jwks");
        app.sandbox.fail(Target::path(path), fault);
        let answer = app.client(&id).me().await;
        assert_eq!(answer.try_refused(keys), Ok(()), "{name}");
    }
    assert_eq!(app.users(&app.acme).await, 0);
    // Everything else has gone on meanwhile.
    app.user("user_ada").me().await.ok();
}

#[tokio::test]
async fn who_is_known_goes_on_and_not_for_ever() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    app.client("sc_robot01").me().await.ok();
    app.sandbox.fail(Target::All, Fault::Status(503));
    // Past the soft ages, past twice the soft ages, up to the hard ones.
    for seconds in [61, 60, 500, 1_000, 1_979] {
        app.advance(seconds);
        app.user("user_ada").me().await.ok();
        app.client("sc_robot01").me().await.ok();
        app.user("user_alan")
            .me()
            .await
            .refused(Reason::ProviderUnavailable);
    }
    app.advance(1);
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::ProviderUnavailable);
    app.client("sc_robot01")
        .me()
        .await
        .refused(Reason::ProviderUnavailable);
    app.sandbox.heal();
    // All is well again within five seconds, which is also how long this waits.
    for actor in [
        app.user("user_ada"),
        app.user("user_alan"),
        app.client("sc_robot01"),
    ] {
        eventually(async || actor.me().await, |answer| answer.is_ok())
            .await
            .ok();
    }
}

/// Also a process that starts while Authress is down.
#[tokio::test]
async fn a_restart_in_the_middle() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    app.client("sc_robot01").me().await.ok();
    app.entrance.vestibule.shutdown().await;
    app.sandbox.fail(Target::All, Fault::Reset);
    app.advance(600);
    let restarted = app.replica().await;
    let token = |id: &str| app.sandbox.user_token(id).mint();
    restarted.bearer(token("user_ada")).me().await.ok();
    let machine = app.sandbox.client_token("sc_robot01").mint();
    restarted.bearer(machine).me().await.ok();
    let new = restarted.bearer(token("user_alan")).me().await;
    new.refused(Reason::ProviderUnavailable);
    // No longer than without the restart.
    app.advance(3_001);
    let late = restarted.bearer(token("user_ada")).me().await;
    late.refused(Reason::ProviderUnavailable);
}

/// A failing provider is asked about once a second at most, by whomever.
#[tokio::test]
async fn a_failure_is_remembered_for_a_moment() {
    let app = app().await;
    app.sandbox.fail(Endpoint::User, Fault::Status(500));
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        app.user("user_ada")
            .me()
            .await
            .refused(Reason::ProviderUnavailable);
    }
    let allowed = begun.elapsed().as_secs() + 1;
    let calls = app.sandbox.calls(Endpoint::User);
    assert!((1..=allowed).contains(&calls), "{calls} of {allowed}");
    app.sandbox.heal();
    let ada = app.user("user_ada");
    let healed = std::time::Instant::now();
    eventually(async || ada.me().await, |answer| answer.is_ok())
        .await
        .ok();
    assert!(healed.elapsed() < Duration::from_secs(3));
}

/// Whatever the provider answers in place of its keys, those who come with known ones go on,
/// remembered or not, up to the hard age; and then nobody does, remembered or not.
#[tokio::test]
async fn the_hard_age_ends_every_outage() {
    for fault in [
        Fault::Hang,
        Fault::Reset,
        Fault::Status(500),
        Fault::Html,
        Fault::Oversized,
        Fault::EmptyKeys,
    ] {
        let app = with("PROVIDER_TIMEOUT", "0.3")
            .with("TOKEN_CACHE_TTL", "86400")
            .with("USER_CACHE_TTL", "86400")
            .with("USER_CACHE_MAX_AGE", "86400")
            .start()
            .await;
        let (ada, late) = (app.user("user_ada"), app.user("user_ada"));
        ada.me().await.ok();
        app.sandbox.fail(Endpoint::Jwks, fault.clone());
        app.advance(3_599);
        ada.me().await.ok();
        late.me().await.ok();
        app.user("user_ada").me().await.ok();
        app.advance(2);
        for actor in [&ada, &late, &app.user("user_ada")] {
            actor.me().await.refused(Reason::ProviderUnavailable);
        }
        app.sandbox.heal();
        eventually(async || ada.me().await, |answer| answer.is_ok())
            .await
            .ok();
    }
}
