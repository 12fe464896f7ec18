//! Transactions that write: what they change and what they announce is one.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{Directory, Pool};
use crate::{
    clock::Timestamp,
    store::{
        Change, StoreError,
        query::{Connection, FromDatabaseRow, Query},
    },
};

/// An open transaction that holds the directory's write lock.
pub(crate) struct Writing {
    transaction: OpenTransaction,
    directory: Directory,
    announced: Vec<Change>,
}

enum OpenTransaction {
    Sqlite(Transaction<'static, Sqlite>),
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
            let turn = tokio::time::timeout(wait, directory.inner.writers.lock());
            let _turn = turn.await.map_err(|_| StoreError::too_slow())?;
            let written = tokio::time::timeout(limit, async {
                let mut writing = directory.begin().await?;
                let value = work(&mut writing).await?;
                let changes = writing.commit().await?;
                Ok::<_, StoreError>((value, changes))
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

    async fn begin(&self) -> Result<Writing, StoreError> {
        let transaction = match &self.inner.pool {
            // A deferred BEGIN that reads first and then writes fails at once when another
            // process wrote in between.
            Pool::Sqlite(pool) => {
                OpenTransaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?)
            }
        };
        Ok(Writing {
            transaction,
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
        Ok(query.execute(self.connection()).await?)
    }

    pub(crate) async fn fetch_all<T: FromDatabaseRow>(
        &mut self,
        query: Query,
    ) -> Result<Vec<T>, StoreError> {
        Ok(query.fetch_all(self.connection()).await?)
    }

    pub(crate) async fn fetch_optional<T: FromDatabaseRow>(
        &mut self,
        query: Query,
    ) -> Result<Option<T>, StoreError> {
        Ok(query.fetch_optional(self.connection()).await?)
    }

    /// Writes down what every process must forget once this transaction is committed.
    pub(crate) async fn announce(&mut self, change: Change) -> Result<(), StoreError> {
        let (kind, key, provider) = match &change {
            Change::Account(id) => ("account", id.to_string(), None),
            Change::User { provider, subject } => ("user", subject.clone(), Some(provider.clone())),
            Change::Client(client_id) => ("client", client_id.clone(), None),
            Change::Everything => ("everything", String::new(), None),
        };
        let query =
            Query::new("INSERT INTO changes (at, kind, key, provider) VALUES ($1, $2, $3, $4)")
                .bind(self.now())
                .bind(kind)
                .bind(key)
                .bind(provider);
        self.execute(query).await?;
        self.announced.push(change);
        Ok(())
    }

    fn connection(&mut self) -> Connection<'_> {
        match &mut self.transaction {
            OpenTransaction::Sqlite(transaction) => Connection::Sqlite(transaction),
        }
    }

    async fn commit(self) -> Result<Vec<Change>, StoreError> {
        match self.transaction {
            OpenTransaction::Sqlite(transaction) => transaction.commit().await?,
        }
        Ok(self.announced)
    }
}
