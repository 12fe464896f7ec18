//! What was kept of the provider's answers, for the time when it does not answer.

use super::Directory;
use crate::{
    clock::Timestamp,
    store::{KeptFact, StoreError, query::Query},
};

#[derive(sqlx::FromRow)]
struct FactRow {
    body: Vec<u8>,
    fetched_at: Timestamp,
    proof: Vec<u8>,
}

impl Directory {
    /// What was kept under this kind and key. Whoever reads it checks age and proof.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn kept_fact(
        &self,
        kind: &'static str,
        key: &str,
    ) -> Result<Option<KeptFact>, StoreError> {
        let query = Query::new(
            "SELECT body, fetched_at, proof FROM kept_facts WHERE kind = $1 AND key = $2",
        )
        .bind(kind)
        .bind(key);
        let row: Option<FactRow> = self.fetch_optional(query).await?;
        Ok(row.map(|row| KeptFact {
            body: row.body,
            fetched_at: row.fetched_at,
            proof: row.proof,
        }))
    }

    /// Keeps a fact. An older one never takes the place of a newer.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn keep_fact(
        &self,
        kind: &'static str,
        key: &str,
        fact: &KeptFact,
    ) -> Result<(), StoreError> {
        let query = Query::new(
            "INSERT INTO kept_facts (kind, key, body, fetched_at, proof)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (kind, key) DO UPDATE
             SET body = excluded.body, fetched_at = excluded.fetched_at, proof = excluded.proof
             WHERE kept_facts.fetched_at <= excluded.fetched_at",
        )
        .bind(kind)
        .bind(key)
        .bind(fact.body.clone())
        .bind(fact.fetched_at)
        .bind(fact.proof.clone());
        self.write(move |writing| Box::pin(async move { writing.execute(query).await.map(drop) }))
            .await
    }

    /// Forgets a fact.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn forget_fact(&self, kind: &'static str, key: &str) -> Result<(), StoreError> {
        let query = Query::new("DELETE FROM kept_facts WHERE kind = $1 AND key = $2")
            .bind(kind)
            .bind(key);
        self.write(move |writing| Box::pin(async move { writing.execute(query).await.map(drop) }))
            .await
    }

    /// Forgets all facts that are older than anybody may use; how many these were.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn forget_facts_before(&self, fetched_at: Timestamp) -> Result<u64, StoreError> {
        let query = Query::new("DELETE FROM kept_facts WHERE fetched_at < $1").bind(fetched_at);
        self.write(move |writing| Box::pin(async move { writing.execute(query).await }))
            .await
    }
}
