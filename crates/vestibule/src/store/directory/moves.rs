//! Moves of accounts between clusters that have begun and not yet ended. Only the owner's login
//! reads and writes them.

use uuid::Uuid;

use super::{Directory, Writing};
use crate::store::{StoreError, query::Query};

/// A move that has begun and not yet ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct KeptMove {
    /// The cluster on which the account lay, as people call it.
    pub(crate) source: String,
    /// The cluster to which it goes.
    pub(crate) target: String,
    /// What was copied, as JSON, once the placement has changed; before that none.
    pub(crate) copied: Option<String>,
}

impl KeptMove {
    /// The account lies on the new cluster already.
    pub(crate) fn is_switched(&self) -> bool {
        self.copied.is_some()
    }
}

impl Directory {
    /// The account's move, if one is under way or was broken off.
    pub(crate) async fn move_of(&self, account: Uuid) -> Result<Option<KeptMove>, StoreError> {
        let query = Query::new("SELECT source, target, copied FROM moves WHERE account_id = $1");
        self.fetch_optional(query.bind(account)).await
    }

    /// Takes a move that was broken off over; from here on, whoever had it can do no more.
    pub(crate) async fn take_over_move(&self, account: Uuid, run: Uuid) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new("UPDATE moves SET run = $2 WHERE account_id = $1");
                writing.execute(query.bind(account).bind(run)).await?;
                Ok(())
            })
        })
        .await
    }

    /// Writes down that a move begins.
    pub(crate) async fn begin_move(
        &self,
        account: Uuid,
        run: Uuid,
        source: &str,
        target: &str,
    ) -> Result<(), StoreError> {
        let (source, target) = (source.to_owned(), target.to_owned());
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new(
                    "INSERT INTO moves (account_id, source, target, run) VALUES ($1, $2, $3, $4)",
                );
                let query = query.bind(account).bind(source).bind(target);
                writing.execute(query.bind(run)).await?;
                Ok(())
            })
        })
        .await
    }

    /// The account lies on the new cluster from here on: the one step that cannot be taken back.
    pub(crate) async fn switch_move(
        &self,
        account: Uuid,
        run: Uuid,
        cluster: Option<&str>,
        copied: String,
    ) -> Result<(), StoreError> {
        let cluster = cluster.map(str::to_owned);
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new(
                    "UPDATE moves SET copied = $3
                     WHERE account_id = $1 AND run = $2 AND copied IS NULL",
                );
                writing
                    .require_own_move(query.bind(account).bind(run).bind(copied))
                    .await?;
                writing.place(account, cluster.as_deref()).await
            })
        })
        .await
    }

    /// The move is over, or was undone.
    pub(crate) async fn end_move(&self, account: Uuid, run: Uuid) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new("DELETE FROM moves WHERE account_id = $1 AND run = $2");
                writing
                    .require_own_move(query.bind(account).bind(run))
                    .await
            })
        })
        .await
    }
}

impl Writing {
    async fn require_own_move(&mut self, query: Query) -> Result<(), StoreError> {
        if self.execute(query).await? == 1 {
            return Ok(());
        }
        Err(StoreError::Refused(
            "the account was deleted meanwhile, or somebody else goes on with its move".to_owned(),
        ))
    }
}
