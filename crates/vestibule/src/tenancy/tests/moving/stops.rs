//! A move that is broken off, anywhere.

use super::world::{World, in_each_tenancy};
use crate::{settings::Tenancy, store::Account, tenancy::postgres::Done};

const ALL: [Done; 14] = [
    Done::WrittenDown,
    Done::SourceFenced,
    Done::Quiet,
    Done::TargetFenced,
    Done::PlaceMade,
    Done::RowsCopied,
    Done::Compared,
    Done::NumbersSet,
    Done::CopyKept,
    Done::Switched,
    Done::Opened,
    Done::Emptied,
    Done::Checked,
    Done::Ended,
];

/// Where a move is stopped: in each tenancy at every third step, and in all of them together at
/// every one; everywhere where `MOVING_STOPS` is set, as `scripts/soak` does.
fn stops(tenancy: Tenancy) -> impl Iterator<Item = Done> {
    let turn = match tenancy {
        Tenancy::Row => 0,
        Tenancy::Schema => 1,
        Tenancy::Database => 2,
    };
    let all = std::env::var_os("MOVING_STOPS").is_some();
    let stops = ALL.into_iter().enumerate();
    stops
        .filter(move |(number, _)| all || number % 3 == turn)
        .map(|(_, done)| done)
}

fn is_before_switch(done: Done) -> bool {
    let at = |wanted| ALL.iter().position(|done| *done == wanted);
    at(done) < at(Done::Switched)
}

async fn is_open_in_one_place_at_most(world: &World, account: &Account, after: Done) {
    let main = world.is_writable(account, "main").await;
    let eu = world.is_writable(account, "eu").await;
    assert!(!(main && eu), "{after:?}");
    let lies = world.lies_on(account).await;
    assert!(!(if lies == "main" { eu } else { main }), "{after:?}");
    let open = after == Done::WrittenDown
        || matches!(
            after,
            Done::Opened | Done::Emptied | Done::Checked | Done::Ended
        );
    assert_eq!(main || eu, open, "{after:?}");
}

/// Killed after every step, and run again.
async fn killed_and_run_again(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    // Both places know the account from here on, as after any move.
    world.go(&acme, "eu").await;
    let (mut from, mut to) = ("eu", "main");
    for after in stops(tenancy) {
        world.go_until(&acme, to, after, false).await;
        is_open_in_one_place_at_most(&world, &acme, after).await;
        let moved = world.go(&acme, to).await;
        assert_eq!(moved.moved, after != Done::Ended, "{after:?}");
        if moved.moved {
            let odd = moved.tables.iter().find(|table| table.name == "odd");
            assert_eq!(odd.unwrap().copied, 13, "{after:?}");
        }
        assert_eq!(world.contents(&acme).await, contents, "{after:?}");
        assert_eq!(world.notes_at(&acme, from).await, None, "{after:?}");
        assert!(!world.is_writable(&acme, from).await, "{after:?}");
        assert_eq!(world.moves().await, 0, "{after:?}");
        (from, to) = (to, from);
    }
}
in_each_tenancy!(killed_and_run_again);

/// Killed after every step, and told to stay where it was, or to go there again.
async fn killed_and_taken_back(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    for after in stops(tenancy) {
        world.go_until(&acme, "eu", after, false).await;
        let moved = world.go(&acme, "main").await;
        assert_eq!(moved.moved, !is_before_switch(after), "{after:?}");
        assert_eq!(world.lies_on(&acme).await, "main");
        assert_eq!(world.contents(&acme).await, contents, "{after:?}");
        assert_eq!(world.notes_at(&acme, "eu").await, None, "{after:?}");
        assert!(world.is_writable(&acme, "main").await, "{after:?}");
        assert_eq!(world.moves().await, 0, "{after:?}");
    }
}
in_each_tenancy!(killed_and_taken_back);

/// A run that fails puts everything back by itself, or says that it must be run again.
async fn failed(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    // What fails right after the switch is gone on with at once.
    for after in stops(tenancy).filter(|after| *after != Done::Switched) {
        world.go_until(&acme, "eu", after, true).await;
        if is_before_switch(after) {
            assert_eq!(world.moves().await, 0, "{after:?}");
            assert_eq!(world.contents(&acme).await, contents, "{after:?}");
            assert_eq!(world.notes_at(&acme, "eu").await, None, "{after:?}");
        } else {
            world.go(&acme, "eu").await;
            assert_eq!(world.contents(&acme).await, contents, "{after:?}");
            world.go(&acme, "main").await;
        }
    }
}
in_each_tenancy!(failed);

/// What was written after the switch is not lost by a run that comes later.
async fn written_after_the_switch(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let (mut from, mut to) = ("main", "eu");
    for after in [Done::Opened, Done::Emptied, Done::Checked] {
        world.go_until(&acme, to, after, false).await;
        let text = format!("{after:?}");
        world.add(&acme, &text).await.unwrap();
        world.go(&acme, to).await;
        assert!(world.texts(&acme).await.contains(&text), "{after:?}");
        assert_eq!(world.notes_at(&acme, from).await, None);
        (from, to) = (to, from);
    }
}
in_each_tenancy!(written_after_the_switch);

/// An account that is deleted leaves nothing on any cluster, whatever its move left.
async fn deleted(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let bolt = world.full_account("bolt").await;
    let contents = world.contents(&bolt).await;
    for (number, after) in stops(tenancy).enumerate() {
        let acme = world.full_account(&format!("acme{number}")).await;
        world.go_until(&acme, "eu", after, false).await;
        world.owned.delete_account(acme.id).await.unwrap();
        for on in ["main", "eu"] {
            assert_eq!(world.notes_at(&acme, on).await, None, "{after:?} {on}");
        }
        if tenancy != Tenancy::Database {
            assert!(!world.fenced(acme.id, &world.main).await, "{after:?}");
            assert!(!world.fenced(acme.id, &world.eu).await, "{after:?}");
        }
        assert_eq!(world.moves().await, 0, "{after:?}");
    }
    assert_eq!(world.contents(&bolt).await, contents);
}
in_each_tenancy!(deleted);

/// Of two runs at once, one moves; the other finds it done, or says that somebody is at it.
async fn two_at_once(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    let (mut one, mut other) = (|_| {}, |_| {});
    let runs = tokio::join!(
        world.owned.move_account(acme.id, "eu", &mut one),
        world.owned.move_account(acme.id, "eu", &mut other),
    );
    let mut moved = 0;
    for run in [runs.0, runs.1] {
        match run {
            Ok(done) => moved += i32::from(done.moved),
            Err(error) => assert!(error.to_string().contains("by another process"), "{error}"),
        }
    }
    assert_eq!(moved, 1);
    assert_eq!(world.contents(&acme).await, contents);
    assert_eq!(world.notes_at(&acme, "main").await, None);
}
in_each_tenancy!(two_at_once);
