//! Whatever callers, handlers and their SQL do, nobody sees or changes another account's rows.
//!
//! Many accounts, few connections, thousands of interleaved transactions: honest ones that forget
//! the account in their `WHERE` (there is none to forget), hostile SQL, cancellation at any
//! moment, panics. Every row says whose it is, so a foreign one is noticed by whoever reads it.
//!
//! The same storm blows over sessions that are wrong on purpose: a pool that keeps the last
//! account's connection, a plain setting that names the account. There it must find foreign rows,
//! or it could not see what it looks for.
//!
//! `ISOLATION_OPERATIONS` sets how many transactions there are; `scripts/soak` sets 100,000. The
//! seed is printed when something is wrong; `ISOLATION_SEED` repeats it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

#[macro_use]
mod careless_session;
mod careless;
mod careless_postgres;
mod hostile;
mod inside;
mod ours;
mod outside;
mod place;
mod storm;

use vestibule::settings::Tenancy;

use self::{
    careless::Careless,
    careless_postgres::CarelessPostgres,
    ours::Ours,
    place::Place,
    storm::{Accounts, Storm},
};

/// For fifty accounts.
const CONNECTIONS: u32 = 4;

async fn nothing_is_found(place: Place, storm: Storm) {
    let ours = Ours::open(place, storm.accounts, CONNECTIONS).await;
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
    assert!(found.cancelled > 10 && found.refused > 50, "{found:?}");
    // One in a hundred panics: in a short storm there may be none by chance.
    assert!(found.committed < 500 || found.panicked > 0, "{found:?}");
    assert!(found.twins > 2 && found.unreferred > 3, "{found:?}");
}

async fn something_is_found(careless: impl Accounts, storm: Storm) {
    let found = storm.blow(careless).await;
    assert!(
        !found.foreign.is_empty(),
        "seed {}: a wrong session went unnoticed: {found:?}",
        storm.seed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files() {
    nothing_is_found(Place::files(), Storm::from_environment(50, 1_500)).await;
}

/// One test for each way to each tenancy.
macro_rules! on_postgres {
    ($($name:ident: $tenancy:ident, $pooled:literal, $accounts:literal, $small:literal;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let place = Place::postgres(Tenancy::$tenancy, $pooled).await;
            nothing_is_found(place, Storm::from_environment($accounts, $small)).await;
        }
    )+ };
}

on_postgres! {
    row: Row, false, 50, 1_200;
    row_through_pgbouncer: Row, true, 50, 1_200;
    schema: Schema, false, 50, 1_200;
    schema_through_pgbouncer: Schema, true, 50, 1_200;
    // Each database has to be made, and costs a connection of its own at every change of accounts.
    database: Database, false, 6, 500;
    database_through_pgbouncer: Database, true, 6, 500;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_a_pool_that_keeps_connections() {
    let storm = Storm::small(50, 1_500);
    something_is_found(Careless::open(storm.accounts).await, storm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_a_setting_that_stays_behind_in_a_pooler() {
    let storm = Storm::small(50, 1_200);
    let careless = CarelessPostgres::open(storm.accounts, true, false).await;
    something_is_found(careless, storm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_a_setting_that_anybody_can_set() {
    let storm = Storm::small(50, 1_200);
    let careless = CarelessPostgres::open(storm.accounts, false, true).await;
    something_is_found(careless, storm).await;
}
