//! Where the suites run that hold for every database.

use std::{env, path::Path};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Postgres, TestDatabase};

/// A database for one test, of the kind that the run is about.
///
/// One behavioural suite serves all kinds: `VESTIBULE_TEST_PLACE` says which one it is tried on.
///
/// | value | database |
/// | --- | --- |
/// | not set, `sqlite` | SQLite |
/// | `row`, `schema`, `database` | PostgreSQL, in this tenancy |
/// | `row+pgbouncer` and so on | the same through PgBouncer |
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sqlite,
    Postgres {
        database: Box<TestDatabase>,
        tenancy: String,
        pooled: bool,
    },
}

impl Place {
    /// The kind that `VESTIBULE_TEST_PLACE` names.
    ///
    /// # Panics
    /// Where it names none, or there is no PostgreSQL.
    pub async fn from_environment() -> Self {
        let named = env::var("VESTIBULE_TEST_PLACE").unwrap_or_default();
        Self::of_kind(&named).await
    }

    /// The kind of this name.
    ///
    /// # Panics
    /// Where it is none, or there is no PostgreSQL.
    pub async fn of_kind(name: &str) -> Self {
        let (tenancy, pooled) = match name.split_once('+') {
            Some((tenancy, "pgbouncer")) => (tenancy, true),
            _ => (name, false),
        };
        let kind = match tenancy {
            "" | "sqlite" => Kind::Sqlite,
            "row" | "schema" | "database" => Kind::Postgres {
                database: Box::new(Postgres::shared().database().await),
                tenancy: tenancy.to_owned(),
                pooled,
            },
            _ => panic!("VESTIBULE_TEST_PLACE names no kind of database: {name}"),
        };
        Self {
            directory: tempfile::tempdir().expect("a directory for the test"),
            kind,
        }
    }

    /// A directory of the test's own, whatever the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether it is SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self.kind, Kind::Sqlite)
    }

    /// An account's rows as they were committed, past everything that keeps accounts apart. In
    /// `sql`, `{space}` stands for the schema, with its dot, and `{own}` for the condition that
    /// makes a row of shared tables the account's.
    ///
    /// # Panics
    /// Where the statement fails.
    pub async fn texts(&self, account: Uuid, sql: &str) -> Vec<String> {
        let Kind::Postgres {
            database, tenancy, ..
        } = &self.kind
        else {
            let file = self.path().join(format!("tenants/{account}.db"));
            let mut file = SqliteConnectOptions::new()
                .filename(file)
                .connect()
                .await
                .expect("the account's file");
            let sql = sql.replace("{space}", "").replace("{own}", "true");
            return sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut file)
                .await
                .expect("the account's rows");
        };
        let mut url: PgConnectOptions = database.superuser_url().parse().expect("a URL");
        let (space, own) = match tenancy.as_str() {
            "row" => (
                "vestibule_tenants.".to_owned(),
                format!("account_id = '{account}'"),
            ),
            "schema" => (format!("account_{}.", account.simple()), "true".to_owned()),
            _ => {
                url = url.database(&format!("vestibule_{}", account.simple()));
                ("tenant.".to_owned(), "true".to_owned())
            }
        };
        let sql = sql.replace("{space}", &space).replace("{own}", &own);
        let mut connection = url.connect().await.expect("the account's database");
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .expect("the account's rows")
    }

    /// The settings that make it the program's database.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        match &self.kind {
            Kind::Sqlite => {
                let file = self.path().join("vestibule.db");
                vec![("DATABASE_URL", format!("sqlite:{}", file.display()))]
            }
            Kind::Postgres {
                database,
                tenancy,
                pooled,
            } => {
                let (application, owner) = if *pooled {
                    let route = database.through_pgbouncer();
                    (route.application_url(), route.owner_url())
                } else {
                    (database.application_url(), database.owner_url())
                };
                vec![
                    ("DATABASE_URL", application),
                    ("DATABASE_ADMIN_URL", owner),
                    ("TENANCY", tenancy.clone()),
                    // Nobody else has this database.
                    (
                        "VESTIBULE_BINDING_KEY",
                        "dmVzdGlidWxlIHRlc3RiZWQ6IGEgcHVibGljIGtleSE=".to_owned(),
                    ),
                ]
            }
        }
    }
}
