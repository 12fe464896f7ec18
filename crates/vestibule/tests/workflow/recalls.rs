//! Callers of a moment ago, found in memory without waiting for anything: as long as all that the
//! answer rests on holds, and not a moment longer.

use vestibule::{
    Clock as _, Principal, Reason, Timestamp, principal::UserWithAccount, store::CutOffTarget,
    token::TokenDigest,
};
use vestibule_sandbox::TokenBuilder;

use crate::{
    answer::Answer,
    app::{App, app, eventually, found, with},
    counters::Counters,
    entrance::Actor,
};

/// Soft ages that none of these tests reaches, unless it sets one.
const LONG: &str = "100000";

/// Less than `PRINCIPAL_MAX_STALE`, so that the directory's word counts after a step of the clock.
const WHILE: u64 = 20;

impl App {
    /// The owner of a token, who has been here twice: the first visit makes a local user.
    async fn returning(&self, token: TokenBuilder) -> Actor {
        self.returned(self.with(token)).await
    }

    async fn returned(&self, actor: Actor) -> Actor {
        is_recalled(&actor).await;
        actor
    }
}

async fn lasting(name: &'static str, seconds: u64) -> App {
    let mut setup = with(name, seconds.to_string());
    for age in ["TOKEN_CACHE_TTL", "USER_CACHE_TTL", "JWKS_REFRESH"] {
        if age != name {
            setup = setup.with(age, LONG);
        }
    }
    setup.start().await
}

/// What was found out is not believed any more; then the whole way is gone.
async fn is_forgotten(actor: &Actor) {
    found(async || actor.recall().is_none().then_some(())).await;
}

/// After a use, or a few: what was changed by an earlier one, such as a first visit, is announced
/// behind it, and what is asked in the background comes late.
async fn is_recalled(actor: &Actor) -> Principal {
    found(async || match actor.recall() {
        Some(principal) => Some(principal),
        None => {
            actor.me().await.ok();
            actor.recall()
        }
    })
    .await
}

fn who(principal: &Principal) -> (String, String, usize) {
    let user = principal.user();
    (
        user.authress_user_id.clone(),
        user.role.clone(),
        principal.token().scopes.len(),
    )
}

#[tokio::test]
async fn from_the_second_visit_on() {
    let counters = Counters::here();
    let app = app().await;
    let ada = app.with(app.sandbox.user_token("user_ada").scope("openid profile"));
    assert!(ada.recall().is_none());
    // Her first visit makes a local user; what the directory says then is asked at the next.
    ada.me().await.ok();
    assert!(ada.recall().is_none());
    ada.me().await.ok();
    let recalled = is_recalled(&ada).await;
    found(async || {
        let hits = counters.hits();
        ada.recall()?;
        assert_eq!(counters.hits(), hits + 1);
        Some(())
    })
    .await;
    assert_eq!(
        who(&recalled),
        ("user_ada".to_owned(), "member".to_owned(), 2)
    );
    assert_eq!(recalled.account().id, app.acme.id);

    let robot = app.client("sc_robot01");
    robot.me().await.ok();
    let recalled = is_recalled(&robot).await;
    let role = "service_client".to_owned();
    assert_eq!(who(&recalled), ("sc_robot01".to_owned(), role, 1));
    assert_eq!(counters.misses(), 2);
}

#[tokio::test]
async fn only_with_the_very_token() {
    let app = app().await;
    let mint = |number| app.sandbox.user_token("user_ada").claim("number", number);
    let token = mint(1).mint();
    app.returned(app.bearer(&token)).await;
    for another in [mint(2).mint(), format!("{token}A"), token[1..].to_owned()] {
        assert!(app.bearer(another).recall().is_none());
    }
    assert!(app.anonymous().recall().is_none());
    let twice = app.bearer(&token).authorization(&format!("Bearer {token}"));
    assert!(twice.recall().is_none());
}

#[tokio::test]
async fn until_the_provider_is_asked_about_the_user_again() {
    let app = lasting("USER_CACHE_TTL", WHILE).await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let robot = app.returning(app.sandbox.client_token("sc_robot01")).await;
    app.advance(WHILE - 1);
    is_recalled(&ada).await;
    app.advance(1);
    assert!(ada.recall().is_none());
    // Nobody asks the provider about a service client.
    is_recalled(&robot).await;
    // A use brings the provider's new word, and another rests on it.
    is_recalled(&ada).await;
}

