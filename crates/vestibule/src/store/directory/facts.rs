//! What was kept of the provider's answers, for the time when it does not answer.

use super::{Directory, Kind, Operation};
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

pub(super) const OPERATIONS: &[&Operation] =
    &[&KEPT_FACT, &KEEP_FACT, &FORGET_FACT, &FORGET_FACTS_BEFORE];

static KEPT_FACT: Operation = Operation {
    name: "kept_fact",
    takes: &[Kind::Text, Kind::Text],
    gives: &[
        ("body", Kind::Bytes),
        ("fetched_at", Kind::BigInt),
        ("proof", Kind::Bytes),
    ],
    sql: "SELECT body, fetched_at, proof FROM kept_facts WHERE kind = $1 AND key = $2",
};

static KEEP_FACT: Operation = Operation {
    name: "keep_fact",
    takes: &[
        Kind::Text,
        Kind::Text,
        Kind::Bytes,
        Kind::BigInt,
        Kind::Bytes,
    ],
    gives: &[],
    sql: "INSERT INTO kept_facts (kind, key, body, fetched_at, proof)
          VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT (kind, key) DO UPDATE
          SET body = excluded.body, fetched_at = excluded.fetched_at, proof = excluded.proof
          WHERE kept_facts.fetched_at <= excluded.fetched_at",
};

static FORGET_FACT: Operation = Operation {
    name: "forget_fact",
    takes: &[Kind::Text, Kind::Text],
    gives: &[],
    sql: "DELETE FROM kept_facts WHERE kind = $1 AND key = $2",
};

static FORGET_FACTS_BEFORE: Operation = Operation {
    name: "forget_facts_before",
    takes: &[Kind::BigInt],
    gives: &[],
    sql: "DELETE FROM kept_facts WHERE fetched_at < $1",
};

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
        let query = Query::of(&KEPT_FACT).bind(kind).bind(key);
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
        let query = Query::of(&KEEP_FACT)
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
        let query = Query::of(&FORGET_FACT).bind(kind).bind(key);
        self.write(move |writing| Box::pin(async move { writing.execute(query).await.map(drop) }))
            .await
    }

    /// Forgets all facts that are older than anybody may use; how many these were.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn forget_facts_before(&self, fetched_at: Timestamp) -> Result<u64, StoreError> {
        let query = Query::of(&FORGET_FACTS_BEFORE).bind(fetched_at);
        self.write(move |writing| Box::pin(async move { writing.execute(query).await }))
            .await
    }
}
