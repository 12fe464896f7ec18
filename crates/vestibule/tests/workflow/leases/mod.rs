//! Connections that outlive their request, over a real server: events and WebSockets end when a
//! request of the same caller would be refused, and not before.

mod served;

use std::time::{Duration, Instant};

use http::{HeaderMap, header::AUTHORIZATION};
use tokio::time::timeout;
use vestibule::{
    BearerToken, Clock as _, Ended, Principal, Reason,
    store::{CutOff, CutOffTarget},
    token::TokenDigest,
};
use vestibule_sandbox::{Endpoint, Fault};

use self::served::{Events, Says as _, Served, notes_by};
use crate::{
    answer::Answer,
    app::{App, PATIENCE, Setup, after, app, eventually, found, with},
};

/// How long something that must not happen is waited for.
const A_WHILE: Duration = Duration::from_millis(700);

#[tokio::test]
async fn it_ends_with_the_token() {
    let served = Served::start(Setup::default()).await;
    let sandbox = &served.app.sandbox;
    let begun = Instant::now();
    let brief = served.events(sandbox.user_token("user_ada").expires_in(2));
    let brief = brief.await;
    let mut long = served.user("user_alan").await;
    let token = sandbox.user_token("user_grace").expires_in(2).mint();
    let mut socket = served.socket(&token).await;
    assert_eq!(brief.end().await, "");
    assert_eq!(socket.closed().await, (1008, "token_expired".to_owned()));
    // `exp` is a whole second, which the first of the two may have begun.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_millis(3_500), "{took:?}");
    long.is_open().await;
}

#[tokio::test]
async fn it_ends_when_a_user_is_suspended_or_removed() {
    let served = Served::start(Setup::default()).await;
    let directory = &served.app.directory;
    let (ada, mut alan) = (
        served.user("user_ada").await,
        served.user("user_alan").await,
    );
    let token = served.app.sandbox.user_token("user_ada").mint();
    let mut socket = served.socket(&token).await;
    assert_eq!(notes_by(&mut socket).await, "0");
    let id = served.app.row("user_ada").await.unwrap().id;
    directory.suspend_user(id).await.unwrap();
    let begun = Instant::now();
    ada.end().await;
    assert_eq!(socket.closed().await, (1008, "user_suspended".to_owned()));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    alan.is_open().await;

    let token = served.app.sandbox.user_token("user_alan").mint();
    let told = served.stream("/told", &token).await;
    let id = served.app.row("user_alan").await.unwrap().id;
    directory.remove_user(id).await.unwrap();
    assert_eq!(told.end().await, "data: unknown_user\n\n");
    alan.end().await;
    // It makes nobody a user.
    assert!(served.app.row("user_alan").await.is_none());
}

#[tokio::test]
async fn it_ends_when_a_client_or_an_account_is_suspended() {
    let served = Served::start(Setup::default()).await;
    let app = &served.app;
    let robot = app.sandbox.client_token("sc_robot01").mint();
    let robot = served.stream("/told", &robot).await;
    let ada = app.sandbox.user_token("user_ada").mint();
    let ada = served.stream("/told", &ada).await;
    let mut grace = served.user("user_grace").await;
    app.directory.suspend_client("sc_robot01").await.unwrap();
    assert_eq!(robot.end().await, "data: client_suspended\n\n");
    app.directory.suspend_account(app.acme.id).await.unwrap();
    assert_eq!(ada.end().await, "data: account_suspended\n\n");
    grace.is_open().await;
}

#[tokio::test]
async fn it_ends_when_its_token_is_cut_off() {
    let served = Served::start(Setup::default()).await;
    let app = &served.app;
    let mut alan = served.user("user_alan").await;
    let stolen = app.sandbox.user_token("user_ada").mint();
    let told = served.stream("/told", &stolen).await;
    let digest = TokenDigest::of(&BearerToken::parse(&stolen).unwrap());
    let robot = app.sandbox.client_token("sc_robot01").mint();
    let robot = served.stream("/told", &robot).await;
    let kid = app.sandbox.client_key("sc_robot01").kid().to_owned();
    for target in [
        CutOffTarget::Token(digest.identity()),
        CutOffTarget::Key {
            client_id: "sc_robot01".to_owned(),
            kid,
        },
    ] {
        let cut_off = CutOff {
            target,
            issued_before: app.clock.now(),
            ends_at: None,
        };
        app.directory.cut_off(&cut_off).await.unwrap();
    }
    assert_eq!(told.end().await, "data: invalid_token\n\n");
    assert_eq!(robot.end().await, "data: invalid_token\n\n");
    alan.is_open().await;
}

