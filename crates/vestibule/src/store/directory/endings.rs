//! Accounts that are to end: suspended at once, ended when their time has come.

use uuid::Uuid;

use super::{Directory, Query, Writing};
use crate::{
    clock::Timestamp,
    store::{Account, Change, Status, StoreError},
};

#[derive(sqlx::FromRow)]
struct EndingRow {
    account_id: Uuid,
    ends_at: Timestamp,
}

impl Directory {
    /// Refuses the account's callers from now on, and notes that it is to end at this time. Where
    /// that was noted before, the new time counts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database fails.
    pub async fn plan_end(&self, id: Uuid, ends_at: Timestamp) -> Result<Account, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new(
                    "INSERT INTO endings (account_id, ends_at)
                     SELECT id, $2 FROM accounts WHERE id = $1
                     ON CONFLICT (account_id) DO UPDATE SET ends_at = excluded.ends_at",
                );
                if writing.execute(query.bind(id).bind(ends_at)).await? == 0 {
                    return Err(StoreError::NotFound(format!("account {id}")));
                }
                let account = writing.set_account_status(id, Status::Suspended).await?;
                writing.announce(Change::Account(id));
                Ok(account)
            })
        })
        .await
    }

    /// The account is not to end any more; it stays suspended until it is resumed. Whether it was to
    /// end.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn cancel_end(&self, id: Uuid) -> Result<bool, StoreError> {
        self.write(move |writing| {
            Box::pin(async move { writing.forget_ending_of(id).await.map(|count| count > 0) })
        })
        .await
    }

    /// The accounts that are to end, and when: the next one first.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn endings(&self) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let query = Query::new("SELECT account_id, ends_at FROM endings ORDER BY ends_at");
        let rows: Vec<EndingRow> = self.fetch_all(query).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.account_id, row.ends_at))
            .collect())
    }
}

impl Writing {
    pub(super) async fn forget_ending_of(&mut self, account: Uuid) -> Result<u64, StoreError> {
        let query = Query::new("DELETE FROM endings WHERE account_id = $1");
        self.execute(query.bind(account)).await
    }
}
