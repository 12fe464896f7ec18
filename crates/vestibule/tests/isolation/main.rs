//! Whatever callers, handlers and their SQL do, nobody sees or changes another account's rows.
//!
//! Many accounts, few connections, thousands of interleaved transactions: honest ones that forget
//! the account in their `WHERE` (there is none to forget), hostile SQL, cancellation at any
//! moment, panics. Every row says whose it is, so a foreign one is noticed by whoever reads it.
//!
//! The same storm blows over a session that is wrong on purpose, with a pool that keeps the last
//! account's connection: there it must find foreign rows, or it could not see what it looks for.
//!
//! `ISOLATION_OPERATIONS` sets how many transactions there are; `scripts/soak` sets 20,000. The
//! seed is printed when something is wrong; `ISOLATION_SEED` repeats it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

mod careless;
mod ours;
mod storm;

use self::{careless::Careless, ours::Ours, storm::Storm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_foreign_row_is_read_or_written() {
    let storm = Storm::from_environment(1_500);
    let ours = Ours::open(storm.accounts).await;
    let found = storm.blow(ours).await;
    assert!(
        found.foreign.is_empty(),
        "seed {}: {:#?}",
        storm.seed,
        found.foreign
    );
    assert!(
        found.lost.is_empty(),
        "seed {}: lost {:#?}",
        storm.seed,
        found.lost
    );
    // A storm that hits nothing proves nothing.
    assert!(found.committed > 100, "{found:?}");
    assert!(
        found.cancelled > 20 && found.panicked > 2 && found.refused > 50,
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_what_it_looks_for() {
    let storm = Storm::from_environment(1_500);
    let careless = Careless::open(storm.accounts).await;
    let found = storm.blow(careless).await;
    assert!(
        !found.foreign.is_empty(),
        "seed {}: a wrong pool went unnoticed",
        storm.seed
    );
}