#[tokio::test]
async fn until_the_keys_are_asked_for_again() {
    let app = lasting("JWKS_REFRESH", WHILE).await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let robot = app.returning(app.sandbox.client_token("sc_robot01")).await;
    app.advance(WHILE - 1);
    is_recalled(&ada).await;
    is_recalled(&robot).await;
    app.advance(1);
    // The issuer's set may be fetched again behind its back.
    assert!(robot.recall().is_none());
}

#[tokio::test]
async fn until_the_token_ends() {
    let app = lasting("TOKEN_CACHE_TTL", 100_000).await;
    let token = app.sandbox.user_token("user_ada").expires_in(20);
    let ada = app.returning(token).await;
    app.advance(19);
    is_recalled(&ada).await;
    app.advance(1);
    assert!(ada.recall().is_none());
    // Within the leeway.
    ada.me().await.ok();
    assert!(ada.recall().is_none());
}

#[tokio::test]
async fn until_the_bucket_turns() {
    let app = lasting("TOKEN_CACHE_TTL", WHILE).await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    app.advance(WHILE);
    assert!(ada.recall().is_none());
    ada.me().await.ok();
    is_recalled(&ada).await;
}

#[tokio::test]
async fn not_by_a_clock_that_was_set_back() {
    let app = app().await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let now = app.clock.now();
    app.clock.set(Timestamp::from_millis(now.as_millis() - 1));
    assert!(ada.recall().is_none());
    ada.me().await.ok();
    is_recalled(&ada).await;
}

#[tokio::test]
async fn not_where_nobody_can_tell_what_has_changed() {
    let app = lasting("PRINCIPAL_MAX_STALE", 10).await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    // Nobody has looked since.
    app.clock
        .set(app.clock.now() + std::time::Duration::from_millis(11_000));
    assert!(ada.recall().is_none());
    is_recalled(&ada).await;
}

#[tokio::test]
async fn not_after_a_change_of_the_caller_or_the_account() {
    let app = app().await;
    for change in ["role", "name", "user", "account"] {
        let token = || app.sandbox.user_token("user_ada").claim("for", change);
        let ada = app.returning(token()).await;
        let user = is_recalled(&ada).await.user().id;
        let (directory, account) = (&app.directory, app.acme.id);
        match change {
            "role" => drop(directory.set_user_role(user, "owner").await.unwrap()),
            "name" => drop(directory.rename_account(account, "Another").await.unwrap()),
            "user" => drop(directory.suspend_user(user).await.unwrap()),
            _ => drop(directory.suspend_account(account).await.unwrap()),
        }
        let refused = match change {
            "user" => Reason::UserSuspended,
            "account" => Reason::AccountSuspended,
            _ => {
                // Another principal, once it is announced.
                let is_new = |it: &Principal| {
                    let renamed = it.account().name == "Another";
                    it.user().role == "owner" && renamed == (change == "name")
                };
                found(async || {
                    ada.me().await.ok();
                    ada.recall().filter(is_new)
                })
                .await;
                continue;
            }
        };
        let is_refused = |answer: &Answer| answer.seen.reason == Some(refused);
        eventually(async || ada.me().await, is_refused)
            .await
            .refused(refused);
        assert!(ada.recall().is_none());
        if change == "user" {
            directory.resume_user(user).await.unwrap();
            eventually(async || ada.me().await, |answer| answer.is_ok())
                .await
                .ok();
        }
    }
}

#[tokio::test]
async fn not_after_a_change_of_the_service_client() {
    let app = app().await;
    let robot = app.returning(app.sandbox.client_token("sc_robot01")).await;
    let other = app.returning(app.sandbox.client_token("sc_robot02")).await;
    app.directory.remove_client("sc_robot01").await.unwrap();
    let is_refused = |answer: &Answer| !answer.is_ok();
    eventually(async || robot.me().await, is_refused)
        .await
        .refused(Reason::UnknownClient);
    assert!(robot.recall().is_none());
    other.me().await.ok();
}

