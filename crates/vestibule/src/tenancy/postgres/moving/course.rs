//! The steps of a move in their order, and what becomes of a run that fails.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{
    super::{
        Cluster,
        making::{plain, script},
    },
    Done, MoveProgress, Moved, MovedTable, Moving,
};
use crate::{
    settings::Tenancy,
    store::{KeptMigration, KeptMove, StoreError, postgres::close},
    tenancy::migrations::{applied, missing},
};

const STEPS: usize = 7;

impl Moving<'_> {
    pub(super) async fn run(&mut self, target: &Arc<Cluster>) -> Result<Moved, StoreError> {
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

    pub(super) fn step(&mut self, step: usize, what: impl Into<String>) {
        self.step_with(step, what.into(), 0);
    }

    pub(super) fn step_with(&mut self, step: usize, what: String, rows: u64) {
        (self.progress)(MoveProgress {
            step,
            of: STEPS,
            what,
            rows,
        });
    }

    /// Here a test can end the run.
    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps))]
    pub(super) fn reached(&self, done: Done) -> Result<(), StoreError> {
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

    pub(super) fn is_own_database(&self) -> bool {
        self.clusters.tenancy == Tenancy::Database
    }

    pub(super) fn shares_tables(&self) -> bool {
        self.clusters.tenancy == Tenancy::Row
    }

    /// Of the migrations that are kept, those that the old place has.
    async fn migrations_of(
        &self,
        old: &mut PgConnection,
    ) -> Result<Vec<KeptMigration>, StoreError> {
        let mut kept = self.spaces.directory().kept_migrations().await?;
        let applied = applied(plain(old)).await?;
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
