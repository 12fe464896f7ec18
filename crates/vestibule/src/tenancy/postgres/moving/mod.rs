//! How an account's data go to another cluster, and nothing of them stays.
//!
//! What has been done is written down in the directory's table `moves`, which only the switch
//! changes. Until then the account lies on the old cluster, after it on the new one:
//!
//! | step | durable in | when broken off after it, the next run |
//! | --- | --- | --- |
//! | the move is written down | directory | begins anew, or undoes |
//! | the fence of the old database is up | old database | begins anew, or undoes: the fence falls |
//! | sessions that did not see it are over, or are ended | | the same |
//! | the fence of the new database is up | new database | the same |
//! | place, tables and rows are made, and compared | new database, one transaction | removes them, and begins anew, or undoes |
//! | **the switch**: placement and what was copied | directory, one transaction | finishes |
//! | the fence of the new database falls | new database | finishes |
//! | what is in the old database is removed; its fence stays | old database | finishes |
//! | nothing is found there; the move is over | directory | has nothing to do |
//!
//! A run undoes where it fails before the switch, and where it is told to move the account
//! somewhere else than the run before it, which may be where the account is.
//!
//! What sessions see. Every session's transaction begins by asking for the fence, in the same
//! message that binds it (`fence.sql`), and leaves a mark there until it ends. Behind a pooler and
//! on connections that lay idle it is the same. Whoever sees the fence is answered
//! `storage_unavailable`; whoever did not is waited for, and ended after `DATABASE_TIMEOUT`. A
//! server that is stopped by a fence asks the directory where the account lies, and goes there.
//! So the account can be written in one database at most: the old one is fenced before the first
//! row is read, the new one until the switch.
//!
//! Migrations. While rows are copied, those of the old and the new place wait; later ones are
//! stopped by the fence. The new place gets the migrations that the old one has, and no others.
//!
//! Two runs. A lock on the main cluster keeps a second one away. Should its connection be lost, the
//! second takes over the move and the fences, by their `run`; what the first still does in a
//! database fails there, as it begins by taking its own fence away, and what it does in the
//! directory fails too.

mod copying;
mod course;
mod deleting;
mod fence;
mod numbers;
mod places;
mod tables;

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Cluster, Clusters};
use crate::{
    store::{StoreError, postgres::close},
    tenancy::TenantSpaces,
};

/// How far a move is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoveProgress {
    /// The step that is being done, from 1.
    pub step: usize,
    /// So many steps there are.
    pub of: usize,
    /// What is done in it.
    pub what: String,
    /// Rows that were copied in it so far.
    pub rows: u64,
}

/// What a move did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// False where the account was there already.
    pub moved: bool,
    /// The cluster that the account was on.
    pub from: String,
    /// The cluster that it is on.
    pub to: String,
    /// Its tables.
    pub tables: Vec<MovedTable>,
    /// Something with the name of the account's schema or database is still there where it was:
    /// an empty database, where somebody else is connected to it.
    pub space_left: bool,
}

/// One table of a moved account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedTable {
    /// Its name.
    pub name: String,
    /// Rows that were copied.
    pub copied: i64,
    /// Rows that are left where it was: none.
    pub left: i64,
}

/// What has been done of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tenancy) enum Done {
    WrittenDown,
    SourceFenced,
    Quiet,
    TargetFenced,
    PlaceMade,
    RowsCopied,
    Compared,
    NumbersSet,
    CopyKept,
    Switched,
    Opened,
    Emptied,
    Checked,
    Ended,
}

struct Moving<'m> {
    spaces: &'m TenantSpaces,
    clusters: &'m Clusters,
    account: Uuid,
    run: Uuid,
    /// Holds the lock, in an open transaction.
    lock: PgConnection,
    progress: &'m mut (dyn FnMut(MoveProgress) + Send),
    #[cfg(test)]
    stop: Stop,
}

/// Ends a run as a kill would, for tests.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tenancy) struct Stop {
    pub(in crate::tenancy) after: Option<Done>,
    /// Fails there instead, so that the run itself undoes what it did.
    pub(in crate::tenancy) fails: bool,
}

impl TenantSpaces {
    /// Moves an account's data to the cluster of this name; `main` is that of `DATABASE_URL`.
    ///
    /// Sessions of the account fail with `Unavailable` meanwhile. A move that was broken off is
    /// gone on with by the next one, or taken back by a move to where the account is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Refused`] with what to do; others where a database
    /// fails. The text says whether the account is where it was, or the move must be run again.
    pub async fn move_account(
        &self,
        id: Uuid,
        cluster: &str,
        progress: &mut (dyn FnMut(MoveProgress) + Send),
    ) -> Result<Moved, StoreError> {
        let Some(clusters) = self.place().postgres() else {
            return Err(only_on_postgres());
        };
        let target = clusters.called(cluster)?;
        if self.directory().account(id).await?.is_none() {
            return Err(StoreError::NotFound(format!("account {id}")));
        }
        let mut moving = Moving {
            spaces: self,
            clusters,
            account: id,
            run: self.new_id(),
            lock: clusters.hold_account(id).await?,
            progress,
            #[cfg(test)]
            stop: Stop::default(),
        };
        let moved = moving.run(target).await;
        clusters.forget(id);
        close(moving.lock).await;
        moved
    }

    /// As [`TenantSpaces::move_account`], but ends as if killed at a place.
    #[cfg(test)]
    pub(in crate::tenancy) async fn move_account_until(
        &self,
        id: Uuid,
        cluster: &str,
        stop: Stop,
    ) -> Result<Moved, StoreError> {
        let clusters = self.place().postgres().ok_or_else(only_on_postgres)?;
        let mut moving = Moving {
            spaces: self,
            clusters,
            account: id,
            run: self.new_id(),
            lock: clusters.hold_account(id).await?,
            progress: &mut |_| {},
            stop,
        };
        moving.run(clusters.called(cluster)?).await
    }
}

fn only_on_postgres() -> StoreError {
    StoreError::Refused("there are clusters on PostgreSQL only".to_owned())
}

impl Clusters {
    fn called(&self, name: &str) -> Result<&Arc<Cluster>, StoreError> {
        self.cluster((name != "main").then_some(name))
    }
}
