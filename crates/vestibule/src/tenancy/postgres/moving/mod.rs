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
mod deleting;
mod fence;
mod numbers;
mod places;
mod tables;

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Cluster, Clusters, making::script};
use crate::{
    settings::Tenancy,
    store::{KeptMigration, KeptMove, StoreError, postgres::close},
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

const STEPS: usize = 7;

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

impl Moving<'_> {
    async fn run(&mut self, target: &Arc<Cluster>) -> Result<Moved, StoreError> {
        let (directory, clusters) = (self.spaces.directory(), self.clusters);
        let mut begun = directory.move_of(self.account).await?;
        if let Some(kept) = &begun {
            directory.take_over_move(self.account, self.run).await?;
            let (from, to) = (
                clusters.called(&kept.source)?,
                clusters.called(&kept.target)?,
            );
            if kept.is_switched() {
                let moved = self.finish(from, to, kept).await?;
                if Arc::ptr_eq(to, target) {
                    return Ok(moved);
                }
                begun = None;
            } else if !Arc::ptr_eq(to, target) {
                self.undo(from, to).await?;
                begun = None;
            }
        }
        let placement = directory.placement(self.account).await?;
        let source = clusters.cluster(placement.as_deref())?;
        if Arc::ptr_eq(source, target) {
            return Ok(Moved {
                moved: false,
                from: source.shown().to_owned(),
                to: source.shown().to_owned(),
                tables: Vec::new(),
                space_left: false,
            });
        }
        match self.begin(source, target, begun.is_some()).await {
            Ok(kept) => self.finish(source, target, &kept).await,
            Err(error) => self.after(error, source, target).await,
        }
    }

    /// From the beginning to the switch.
    async fn begin(
        &mut self,
        source: &Cluster,
        target: &Cluster,
        written_down: bool,
    ) -> Result<KeptMove, StoreError> {
        let directory = self.spaces.directory();
        let (from, to) = (source.shown().to_owned(), target.shown().to_owned());
        self.require_two_places(source, target).await?;
        self.require_prepared(source, target).await?;
        if !written_down {
            directory
                .begin_move(self.account, self.run, &from, &to)
                .await?;
        }
        self.reached(Done::WrittenDown)?;
        let mut old = self.keep_migrations_away(source).await?;
        self.step(1, format!("closing the account on {from}"));
        self.fence(source, &to).await?;
        self.reached(Done::SourceFenced)?;
        self.step(2, "waiting for its last sessions");
        self.wait_until_quiet(source).await?;
        self.reached(Done::Quiet)?;
        self.enter(&mut old).await?;
        self.see_all_rows(&mut old).await?;
        let migrations = self.migrations_of(&mut old).await?;
        self.step(3, format!("making its place on {to}"));
        let mut new = self.make_place(target, &migrations).await?;
        self.reached(Done::PlaceMade)?;
        let copied = self.copy(&mut old, &mut new.on).await?;
        self.set_numbers(target, &mut old, &mut new.on).await?;
        self.reached(Done::NumbersSet)?;
        self.keep_place(new).await?;
        self.reached(Done::CopyKept)?;
        self.step(6, "switching");
        // The old place's migrations have waited until now, and nobody has taken over.
        script(&mut old, "SELECT 1").await?;
        self.require_lock().await?;
        directory
            .switch_move(
                self.account,
                self.run,
                target.name.as_deref(),
                copied.clone(),
            )
            .await?;
        self.reached(Done::Switched)?;
        close(old).await;
        Ok(KeptMove {
            source: from,
            target: to,
            copied: Some(copied),
        })
    }

    /// After the switch: opens the new place, empties the old one.
    async fn finish(
        &mut self,
        source: &Cluster,
        target: &Cluster,
        kept: &KeptMove,
    ) -> Result<Moved, StoreError> {
        let finished = self.finish_switched(source, target, kept).await;
        finished.map_err(|error| {
            with(
                error,
                &format!(
                    "the account lies on {} now, but its move is not over: run the command again, \
                     and it goes on",
                    target.shown()
                ),
            )
        })
    }

    async fn finish_switched(
        &mut self,
        source: &Cluster,
        target: &Cluster,
        kept: &KeptMove,
    ) -> Result<Moved, StoreError> {
        self.step(7, format!("removing what is left on {}", source.shown()));
        self.require_lock().await?;
        self.open(target).await?;
        self.reached(Done::Opened)?;
        self.require_there(target).await?;
        self.require_lock().await?;
        self.empty(source, target).await?;
        self.reached(Done::Emptied)?;
        let (left, space_left) = self.left(source).await?;
        self.reached(Done::Checked)?;
        let copied: Vec<(String, i64)> = kept
            .copied
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let tables = copied.into_iter().map(|(name, copied)| {
            let found = left.iter().find(|(table, _)| *table == name);
            MovedTable {
                left: found.map_or(0, |(_, rows)| *rows),
                name,
                copied,
            }
        });
        let moved = Moved {
            moved: true,
            from: source.shown().to_owned(),
            to: target.shown().to_owned(),
            tables: tables.collect(),
            space_left,
        };
        if left.iter().any(|(_, rows)| *rows > 0) {
            return Err(StoreError::Refused(format!(
                "rows of the account are left on {}",
                moved.from
            )));
        }
        let directory = self.spaces.directory();
        directory.end_move(self.account, self.run).await?;
        self.reached(Done::Ended)?;
        Ok(moved)
    }

    /// Before the switch: all is as it was, but for a fence where the account does not lie.
    async fn undo(&mut self, source: &Cluster, target: &Cluster) -> Result<(), StoreError> {
        self.require_lock().await?;
        self.remove_copy(source, target).await?;
        self.require_lock().await?;
        self.open(source).await?;
        let directory = self.spaces.directory();
        directory.end_move(self.account, self.run).await
    }

    /// A run that failed leaves the account where it was, if it can.
    async fn after(
        &mut self,
        error: StoreError,
        source: &Cluster,
        target: &Cluster,
    ) -> Result<Moved, StoreError> {
        #[cfg(test)]
        if self.stop.after.is_some() && !self.stop.fails {
            return Err(error);
        }
        let again = "the account is closed until the move is gone on with or taken back: run the \
                     command again, or move the account to where it is";
        let directory = self.spaces.directory();
        // Whoever has lost the lock leaves it to whoever has it now.
        let kept = match self.require_lock().await {
            Ok(()) => directory.move_of(self.account).await,
            Err(error) => Err(error),
        };
        match kept {
            // Nothing had begun, or the account is gone.
            Ok(None) => Err(error),
            // The switch was made, and only its answer was lost.
            Ok(Some(kept)) if kept.is_switched() => self.finish(source, target, &kept).await,
            Ok(Some(_)) => match self.undo(source, target).await {
                Ok(()) => Err(with(
                    error,
                    "nothing was moved, and the account is open where it was",
                )),
                Err(undone) => Err(with(error, &format!("{undone}; {again}"))),
            },
            Err(_) => Err(with(error, again)),
        }
    }

    fn step(&mut self, step: usize, what: impl Into<String>) {
        self.step_with(step, what.into(), 0);
    }

    fn step_with(&mut self, step: usize, what: String, rows: u64) {
        (self.progress)(MoveProgress {
            step,
            of: STEPS,
            what,
            rows,
        });
    }

    /// Here a test can end the run.
    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps))]
    fn reached(&self, done: Done) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.stop.after == Some(done) {
            return Err(StoreError::Unavailable(format!("stopped after {done:?}")));
        }
        tracing::debug!(account = %self.account, ?done, "account move");
        Ok(())
    }

    /// Whether the lock is still held: it is gone with its connection.
    async fn require_lock(&mut self) -> Result<(), StoreError> {
        script(&mut self.lock, "SELECT 1").await.map_err(|error| {
            StoreError::Unavailable(format!(
                "the connection that keeps other moves away was lost ({error})"
            ))
        })
    }

    fn is_own_database(&self) -> bool {
        self.clusters.tenancy == Tenancy::Database
    }

    fn shares_tables(&self) -> bool {
        self.clusters.tenancy == Tenancy::Row
    }

    /// Of the migrations that are kept, those that the old place has.
    async fn migrations_of(
        &self,
        old: &mut PgConnection,
    ) -> Result<Vec<KeptMigration>, StoreError> {
        use crate::tenancy::migrations::{applied, missing};
        let mut kept = self.spaces.directory().kept_migrations().await?;
        let applied = applied(super::making::plain(old)).await?;
        let lacks: Vec<i64> = missing(&kept, &applied)?
            .iter()
            .map(|migration| migration.version)
            .collect();
        kept.retain(|migration| !lacks.contains(&migration.version));
        Ok(kept)
    }
}

/// The same error, with what it means for the account.
fn with(error: StoreError, what: &str) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{text}; {what}")),
        other => StoreError::Refused(format!("{other}; {what}")),
    }
}
