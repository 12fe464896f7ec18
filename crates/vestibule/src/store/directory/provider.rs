//! Whose users these are: a directory belongs to one provider.

use super::Directory;
use crate::store::{Change, StoreError, query::Query};

const ORIGIN: &str = "provider_origin";

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
                let query = Query::new(
                    "INSERT INTO settings (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(ORIGIN)
                .bind(&origin);
                if writing.execute(query).await? == 1 {
                    return Ok(());
                }
                let query = Query::new("SELECT value FROM settings WHERE name = $1").bind(ORIGIN);
                let bound: Option<(String,)> = writing.fetch_optional(query).await?;
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
                let query = Query::new("UPDATE settings SET value = $2 WHERE name = $1")
                    .bind(ORIGIN)
                    .bind(&origin);
                writing.execute(query).await?;
                writing
                    .execute(Query::new("DELETE FROM kept_facts"))
                    .await?;
                writing.announce(Change::Everything).await
            })
        })
        .await
    }

    /// The origin of the provider that the directory is bound to.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn provider(&self) -> Result<Option<String>, StoreError> {
        let query = Query::new("SELECT value FROM settings WHERE name = $1").bind(ORIGIN);
        let row: Option<(String,)> = self.fetch_optional(query).await?;
        Ok(row.map(|(origin,)| origin))
    }
}