#[tokio::test]
async fn it_ends_when_what_was_allowed_may_not_be_any_more() {
    let served = Served::start(Setup::default()).await;
    let app = &served.app;
    let ada = app.sandbox.user_token("user_ada").mint();
    let told = served.stream("/told", &ada).await;
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.set_user_role(id, "owner").await.unwrap();
    assert_eq!(told.end().await, "data: changed\n\n");
    // With the role of now he stays.
    Events(served.stream("/told", &ada).await.0).is_open().await;
}

/// A new name or e-mail is no reason.
#[tokio::test]
async fn it_stays_when_only_the_profile_changes() {
    let served = Served::start(Setup::default()).await;
    let app = &served.app;
    let mut ada = served.user("user_ada").await;
    let user = app.row("user_ada").await.unwrap();
    let profile = vestibule::store::Profile {
        email: user.email,
        name: Some("Ada L.".to_owned()),
        picture: None,
    };
    app.directory
        .refresh_profile(user.id, &profile)
        .await
        .unwrap();
    ada.is_open().await;
}

#[tokio::test]
async fn it_ends_when_the_key_is_withdrawn() {
    let served = Served::start(with("TOKEN_CACHE_TTL", "1")).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let told = served.stream("/told", &token).await;
    let mut robot = served
        .events(served.app.sandbox.client_token("sc_robot01"))
        .await;
    served.app.withdraw_account_key().await;
    assert_eq!(told.end().await, "data: invalid_token\n\n");
    robot.is_open().await;
}

#[tokio::test]
async fn it_ends_when_the_provider_no_longer_knows_the_user() {
    let served = Served::start(with("TOKEN_CACHE_TTL", "1").with("USER_CACHE_TTL", "1")).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let told = served.stream("/told", &token).await;
    served.app.sandbox.remove_user("user_ada").unwrap();
    assert_eq!(told.end().await, "data: unknown_user\n\n");
}

