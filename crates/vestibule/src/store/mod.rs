//! 5. The directory: accounts, users, service clients and what belongs to them.
//!
//! One SQL text for every database. A statement is put together at run time ([`Value`]), so no
//! type parameter for the database reaches a caller; what differs between databases is apart, in
//! `sqlite.rs` and `postgres/`.
//!
//! Every change is written down in the same transaction that makes it, so that every other
//! process hears of it within a second (`directory/watch.rs`).

mod cursor;
mod directory;
mod error;
mod ids;
mod names;
pub(crate) mod postgres;
mod query;
mod records;
mod schema;
pub(crate) mod sqlite;
mod trouble;

pub(crate) use self::cursor::{beginning, newest_first, oldest_first};
#[cfg(test)]
pub(crate) use self::directory::tests as directory_tests;
pub use self::directory::{
    AccountUsers, Difference, Directory, IMPORT_LIMIT, Imported, ImportedClient, ImportedUser,
    WatchGuard,
};
pub(crate) use self::directory::{IDLE_LIMIT, KeptMigration, KeptMove, Writing};
pub use self::error::StoreError;
pub(crate) use self::ids::Ids;
pub(crate) use self::names::is_plain_text;
pub use self::names::{check_account, check_tenant};
pub use self::postgres::audit::{Danger, Finding, Level};
pub(crate) use self::query::{
    Connection, Kind, Operation, PostgresConnection, Query, Rows, run_script,
};
pub use self::query::{FromDatabaseRow, Value};
pub use self::records::{
    Account, Change, CutOff, CutOffTarget, KeptFact, NewUser, Page, PageOf, Profile, Provisioned,
    ServiceClient, Status, User,
};
pub(crate) use self::trouble::{Trouble, trouble};
