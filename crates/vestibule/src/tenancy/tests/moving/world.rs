//! Two clusters, and accounts that go from one to the other.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;
use vestibule_testbed::{OwnServer, Postgres, TestDatabase};

use super::super::migrator;
use crate::{
    clock::SystemClock,
    settings::{DatabaseSettings, SettingsReader, Tenancy},
    store::{Account, Directory},
    tenancy::{
        Moved, SessionError, TenantSession, TenantSpaces,
        postgres::{Done, Stop, database_of, space_of},
        space::Begun,
    },
};

pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// All that is odd: an identity that always gives the number, keys in a circle, a trigger that
/// would write, an enum.
pub(super) const TABLES: &str = "
CREATE TABLE notes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text TEXT NOT NULL UNIQUE,
    parent BIGINT REFERENCES notes (id)
);
CREATE TABLE trail (id BIGSERIAL PRIMARY KEY, what TEXT NOT NULL);
CREATE FUNCTION write_trail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO trail (what) VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER trail AFTER INSERT OR DELETE ON notes FOR EACH ROW EXECUTE FUNCTION write_trail();
CREATE TABLE left_shoes (id BIGINT PRIMARY KEY, other BIGINT);
CREATE TABLE right_shoes (id BIGINT PRIMARY KEY, other BIGINT NOT NULL REFERENCES left_shoes (id));
ALTER TABLE left_shoes ADD FOREIGN KEY (other) REFERENCES right_shoes (id);
CREATE TYPE mood AS ENUM ('glad', 'it''s, {odd}');
CREATE TABLE odd (
    id BIGINT PRIMARY KEY, number NUMERIC, twice NUMERIC GENERATED ALWAYS AS (number * 2) STORED,
    long DOUBLE PRECISION, short REAL, bytes BYTEA, at TIMESTAMPTZ, day DATE, span INTERVAL,
    json JSON, jsonb JSONB, mood mood, moods mood[], grid INT[][], texts TEXT[], text TEXT,
    padded CHAR(5), bits BIT VARYING, range INT4RANGE, address INET, price MONEY, point POINT
);
";

pub(super) const TABLE_NAMES: &[&str] = &["notes", "trail", "left_shoes", "right_shoes", "odd"];

const ODD: &[&str] = &[
    "INSERT INTO odd (id, number, long, short) VALUES
     (1, 'NaN', 'Infinity', '-Infinity'), (2, 12345678901234567890.000123400, 'NaN', 'NaN'),
     (3, 1e-30, 0.1::float8 + 0.2::float8, 1.1), (4, 0.00, '-0', 16777217), (5, NULL, NULL, NULL)",
    r"INSERT INTO odd (id, bytes, text, texts, padded) VALUES
     (6, '\x00ff5c6e0a', E'tab\t newline\n return\r backslash\\ \\N \\.', '{}', 'ab'),
     (7, '', '', ARRAY['', NULL, 'NULL', 'a,b', E'q\' \\', '{x}'], ''), (8, NULL, NULL, NULL, NULL)",
    "INSERT INTO odd (id, at, day, span) VALUES
     (9, 'infinity', '-infinity', '1 year -2 mons 3 days -04:05:06.789'),
     (10, '2026-10-25 02:30:00.123456+02', '0044-03-15 BC', '0')",
    r#"INSERT INTO odd (id, json, jsonb, mood, moods, grid) VALUES
     (11, '{"a": 1.0, "a":  2}', '{"n": 1e400, "u": "ü\n\u2028", "e": null}', 'it''s, {odd}',
      ARRAY['glad', NULL, 'it''s, {odd}']::mood[], '[0:1][2:3]={{1,2},{3,NULL}}')"#,
    "INSERT INTO odd (id, bits, range, address, price, point) VALUES
     (12, B'10110', '[3,9)', '2001:db8::1/64', 1234.56, '(0.1,1e300)'),
     (13, B'', 'empty', '10.0.0.1', -0.01, '(NaN,-Infinity)')",
    "INSERT INTO left_shoes (id) VALUES (1), (2)",
    "INSERT INTO right_shoes (id, other) VALUES (10, 1), (20, 2)",
    "UPDATE left_shoes SET other = id * 10",
    "INSERT INTO notes (text) VALUES ('first')",
    "INSERT INTO notes (text, parent) SELECT 'second', id FROM notes WHERE text = 'first'",
    "UPDATE notes SET parent = (SELECT n.id FROM notes n WHERE n.text = 'second')
     WHERE text = 'first'",
];

