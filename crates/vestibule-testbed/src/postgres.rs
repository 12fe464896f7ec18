//! A PostgreSQL server, as a test sees it.

use std::{env, fmt, net::SocketAddr};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use url::Url;

use crate::{TestDatabase, database::Logins};

/// A PostgreSQL server that a test may make databases on, perhaps with a PgBouncer in front.
///
/// A value is only the way to the server; clones lead to the same one.
#[derive(Clone)]
pub struct Postgres {
    superuser: Url,
    pgbouncer: Option<SocketAddr>,
    /// Whether the server ends with the test, so that nothing has to be dropped.
    of_test: bool,
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
        Self {
            superuser: variable("VESTIBULE_TEST_POSTGRES").parse().expect("a URL"),
            pgbouncer: Some(
                variable("VESTIBULE_TEST_PGBOUNCER")
                    .parse()
                    .expect("an address"),
            ),
            of_test: false,
        }
    }

    pub(crate) fn of_test(superuser: Url, pgbouncer: Option<SocketAddr>) -> Self {
        Self {
            superuser,
            pgbouncer,
            of_test: true,
        }
    }

    pub(crate) fn is_of_test(&self) -> bool {
        self.of_test
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
    pub fn address(&self) -> SocketAddr {
        let addresses = self.superuser.socket_addrs(|| None);
        let addresses = addresses.expect("the superuser's URL names an address");
        *addresses.first().expect("an address")
    }

    /// The `host:port` of the PgBouncer in front of the server.
    ///
    /// # Panics
    ///
    /// When there is none: a server of a test's own has one only if it was asked for.
    #[must_use]
    pub fn pgbouncer_address(&self) -> SocketAddr {
        self.pgbouncer.expect("a server with a PgBouncer")
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

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("address", &self.address())
            .field("pgbouncer", &self.pgbouncer)
            .finish_non_exhaustive()
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
