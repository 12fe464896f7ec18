//! Where the accounts lie, and how to look at their rows past everything that keeps them apart.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, FromRow, PgConnection,
    postgres::{PgConnectOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tempfile::TempDir;
use uuid::Uuid;
use vestibule::settings::Tenancy;
use vestibule_testbed::{Postgres, TestDatabase};

use crate::hostile::Target;

/// The key of the tests.
pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) enum Place {
    Files(TempDir),
    Postgres {
        database: Box<TestDatabase>,
        tenancy: Tenancy,
        pooled: bool,
    },
}

impl Place {
    pub(crate) fn files() -> Self {
        Self::Files(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres(tenancy: Tenancy, pooled: bool) -> Self {
        Self::Postgres {
            database: Box::new(Postgres::shared().database().await),
            tenancy,
            pooled,
        }
    }

    /// The settings of a server, with or without the owner's login.
    pub(crate) fn settings(&self, sessions: u32, owner: bool) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("DATABASE_TIMEOUT", "30".to_owned())];
        match self {
            Self::Files(place) => {
                let file = place.path().join("vestibule.db");
                pairs.push(("DATABASE_URL", format!("sqlite:{}", file.display())));
                pairs.push(("DATABASE_POOL_SIZE", sessions.to_string()));
            }
            Self::Postgres {
                database,
                tenancy,
                pooled,
            } => {
                let url = if *pooled {
                    database.through_pgbouncer().application_url()
                } else {
                    database.application_url()
                };
                pairs.push(("DATABASE_URL", url));
                pairs.push(("VESTIBULE_BINDING_KEY", STANDARD.encode(KEY)));
                pairs.push(("TENANCY", tenancy.as_str().to_owned()));
                // One listens for changes, and of the others a third is the directory's.
                let all = 1 + sessions + sessions.div_ceil(2);
                pairs.push(("DATABASE_POOL_SIZE", all.to_string()));
                if owner {
                    pairs.push(("DATABASE_ADMIN_URL", database.owner_url()));
                }
            }
        }
        pairs
    }

    pub(crate) fn target(&self, account: Uuid) -> Option<Target> {
        let Self::Postgres {
            database, tenancy, ..
        } = self
        else {
            return None;
        };
        let names = ["vestibule", "public", "pg_temp"];
        let mut schemas = names.map(str::to_owned).to_vec();
        schemas.push(format!("account_{}", account.simple()));
        if *tenancy == Tenancy::Row {
            // In a database of one's own, the tables of that name are one's own.
            schemas.push(self.schema(account));
        }
        Some(Target {
            account,
            owner: database.owner(),
            login: database.application(),
            schemas,
        })
    }

    /// The application's login, without anything in between.
    pub(crate) fn application_url(&self) -> String {
        match self {
            Self::Files(_) => panic!("files have no login"),
            Self::Postgres { database, .. } => database.application_url(),
        }
    }

    /// Gives the application's login settings of its own, as an operator might.
    pub(crate) async fn set_for_login(&self, settings: &[(&str, &str)]) {
        let Self::Postgres { database, .. } = self else {
            panic!("files have no login");
        };
        let mut superuser = database.server().superuser().await;
        for (name, value) in settings {
            let login = database.application();
            let set = format!("ALTER ROLE {login} SET {name} = '{value}'");
            sqlx::raw_sql(AssertSqlSafe(set))
                .execute(&mut superuser)
                .await
                .unwrap();
        }
    }

    /// The schema of the account's tables.
    pub(crate) fn schema(&self, account: Uuid) -> String {
        match self {
            Self::Files(_)
            | Self::Postgres {
                tenancy: Tenancy::Row,
                ..
            } => "vestibule_tenants".to_owned(),
            Self::Postgres {
                tenancy: Tenancy::Schema,
                ..
            } => format!("account_{}", account.simple()),
            Self::Postgres { .. } => "tenant".to_owned(),
        }
    }

    /// Rows of one account's table, past all that keeps accounts apart.
    pub(crate) async fn rows<T>(&self, account: Uuid, columns: &str, table: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Files(place) => {
                let file = file_of(place.path(), account);
                let mut file = SqliteConnectOptions::new()
                    .filename(file)
                    .connect()
                    .await
                    .unwrap();
                let sql = format!("SELECT {columns} FROM {table}");
                sqlx::query_as(AssertSqlSafe(sql))
                    .fetch_all(&mut file)
                    .await
                    .unwrap()
            }
            Self::Postgres { tenancy, .. } => {
                let mut sql = format!("SELECT {columns} FROM {}.{table}", self.schema(account));
                if *tenancy == Tenancy::Row {
                    sql.push_str(&format!(" WHERE account_id = '{account}'"));
                }
                let mut connection = self.superuser(account).await;
                sqlx::query_as(AssertSqlSafe(sql))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
        }
    }

    /// A connection that is bound by nothing.
    async fn superuser(&self, account: Uuid) -> PgConnection {
        let Self::Postgres {
            database, tenancy, ..
        } = self
        else {
            panic!("files have no superuser");
        };
        let mut options: PgConnectOptions = database.superuser_url().parse().unwrap();
        if *tenancy == Tenancy::Database {
            options = options.database(&format!("vestibule_{}", account.simple()));
        }
        options.connect().await.unwrap()
    }
}

fn file_of(place: &Path, account: Uuid) -> std::path::PathBuf {
    place.join(format!("tenants/{account}.db"))
}