pub(super) struct World {
    pub(super) main: TestDatabase,
    pub(super) eu: TestDatabase,
    _server: Option<OwnServer>,
    pub(super) tenancy: Tenancy,
    /// As the command line has them.
    pub(super) owned: TenantSpaces,
    /// As a server has them that hears of no change.
    pub(super) served: TenantSpaces,
}

impl World {
    pub(super) async fn new(tenancy: Tenancy) -> Self {
        Self::with(tenancy, TABLES).await
    }

    pub(super) async fn with(tenancy: Tenancy, tables: &'static str) -> Self {
        let main = Postgres::shared().database().await;
        let (server, eu) = if tenancy == Tenancy::Database {
            // Accounts' databases are the server's.
            let server = Postgres::own().await;
            let eu = server.postgres().database().await;
            (Some(server), eu)
        } else {
            (None, Postgres::shared().database().await)
        };
        let settings = settings(tenancy, &main, &eu);
        let clock = Arc::new(SystemClock);
        let owner = Directory::migrate(&settings, clock.clone()).await.unwrap();
        let owned = TenantSpaces::open(&settings, &owner, clock.clone()).unwrap();
        owned.prepare().await.unwrap();
        owned
            .migrate_tenants(&migrator(&[(1, tables)]))
            .await
            .unwrap();
        let directory = Directory::open(&settings, clock.clone()).await.unwrap();
        let served = TenantSpaces::open(&settings, &directory, clock).unwrap();
        Self {
            main,
            eu,
            _server: server,
            tenancy,
            owned,
            served,
        }
    }

    pub(super) async fn account(&self, name: &str) -> Account {
        let tenant = format!("tenant_{name}");
        self.owned.create_account(name, &tenant).await.unwrap()
    }

    /// An account with a row of every kind.
    pub(super) async fn full_account(&self, name: &str) -> Account {
        let account = self.account(name).await;
        let session = self.session(&account);
        for sql in ODD {
            session.query(*sql).execute().await.unwrap();
        }
        session.commit().await.unwrap();
        account
    }

    pub(super) fn session(&self, account: &Account) -> TenantSession {
        self.served.detached_session(account.id).unwrap()
    }

    pub(super) async fn add(&self, account: &Account, text: &str) -> Result<i64, SessionError> {
        let session = self.session(account);
        let add = session.query("INSERT INTO notes (text) VALUES ($1) RETURNING id");
        let (id,): (i64,) = add.bind(text).fetch_one().await?;
        session.commit().await?;
        Ok(id)
    }

    pub(super) async fn go(&self, account: &Account, to: &str) -> Moved {
        let moved = self.owned.move_account(account.id, to, &mut |_| {}).await;
        moved.unwrap_or_else(|error| panic!("to {to}: {error}"))
    }

    pub(super) async fn go_until(&self, account: &Account, to: &str, after: Done, fails: bool) {
        let stop = Stop {
            after: Some(after),
            fails,
        };
        let moved = self.owned.move_account_until(account.id, to, stop).await;
        let error = moved.expect_err("it does not get so far").to_string();
        assert!(error.contains("stopped after"), "{after:?}: {error}");
    }

    /// All rows of all tables, as text.
    pub(super) async fn contents(&self, account: &Account) -> Vec<String> {
        let session = self.session(account);
        let mut contents = Vec::new();
        for table in TABLE_NAMES {
            let sql = format!(
                "SELECT COALESCE(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {table} t"
            );
            let (text,): (String,) = session.query(AssertSqlSafe(sql)).fetch_one().await.unwrap();
            contents.push(format!("{table}: {text}"));
        }
        contents
    }

    pub(super) async fn texts(&self, account: &Account) -> Vec<String> {
        let session = self.session(account);
        let texts = session.query("SELECT text FROM notes ORDER BY id");
        let texts: Vec<(String,)> = texts.fetch_all().await.unwrap();
        texts.into_iter().map(|(text,)| text).collect()
    }