/// A change of one caller ends what is known of another only where chance has put both together.
#[tokio::test]
async fn others_stay() {
    let app = app().await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let robots = [
        app.returning(app.sandbox.client_token("sc_robot01")).await,
        app.returning(app.sandbox.client_token("sc_robot02")).await,
    ];
    let grace = app.returning(app.sandbox.user_token("user_grace")).await;
    let alan = app.returning(app.sandbox.user_token("user_alan")).await;
    // The announcements of their first visits come late.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    for actor in [&ada, &grace, &alan] {
        actor.me().await.ok();
    }
    let user = is_recalled(&alan).await.user().id;
    app.directory.set_user_role(user, "owner").await.unwrap();
    is_forgotten(&alan).await;
    assert!(robots.iter().all(|robot| robot.recall().is_some()));
    assert!(ada.recall().is_some() || grace.recall().is_some());
}

#[tokio::test]
async fn not_after_its_key_was_withdrawn() {
    let app = lasting("TOKEN_CACHE_TTL", 100_000).await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    app.withdraw_account_key().await;
    assert!(ada.recall().is_none());
    ada.me().await.refused(Reason::UnknownKey);

    let robot = app.returning(app.sandbox.client_token("sc_robot01")).await;
    app.sandbox.rotate_client_key("sc_robot01").unwrap();
    let old = robot;
    // The new key's token makes the library fetch the set; the old one is in it still.
    app.client("sc_robot01").me().await.ok();
    assert!(old.recall().is_none());
    old.me().await.ok();
    is_recalled(&old).await;
}

#[tokio::test]
async fn again_with_what_was_issued_after_a_cut_off() {
    let app = app().await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let user = is_recalled(&ada).await.user().id;
    app.advance(1);
    app.cut_off(CutOffTarget::User(user)).await;
    is_forgotten(&ada).await;
    app.returning(app.sandbox.user_token("user_ada")).await;
}

#[tokio::test]
async fn with_what_was_made_of_the_caller() {
    let app = app().await;
    let ada = app.returning(app.sandbox.user_token("user_ada")).await;
    let other = app.returning(app.sandbox.user_token("user_ada")).await;
    let made = |principal: &Principal, text: &str| {
        let derive = |kind, caller: &UserWithAccount| format!("{kind} {text} {}", caller.user.role);
        principal.derived(derive).unwrap().clone()
    };
    // Once for all of the caller's tokens, unless a late announcement comes between.
    let both = found(async || {
        let (one, two) = (is_recalled(&ada).await, is_recalled(&other).await);
        let (first, second) = (made(&one, "first"), made(&two, "second"));
        assert!(one.derived(|_, _| 7_u8).is_none(), "one type");
        (first == second).then_some(first)
    })
    .await;
    assert_eq!(both, "user first member");
    let user = is_recalled(&ada).await.user().id;
    app.directory.set_user_role(user, "owner").await.unwrap();
    found(async || {
        ada.me().await.ok();
        (made(&ada.recall()?, "third") == "user third owner").then_some(())
    })
    .await;
}

#[tokio::test]
async fn not_after_it_was_cut_off() {
    let app = app().await;
    let token = |what: &str| app.sandbox.user_token("user_ada").claim("for", what);
    let first = token("token").mint();
    let digest = TokenDigest::of(&vestibule::BearerToken::parse(&first).unwrap());
    let user = app.returning(token("user")).await;
    let user = is_recalled(&user).await.user().id;
    let robot = || app.sandbox.client_token("sc_robot01");
    let targets = [
        (app.bearer(&first), CutOffTarget::Token(digest.identity())),
        (app.with(token("user")), CutOffTarget::User(user)),
        (
            app.with(robot()),
            CutOffTarget::Key {
                client_id: "sc_robot01".to_owned(),
                kid: app.sandbox.client_key("sc_robot01").kid().to_owned(),
            },
        ),
        (app.user("user_grace"), CutOffTarget::Account(app.globex.id)),
        (
            app.user("user_alan"),
            CutOffTarget::Issuer(app.sandbox.issuer().to_owned()),
        ),
    ];
    for (actor, target) in targets {
        let actor = app.returned(actor).await;
        app.advance(1);
        app.cut_off(target).await;
        let is_revoked = |answer: &Answer| answer.seen.reason == Some(Reason::Revoked);
        eventually(async || actor.me().await, is_revoked)
            .await
            .refused(Reason::Revoked);
        assert!(actor.recall().is_none());
    }
}
