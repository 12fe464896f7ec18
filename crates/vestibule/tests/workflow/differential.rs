//! A process that remembers tokens and one that does not, upon one directory in which people,
//! clients and accounts are suspended and resumed at random: both say what the directory says.
//!
//! `DIFFERENTIAL_ROUNDS` makes it long.

use std::env;

use vestibule::Reason;

use crate::{
    app::{app, eventually},
    entrance::Actor,
};

/// What was suspended, by the model.
#[derive(Clone, Copy, Debug, Default)]
struct Suspended {
    ada: bool,
    robot: bool,
    acme: bool,
}

impl Suspended {
    /// Ada, Alan, Acme's robot, and Grace at Globex.
    fn reasons(self) -> [Option<Reason>; 4] {
        let of = |own: bool, reason| match (self.acme, own) {
            (true, _) => Some(Reason::AccountSuspended),
            (false, true) => Some(reason),
            (false, false) => None,
        };
        [
            of(self.ada, Reason::UserSuspended),
            of(false, Reason::UserSuspended),
            of(self.robot, Reason::ClientSuspended),
            None,
        ]
    }
}

async fn says(actor: &Actor, expected: Option<Reason>, state: Suspended) {
    let answer = eventually(
        async || actor.me().await,
        |answer| answer.seen.reason == expected,
    )
    .await;
    assert_eq!(answer.seen.reason, expected, "{state:?}");
}

#[tokio::test]
async fn a_memory_changes_no_answer() {
    let app = app().await;
    let plain = app.replica_without_memory().await;
    let tokens = [
        app.sandbox.user_token("user_ada").mint(),
        app.sandbox.user_token("user_alan").mint(),
        app.sandbox.client_token("sc_robot01").mint(),
        app.sandbox.user_token("user_grace").mint(),
    ];
    let pairs = tokens.map(|token| [app.bearer(&token), plain.bearer(&token)]);
    for pair in &pairs {
        for actor in pair {
            actor.me().await.ok();
        }
    }
    let ada = app.row("user_ada").await.unwrap().id;
    let rounds = env::var("DIFFERENTIAL_ROUNDS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut state = Suspended::default();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..rounds {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let directory = &app.directory;
        match (random >> 33) % 3 {
            0 => {
                state.ada = !state.ada;
                match state.ada {
                    true => directory.suspend_user(ada).await.unwrap(),
                    false => directory.resume_user(ada).await.unwrap(),
                };
            }
            1 => {
                state.robot = !state.robot;
                match state.robot {
                    true => directory.suspend_client("sc_robot01").await.unwrap(),
                    false => directory.resume_client("sc_robot01").await.unwrap(),
                };
            }
            _ => {
                state.acme = !state.acme;
                match state.acme {
                    true => directory.suspend_account(app.acme.id).await.unwrap(),
                    false => directory.resume_account(app.acme.id).await.unwrap(),
                };
            }
        }
        for (pair, expected) in pairs.iter().zip(state.reasons()) {
            for actor in pair {
                says(actor, expected, state).await;
            }
        }
        // Both have heard of it: from now on there is no waiting.
        for (pair, expected) in pairs.iter().zip(state.reasons()) {
            for actor in pair {
                assert_eq!(actor.me().await.seen.reason, expected, "{state:?}");
            }
        }
    }
}