/// Many wait, and requests have all the connections there are.
#[tokio::test]
async fn who_waits_holds_no_connection_to_the_database() {
    let served = Served::start(with("DATABASE_POOL_SIZE", "3").with("DATABASE_TIMEOUT", "2")).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let mut sockets = Vec::new();
    for _ in 0..30 {
        let mut socket = served.socket(&token).await;
        assert_eq!(notes_by(&mut socket).await, "0");
        sockets.push(socket);
    }
    assert_eq!(served.open(), 30);
    for _ in 0..10 {
        let answer = served.get("/notes", &token).await;
        assert_eq!(answer.text().await.unwrap(), "0");
    }
    let id = served.app.row("user_ada").await.unwrap().id;
    served.app.directory.suspend_user(id).await.unwrap();
    for mut socket in sockets {
        assert_eq!(socket.closed().await.1, "user_suspended");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_connection_that_closed_first() {
    let served = Served::start(Setup::default()).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let events = served.user("user_ada").await;
    let socket = served.socket(&token).await;
    assert_eq!(served.open(), 2);
    drop((events, socket));
    found(async || (served.open() == 0).then_some(())).await;
}

/// Else a graceful end would wait for ever.
#[tokio::test]
async fn it_ends_when_the_application_stops() {
    let mut served = Served::start(Setup::default()).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let told = served.stream("/told", &token).await;
    let mut socket = served.socket(&token).await;
    let events = served.user("user_alan").await;
    served.app.entrance.vestibule.end_leases();
    served.stop.take().unwrap().send(()).unwrap();
    assert_eq!(told.end().await, "data: stopped\n\n");
    assert_eq!(socket.closed().await, (1008, "stopped".to_owned()));
    events.end().await;
    drop(socket);
    let ended = timeout(PATIENCE, &mut served.server).await;
    ended.expect("the server ends").unwrap();
}

/// Behind a proxy a connection lasts as long as the token that the assertion was made for.
#[tokio::test]
async fn an_assertion_is_no_reason_to_end_sooner() {
    // Whoever asked for her would ask Authress.
    let setup = after(|_| {}).with("USER_CACHE_TTL", "0");
    let setup = setup.with("VESTIBULE_ACCEPT_ASSERTIONS", "orders");
    let served = Served::start(setup).await;
    let token = served.app.sandbox.user_token("user_ada").mint();
    let assertion = crate::assertions::signed(&served.app, &token).await;
    let url = format!("http://{}/told", served.address);
    let asked = served
        .http
        .get(url)
        .header("x-vestibule-assertion", assertion);
    let mut told = Events(asked.send().await.unwrap());
    assert_eq!(told.0.chunk().await.unwrap().unwrap(), "data: hello\n\n");
    served.app.advance(600);
    told.is_open().await;
    // A change is no occasion to ask Authress.
    served.app.sandbox.remove_user("user_ada").unwrap();
    let calls = served.app.sandbox.all_calls();
    let account = served.app.acme.id;
    for name in ["Another", "A third", "A fourth"] {
        let renamed = served.app.directory.rename_account(account, name);
        renamed.await.unwrap();
        for _ in 0..3 {
            told.is_open().await;
        }
    }
    assert_eq!(served.app.sandbox.all_calls(), calls);
    let id = served.app.row("user_ada").await.unwrap().id;
    served.app.directory.suspend_user(id).await.unwrap();
    assert_eq!(told.end().await, "data: user_suspended\n\n");
}

/// No request with an assertion asks Authress; a connection that stays open does, now and then.
#[tokio::test]
async fn whoever_is_gone_at_the_provider_does_not_stay_behind_a_proxy() {
    let setup = with("VESTIBULE_ACCEPT_ASSERTIONS", "orders").with("USER_CACHE_TTL", "1");
    let app = setup.with("TOKEN_CACHE_TTL", "1").start().await;
    let vestibule = &app.entrance.vestibule;
    let token = app.sandbox.user_token("user_ada").mint();
    let assertion = crate::assertions::signed(&app, &token).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-vestibule-assertion", assertion.parse().unwrap());
    let ada = vestibule.authenticator().validate_token(&headers).await;
    let mut lease = vestibule.lease(&ada.unwrap());
    // What is remembered of Ada may not be used any more, and Authress does not answer.
    app.sandbox.fail(Endpoint::User, Fault::Status(503));
    app.advance(3_700);
    let stays = timeout(Duration::from_secs(3), lease.ended()).await;
    assert!(stays.is_err(), "{stays:?}");
    app.sandbox.heal();
    app.sandbox.remove_user("user_ada").unwrap();
    let ended = timeout(PATIENCE, lease.ended()).await.unwrap();
    assert_eq!(ended, Ended::Refused(Reason::UnknownUser));
}

/// Who has this token, apart from any request.
async fn principal(app: &App, token: &str) -> Principal {
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {token}").parse().unwrap();
    headers.insert(AUTHORIZATION, bearer);
    let authenticator = app.entrance.vestibule.authenticator();
    authenticator.validate_token(&headers).await.unwrap()
}

/// Whenever the change came: between the authentication and the lease, or while nobody waited.
#[tokio::test]
async fn no_change_is_missed() {
    let app = app().await;
    let vestibule = &app.entrance.vestibule;
    let token = app.sandbox.user_token("user_ada").mint();
    let ada = principal(&app, &token).await;
    let mut before = vestibule.lease(&ada);
    assert!(timeout(A_WHILE, before.ended()).await.is_err());
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    let suspended = eventually(
        async || app.bearer(&token).me().await,
        |answer| answer.seen.reason == Some(Reason::UserSuspended),
    );
    suspended.await.refused(Reason::UserSuspended);
    let mut behind = vestibule.lease(&ada);
    for lease in [&mut before, &mut behind] {
        let ended = timeout(A_WHILE, lease.ended()).await.unwrap();
        assert_eq!(ended, Ended::Refused(Reason::UserSuspended));
        // Asked again it says the same, though he may come back.
        assert_eq!(lease.ended().await, ended);
    }
}

#[tokio::test]
async fn another_of_the_same_name_does_not_take_it_over() {
    let app = app().await;
    let token = app.sandbox.client_token("sc_robot01").mint();
    let robot = principal(&app, &token).await;
    app.directory.remove_client("sc_robot01").await.unwrap();
    let added = app
        .directory
        .add_client(app.acme.id, "sc_robot01", "new", &[]);
    let added = added.await.unwrap();
    let is_new =
        |answer: &Answer| answer.is_ok() && answer.json()["user"]["id"] == added.id.to_string();
    eventually(async || app.bearer(&token).me().await, is_new)
        .await
        .ok();
    let mut lease = app.entrance.vestibule.lease(&robot);
    let ended = timeout(PATIENCE, lease.ended()).await.unwrap();
    assert_eq!(ended, Ended::Refused(Reason::UnknownClient));
}

/// A clock that was set, or a machine that slept: the timers of the process do not know.
#[tokio::test]
async fn the_clock_is_looked_at_again() {
    let app = app().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let ada = principal(&app, &token).await;
    let mut lease = app.entrance.vestibule.lease(&ada);
    let waiting = tokio::spawn(async move { lease.ended().await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!waiting.is_finished());
    app.advance(86_400);
    let ended = timeout(Duration::from_secs(7), waiting).await.unwrap();
    assert_eq!(ended.unwrap(), Ended::Refused(Reason::Expired));
}
