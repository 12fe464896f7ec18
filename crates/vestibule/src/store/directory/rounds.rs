//! Rounds: work that goes through all accounts, which one replica does for all.

use uuid::Uuid;

use super::{Directory, Kind, Operation};
use crate::{
    clock::Timestamp,
    store::{StoreError, query::Query},
};

pub(super) const OPERATIONS: &[&Operation] = &[&TAKE_ROUND, &ACCOUNT_IDS];

static TAKE_ROUND: Operation = Operation {
    name: "take_round",
    takes: &[Kind::Text, Kind::BigInt, Kind::BigInt],
    gives: &[],
    sql: "INSERT INTO rounds (name, at) VALUES ($1, $2)
          ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE rounds.at < $3",
};

static ACCOUNT_IDS: Operation = Operation {
    name: "account_ids",
    takes: &[Kind::Uuid, Kind::BigInt],
    gives: &[("id", Kind::Uuid)],
    sql: "SELECT id FROM accounts WHERE id > $1 ORDER BY id LIMIT $2",
};

impl Directory {
    /// Whether the caller is to do the round of this name: nobody was at it since `before`. From
    /// `now` on he is.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub(crate) async fn take_round(
        &self,
        name: &'static str,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<bool, StoreError> {
        let query = Query::of(&TAKE_ROUND).bind(name).bind(now).bind(before);
        self.write(move |writing| {
            Box::pin(async move { writing.execute(query).await.map(|rows| rows > 0) })
        })
        .await
    }

    /// So many accounts' ids, those that follow `after`.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub(crate) async fn account_ids(
        &self,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Uuid>, StoreError> {
        let query = Query::of(&ACCOUNT_IDS).bind(after).bind(limit);
        let ids: Vec<(Uuid,)> = self.fetch_all(query).await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }
}
