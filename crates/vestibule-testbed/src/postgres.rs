//! A PostgreSQL server, as a test sees it.

use std::env;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use url::Url;

use crate::{TestDatabase, database::Logins};

/// A PostgreSQL server that a test may make databases on, perhaps with a PgBouncer in front.
///
/// A value is only the way to the server; clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Postgres {
    superuser: Url,
    pgbouncer: Option<String>,
}

impl Postgres {
    /// The server that all tests of the run share, with its PgBouncer.
    ///
    /// # Panics
    ///
    /// Outside `cargo nextest run`, which starts it, unless it was started by hand:
    /// `eval "$(scripts/postgres start)"`.
    #[must_use]
    pub fn shared() -> Self {
        Self::new(
            &variable("VESTIBULE_TEST_POSTGRES"),
            Some(variable("VESTIBULE_TEST_PGBOUNCER")),
        )
    }

    pub(crate) fn new(superuser: &str, pgbouncer: Option<String>) -> Self {
        let superuser = superuser.parse().expect("the superuser's URL");
        Self {
            superuser,
            pgbouncer,
        }
    }

    /// A fresh, empty database with two fresh logins.
    pub async fn database(&self) -> TestDatabase {
        let logins = Logins::random();
        let mut superuser = self.superuser().await;
        for statement in logins.create() {
            execute(&mut superuser, statement).await;
        }
        TestDatabase::new(self.clone(), logins)
    }

    /// The server's `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        let host = self.superuser.host_str().expect("a host");
        format!("{host}:{}", self.superuser.port().expect("a port"))
    }

    /// The `host:port` of the PgBouncer in front of the server.
    ///
    /// # Panics
    ///
    /// When there is none: a test's own server has one only if it was asked for.
    #[must_use]
    pub fn pgbouncer_address(&self) -> String {
        self.pgbouncer.clone().expect("a server with a PgBouncer")
    }

    /// The superuser's URL, on the database `postgres`.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.superuser.to_string()
    }

    pub(crate) fn superuser_password(&self) -> &str {
        self.superuser.password().expect("a password")
    }

    /// A connection of the superuser, on the database `postgres`.
    pub async fn superuser(&self) -> PgConnection {
        PgConnection::connect(self.superuser.as_str())
            .await
            .expect("the superuser's connection")
    }

    /// Drops every database of the owner, then both logins. Fails if the server is not there.
    pub(crate) async fn remove(&self, logins: &Logins) -> sqlx::Result<()> {
        let mut superuser = PgConnection::connect(self.superuser.as_str()).await?;
        let owned = sqlx::query(
            "SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname)
             FROM pg_database WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = $1)",
        )
        .bind(logins.owner())
        .fetch_all(&mut superuser)
        .await?;
        for row in owned {
            let statement: String = row.get(0);
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut superuser)
                .await?;
        }
        for statement in logins.drop() {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut superuser)
                .await?;
        }
        superuser.close().await
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .expect("a statement of the superuser");
}

pub(crate) fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set. `cargo nextest run` starts PostgreSQL and sets it; for anything \
             else: eval \"$(scripts/postgres start)\""
        )
    })
}
