//! Whose users these are: a directory belongs to one provider.

use super::{Directory, Kind, Operation};
use crate::store::{Change, StoreError, query::Query};

pub(super) const OPERATIONS: &[&Operation] = &[
    &PROVIDER,
    &BIND_PROVIDER,
    &REBIND_PROVIDER,
    &FORGET_ALL_FACTS,
];

static PROVIDER: Operation = Operation {
    name: "provider",
    takes: &[],
    gives: &[("value", Kind::Text)],
    sql: "SELECT value FROM settings WHERE name = 'provider_origin'",
};

static BIND_PROVIDER: Operation = Operation {
    name: "bind_provider",
    takes: &[Kind::Text],
    gives: &[],
    sql: "INSERT INTO settings (name, value) VALUES ('provider_origin', $1)
          ON CONFLICT (name) DO NOTHING",
};

static REBIND_PROVIDER: Operation = Operation {
    name: "rebind_provider",
    takes: &[Kind::Text],
    gives: &[],
    sql: "UPDATE settings SET value = $1 WHERE name = 'provider_origin'",
};

static FORGET_ALL_FACTS: Operation = Operation {
    name: "forget_all_facts",
    takes: &[],
    gives: &[],
    sql: "DELETE FROM kept_facts",
};

impl Directory {
    /// Binds the directory to the provider at `origin`, or checks that it is bound to it.
    ///
    /// User ids mean nothing without the provider that gave them: with another provider, its
    /// `user_1` would be let in as ours. `allow_other` binds it anew and forgets what was kept
    /// of the old provider's answers.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it is bound to another provider; others where the database
    /// fails.
    pub async fn bind_provider(&self, origin: &str, allow_other: bool) -> Result<(), StoreError> {
        if self.provider().await?.as_deref() == Some(origin) {
            return Ok(());
        }
        let origin = origin.to_owned();
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::of(&BIND_PROVIDER).bind(&origin);
                if writing.execute(query).await? == 1 {
                    return Ok(());
                }
                let bound: Option<(String,)> = writing.fetch_optional(Query::of(&PROVIDER)).await?;
                let (bound,) = bound.unwrap_or_default();
                if bound == origin {
                    return Ok(());
                }
                if !allow_other {
                    return Err(StoreError::Refused(format!(
                        "the database belongs to the provider {bound}, AUTHRESS_API_URL names \
                         {origin}: correct the setting, use another database, or allow it by name (`vestibule \
                         serve --allow other-provider`)"
                    )));
                }
                let query = Query::of(&REBIND_PROVIDER).bind(&origin);
                writing.execute(query).await?;
                writing.execute(Query::of(&FORGET_ALL_FACTS)).await?;
                writing.announce(Change::Everything);
                Ok(())
            })
        })
        .await
    }

    /// The origin of the provider that the directory is bound to.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn provider(&self) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = self.fetch_optional(Query::of(&PROVIDER)).await?;
        Ok(row.map(|(origin,)| origin))
    }
}
