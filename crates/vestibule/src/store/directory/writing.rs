//! Transactions that write: what they change and what they announce is one.

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{Directory, pool::OpenTransaction, watch::ANNOUNCE};
use crate::{
    clock::Timestamp,
    store::{
        Change, StoreError,
        query::{Connection, FromDatabaseRow, Query, Value, rows},
    },
};

/// An open transaction that holds the directory's write lock.
pub(crate) struct Writing {
    transaction: OpenTransaction,
    directory: Directory,
    announced: Vec<Change>,
}

impl Directory {
    /// Runs `work` in one transaction and announces what it changed.
    ///
    /// It runs to its end even where the caller goes away.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Writing) -> BoxFuture<'w, Result<T, StoreError>> + Send + 'static,
    {
        self.write_within(self.inner.timeout, work).await
    }

    /// As [`Directory::write`], for work that may take as long as `limit`.
    pub(crate) async fn write_within<T, F>(&self, limit: Duration, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Writing) -> BoxFuture<'w, Result<T, StoreError>> + Send + 'static,
    {
        let directory = self.clone();
        let task = tokio::spawn(async move {
            let wait = directory.inner.timeout;
            let turn = tokio::time::timeout(wait, directory.inner.pool.turn());
            let _turn = turn.await.map_err(|_| StoreError::too_slow())?;
            let written = tokio::time::timeout(limit, async {
                let mut writing = directory.begin(limit).await?;
                match work(&mut writing).await {
                    Ok(value) => Ok((value, writing.commit().await?)),
                    Err(error) => {
                        writing.transaction.rollback().await;
                        Err(error)
                    }
                }
            });
            let (value, changes) = written.await.map_err(|_| StoreError::too_slow())??;
            directory.inner.subscribers.announce(&changes);
            Ok(value)
        });
        task.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the transaction was broken off".to_owned(),
            ))
        })
    }

    async fn begin(&self, limit: Duration) -> Result<Writing, StoreError> {
        Ok(Writing {
            transaction: self.inner.pool.begin(limit).await?,
            directory: self.clone(),
            announced: Vec::new(),
        })
    }
}

impl Writing {
    pub(crate) fn now(&self) -> Timestamp {
        self.directory.now()
    }

    pub(crate) fn new_id(&self) -> Uuid {
        self.directory.inner.ids.next()
    }

    pub(crate) async fn execute(&mut self, query: Query) -> Result<u64, StoreError> {
        Ok(query.execute(self.connection()?).await?)
    }

    pub(crate) async fn fetch_all<T: FromDatabaseRow>(
        &mut self,
        query: Query,
    ) -> Result<Vec<T>, StoreError> {
        Ok(query.fetch_all(self.connection()?).await?)
    }

    pub(crate) async fn fetch_optional<T: FromDatabaseRow>(
        &mut self,
        query: Query,
    ) -> Result<Option<T>, StoreError> {
        Ok(query.fetch_optional(self.connection()?).await?)
    }

    /// What every process must forget once this transaction is committed.
    pub(crate) fn announce(&mut self, change: Change) {
        self.announced.push(change);
    }

    pub(crate) fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        Ok(self.transaction.connection()?)
    }

    /// Announcements are written down last: on PostgreSQL whoever writes one down makes others
    /// wait until he has committed.
    async fn commit(mut self) -> Result<Vec<Change>, StoreError> {
        let (now, announced) = (self.now(), self.announced.clone());
        match announced.as_slice() {
            [] => {}
            // Many at once, so that others do not wait for each of them. Only an owner makes many.
            many @ [_, _, ..] if self.directory.is_owner() => {
                for part in many.chunks(ANNOUNCED_AT_ONCE) {
                    let sql = format!(
                        "INSERT INTO changes (at, kind, key, provider) VALUES {}",
                        rows(part.len(), 4)
                    );
                    let query = part
                        .iter()
                        .flat_map(|change| line(now, change))
                        .fold(Query::once(sql), Query::bind);
                    self.execute(query).await?;
                }
            }
            few => {
                for change in few {
                    let query = line(now, change)
                        .into_iter()
                        .fold(Query::of(&ANNOUNCE), Query::bind);
                    self.execute(query).await?;
                }
            }
        }
        self.transaction.commit().await?;
        Ok(self.announced)
    }
}

/// Rows of one statement that announces.
const ANNOUNCED_AT_ONCE: usize = 1_000;

/// A change as it is written down: when, its kind, its key, its provider.
fn line(now: Timestamp, change: &Change) -> [Value; 4] {
    let (kind, key, provider) = match change {
        Change::Account(id) => ("account", id.to_string(), None),
        Change::User { provider, subject } => ("user", subject.clone(), Some(provider.clone())),
        Change::Client(client_id) => ("client", client_id.clone(), None),
        Change::CutOff(cut_off) => ("cut_off", cut_off.to_line(), None),
        Change::Everything => ("everything", String::new(), None),
    };
    [now.into(), kind.into(), key.into(), provider.into()]
}