    /// Whether a server that takes this for the account's cluster can write there.
    pub(super) async fn is_writable(&self, account: &Account, on: &str) -> bool {
        let clusters = self.served.place().postgres().unwrap();
        let cluster = clusters.cluster((on != "main").then_some(on)).unwrap();
        let mut space = match clusters.open(cluster, account.id).await {
            Ok(space) => space,
            Err(SessionError::Unavailable(_)) => return false,
            Err(error) => panic!("{on}: {error}"),
        };
        match space.begin(account.id, TIMEOUT).await.unwrap() {
            Begun::Yes => {}
            other => {
                assert_eq!(other, Begun::Fenced, "{on}");
                return false;
            }
        }
        let add = crate::store::Query::new("INSERT INTO notes (text) VALUES ('a try')");
        add.execute(space.connection()).await.unwrap();
        space.rollback().await.unwrap();
        true
    }

    /// Notes that lie on the cluster, as a superuser sees it; none where there is no place.
    pub(super) async fn notes_at(&self, account: &Account, on: &str) -> Option<i64> {
        let database = if on == "main" { &self.main } else { &self.eu };
        let own = database_of(account.id);
        let own = (self.tenancy == Tenancy::Database).then_some(own.as_str());
        let mut superuser = superuser(database, own).await?;
        let space = space_of(self.tenancy, account.id);
        let there = "SELECT to_regclass($1 || '.notes') IS NOT NULL";
        let there: bool = sqlx::query_scalar(there)
            .bind(&space)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        if !there {
            return None;
        }
        let own = if self.tenancy == Tenancy::Row {
            format!(" WHERE account_id = '{}'", account.id)
        } else {
            String::new()
        };
        let sql = format!("SELECT COUNT(*) FROM {space}.notes{own}");
        let count = sqlx::query_scalar(AssertSqlSafe(sql));
        let count: i64 = count.fetch_one(&mut superuser).await.unwrap();
        (self.tenancy != Tenancy::Row || count > 0).then_some(count)
    }

    pub(super) async fn lies_on(&self, account: &Account) -> String {
        let placements = self.owned.placements().await.unwrap().unwrap();
        let on = placements.get(&account.id);
        on.map_or("main", String::as_str).to_owned()
    }

    /// Rows of the directory's table of moves.
    pub(super) async fn moves(&self) -> i64 {
        let mut superuser = superuser(&self.main, None).await.unwrap();
        let count = "SELECT COUNT(*) FROM vestibule.moves";
        sqlx::query_scalar(count)
            .fetch_one(&mut superuser)
            .await
            .unwrap()
    }

    pub(super) async fn fenced(&self, account: Uuid, on: &TestDatabase) -> bool {
        let mut superuser = superuser(on, None).await.unwrap();
        let fenced = "SELECT EXISTS (SELECT FROM vestibule.fences WHERE account_id = $1)";
        sqlx::query_scalar(fenced)
            .bind(account)
            .fetch_one(&mut superuser)
            .await
            .unwrap()
    }
}

pub(super) async fn superuser(on: &TestDatabase, database: Option<&str>) -> Option<PgConnection> {
    let options: PgConnectOptions = on.superuser_url().parse().unwrap();
    let options = database
        .into_iter()
        .fold(options, PgConnectOptions::database);
    options.connect().await.ok()
}

fn settings(tenancy: Tenancy, main: &TestDatabase, eu: &TestDatabase) -> DatabaseSettings {
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
    let mut reader = SettingsReader::from_pairs([
        ("DATABASE_URL", main.application_url()),
        ("DATABASE_ADMIN_URL", main.owner_url()),
        ("VESTIBULE_BINDING_KEY", key),
        ("TENANCY", tenancy.as_str().to_owned()),
        ("DATABASE_POOL_SIZE", "6".to_owned()),
        ("DATABASE_TIMEOUT", TIMEOUT.as_secs().to_string()),
        (
            "VESTIBULE_CLUSTERS",
            format!(
                "eu={};again={}",
                eu.application_url(),
                main.application_url()
            ),
        ),
        (
            "VESTIBULE_ADMIN_CLUSTERS",
            format!("eu={};again={}", eu.owner_url(), main.owner_url()),
        ),
    ]);
    let settings = DatabaseSettings::read(&mut reader);
    reader.finish().unwrap();
    settings.unwrap()
}

/// One test for each tenancy.
macro_rules! in_each_tenancy {
    ($name:ident) => {
        mod $name {
            use crate::settings::Tenancy;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn row() {
                super::$name(Tenancy::Row).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn schema() {
                super::$name(Tenancy::Schema).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn database() {
                super::$name(Tenancy::Database).await;
            }
        }
    };
}
pub(super) use in_each_tenancy;
