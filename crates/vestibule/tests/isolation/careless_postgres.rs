//! Wrong on purpose, on PostgreSQL: the account is a plain setting of the connection.
//!
//! Through a pooler in transaction mode the setting stays on whichever server connection it met;
//! and whoever runs SQL of his own sets it to whatever he likes. Row-level security is forced and
//! right but for that.

use std::sync::{Arc, Mutex};

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;
use vestibule_testbed::{Postgres, TestDatabase};

use crate::storm::{Accounts, name};

pub(crate) struct CarelessPostgres {
    database: TestDatabase,
    url: String,
    hostile: Vec<[String; 1]>,
    idle: Arc<Mutex<Vec<PgConnection>>>,
}

pub(crate) struct CarelessSession {
    connection: AsyncMutex<PgConnection>,
    idle: Arc<Mutex<Vec<PgConnection>>>,
}

const TABLES: &str = "
CREATE TABLE rows (
    account TEXT NOT NULL DEFAULT current_setting('app.account'),
    id UUID NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (account, id)
);
CREATE TABLE keys (
    account TEXT NOT NULL DEFAULT current_setting('app.account'),
    key BIGINT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (account, key)
);
CREATE TABLE refs (
    account TEXT NOT NULL DEFAULT current_setting('app.account'),
    id UUID NOT NULL, target UUID NOT NULL, FOREIGN KEY (account, target) REFERENCES rows
);
";

const POLICY: &str = "
ALTER TABLE $TABLE ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON $TABLE USING (account = current_setting('app.account'))
    WITH CHECK (account = current_setting('app.account'));
GRANT SELECT, INSERT, UPDATE, DELETE ON $TABLE TO $LOGIN;
";

impl CarelessPostgres {
    /// `hostile`: sessions set the account themselves.
    pub(crate) async fn open(accounts: usize, pooled: bool, hostile: bool) -> Self {
        let database = Postgres::shared().database().await;
        let options: PgConnectOptions = database.owner_url().parse().unwrap();
        let mut owner = options.connect().await.unwrap();
        let mut script = TABLES.to_owned();
        for table in ["rows", "keys", "refs"] {
            script.push_str(
                &POLICY
                    .replace("$TABLE", table)
                    .replace("$LOGIN", &database.application()),
            );
        }
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut owner)
            .await
            .unwrap();
        let url = if pooled {
            database.through_pgbouncer().application_url()
        } else {
            database.application_url()
        };
        let hostile = (0..accounts)
            .map(|account| {
                let account = name(account);
                [if hostile {
                    format!("SELECT ''::text FROM set_config('app.account', '{account}', true)")
                } else {
                    "SELECT owner FROM rows".to_owned()
                }]
            })
            .collect();
        Self {
            database,
            url,
            hostile,
            idle: Arc::default(),
        }
    }
}

impl Accounts for CarelessPostgres {
    type Session = CarelessSession;

    async fn begin(&self, account: usize) -> Option<CarelessSession> {
        let idle = self.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let options: PgConnectOptions = self.url.parse().unwrap();
                options
                    .extra_float_digits(None)
                    .statement_cache_capacity(0)
                    .connect()
                    .await
                    .ok()?
            }
        };
        let bind = format!("SET app.account = '{}'", name(account));
        sqlx::raw_sql(AssertSqlSafe(bind))
            .execute(&mut connection)
            .await
            .ok()?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.ok()?;
        Some(CarelessSession {
            connection: AsyncMutex::new(connection),
            idle: Arc::clone(&self.idle),
        })
    }

    async fn committed(&self, account: usize) -> Vec<(Uuid, String)> {
        let options: PgConnectOptions = self.database.superuser_url().parse().unwrap();
        let mut superuser = options.connect().await.unwrap();
        sqlx::query_as("SELECT id, owner FROM rows WHERE account = $1")
            .bind(name(account))
            .fetch_all(&mut superuser)
            .await
            .unwrap()
    }

    fn hostile(&self, other: usize) -> &[String] {
        &self.hostile[other]
    }
}

careless_session! {
    CarelessSession,
    "INSERT INTO keys (key, owner) VALUES ($1, $2)
     ON CONFLICT (account, key) DO UPDATE SET owner = $2"
}
