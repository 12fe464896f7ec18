//! The cases of `tenancy/postgres/tests/tables`: what a migration may make of shared and own
//! tables, what it may not, and what an audit finds. The README beside them says how they read.

use std::{fs, path::Path, sync::Arc};

use futures_util::{StreamExt as _, stream};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;
use vestibule_testbed::{OwnServer, Postgres, TestDatabase};

use crate::{
    clock::SystemClock,
    settings::Tenancy,
    store::{Directory, directory_tests::postgres_settings, postgres::Signer},
    tenancy::{TenantSpaces, postgres::database_of, postgres::space_of},
};

/// Cases that run at the same time.
const PARALLEL: usize = 6;

/// How a case ends.
#[derive(Debug, PartialEq)]
enum End {
    Accepted,
    Refused(String),
    Findings(Vec<String>),
}

#[derive(Debug)]
struct Case {
    name: String,
    end: End,
    tenancies: Vec<String>,
    postgres: Option<String>,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    head: String,
    fails: Option<String>,
    sql: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let list = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect();
        let end = match first.strip_prefix("-- ").unwrap().split_once(": ") {
            None => End::Accepted,
            Some(("refused", why)) => End::Refused(why.to_owned()),
            Some(("finding", names)) => End::Findings(list(names)),
            Some(_) => panic!("{path:?}: {first}"),
        };
        let told = |name: &str| {
            let head = rest.lines().take_while(|line| line.starts_with("-- "));
            let prefix = format!("-- {name}: ");
            head.filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
                .next()
        };
        let mut sections = vec![Section {
            head: "migration".to_owned(),
            fails: None,
            sql: String::new(),
        }];
        for line in rest.lines() {
            if let Some(head) = line.strip_prefix("--> ") {
                let (head, fails) = match head.split_once(" fails: ") {
                    Some((head, why)) => (head, Some(why.to_owned())),
                    None => (head, None),
                };
                sections.push(Section {
                    head: head.to_owned(),
                    fails,
                    sql: String::new(),
                });
            } else {
                let section = sections.last_mut().unwrap();
                section.sql.push_str(line);
                section.sql.push('\n');
            }
        }
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            end,
            tenancies: told("tenancy").map_or_else(
                || vec!["row".to_owned()],
                |told| told.split_whitespace().map(str::to_owned).collect(),
            ),
            postgres: told("postgres"),
            sections,
        }
    }

    /// Logins are everybody's on the server: other cases would see it.
    fn changes_logins(&self) -> bool {
        let mut sections = self.sections.iter();
        sections.any(|section| section.sql.contains("GRANT {"))
    }

    fn is_for(&self, version: i32) -> bool {
        let number = |text: &str| text.parse::<i32>().unwrap() * 10_000;
        match self.postgres.as_deref() {
            None => true,
            Some(text) => match text.strip_prefix("before ") {
                Some(text) => version < number(text),
                None => version >= number(text),
            },
        }
    }
}

/// A database of one case, with two accounts in it.
#[derive(Clone)]
struct Stage {
    database: Arc<TestDatabase>,
    /// The database that holds the accounts' tables.
    name: String,
    tenancy: Tenancy,
    accounts: [Uuid; 2],
    stranger: String,
}

impl Stage {
    async fn set(server: &OwnServer, tenancy: Tenancy) -> Self {
        let database = server.database().await;
        let settings = postgres_settings(&database, tenancy);
        let clock = Arc::new(SystemClock);
        let owner = Directory::migrate(&settings, clock.clone()).await.unwrap();
        let spaces = TenantSpaces::open(&settings, &owner, clock).unwrap();
        spaces.prepare().await.unwrap();
        let one = spaces.create_account("One", "tenant_1").await.unwrap().id;
        let other = match tenancy {
            Tenancy::Database => one,
            _ => spaces.create_account("Other", "tenant_2").await.unwrap().id,
        };
        spaces.close().await;
        owner.close().await;
        let stage = Self {
            stranger: format!("stranger_{}", Uuid::now_v7().simple()),
            name: match tenancy {
                Tenancy::Database => database_of(one),
                _ => database.name().to_owned(),
            },
            database: Arc::new(database),
            tenancy,
            accounts: [one, other],
        };
        let mut superuser = stage.connect(&stage.database.superuser_url()).await;
        let roles = format!(
            "CREATE ROLE {0}; GRANT {0} TO {1}; GRANT CREATE, USAGE ON SCHEMA public TO {1};
             REVOKE USAGE ON SCHEMA public FROM PUBLIC",
            stage.stranger,
            stage.database.owner()
        );
        run(&mut superuser, &roles).await.unwrap();
        stage
    }

    /// To the database that holds the accounts' tables.
    async fn connect(&self, url: &str) -> PgConnection {
        let options: PgConnectOptions = url.parse().unwrap();
        options.database(&self.name).connect().await.unwrap()
    }

    /// The same once more, with the same logins. Nobody may be connected to this one.
    async fn copy(&self) -> Self {
        let name = format!("copy_{}", Uuid::now_v7().simple());
        let mut superuser = self.database.server().superuser().await;
        let copy = format!("CREATE DATABASE {name} TEMPLATE {}", self.name);
        run(&mut superuser, &copy).await.unwrap();
        // Rights on a database are not copied with it.
        let rights = format!(
            "UPDATE pg_database SET (datdba, datacl) =
                 (SELECT datdba, datacl FROM pg_database WHERE datname = '{}')
             WHERE datname = '{name}'",
            self.name
        );
        run(&mut superuser, &rights).await.unwrap();
        Self {
            name,
            ..self.clone()
        }
    }

    fn space(&self, account: usize) -> String {
        space_of(self.tenancy, self.accounts[account])
    }

    fn filled(&self, text: &str) -> String {
        let values = [
            ("{space}", self.space(0)),
            ("{other}", self.space(1)),
            ("{account}", self.accounts[0].to_string()),
            ("{other_account}", self.accounts[1].to_string()),
            ("{login}", self.database.application()),
            ("{owner}", self.database.owner()),
            ("{stranger}", self.stranger.clone()),
        ];
        values.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }

    async fn play(&self, case: &Case) -> Result<(), sqlx::Error> {
        let mut owner = self.connect(&self.database.owner_url()).await;
        let mut application = self.connect(&self.database.application_url()).await;
        let mut superuser = self.connect(&self.database.superuser_url()).await;
        // One account after the other, where each has tables of its own.
        let units = if self.tenancy == Tenancy::Schema {
            2
        } else {
            1
        };
        let mut sections = case.sections.iter().peekable();
        while let Some(section) = sections.next() {
            if section.head == "migration" {
                let mut texts = vec![self.filled(&section.sql)];
                while let Some(next) = sections.next_if(|next| next.head == "same transaction") {
                    texts.push(self.filled(&next.sql));
                }
                for unit in 0..units {
                    self.migrate(&mut owner, unit, &texts).await?;
                }
                continue;
            }
            let sql = self.filled(&section.sql);
            let outcome = match section.head.as_str() {
                "account 1" => self.as_account(&mut application, Some(0), &sql).await,
                "account 2" => self.as_account(&mut application, Some(1), &sql).await,
                "no account" => self.as_account(&mut application, None, &sql).await,
                "owner for account 1" => self.as_account(&mut owner, Some(0), &sql).await,
                "owner for account 2" => self.as_account(&mut owner, Some(1), &sql).await,
                "owner" => self.as_account(&mut owner, None, &sql).await,
                "superuser" => self.as_account(&mut superuser, None, &sql).await,
                other => panic!("{}: --> {other}", case.name),
            };
            match (&section.fails, outcome) {
                (None, outcome) => outcome
                    .unwrap_or_else(|error| panic!("{} --> {}: {error}", case.name, section.head)),
                (Some(why), Err(error)) => {
                    let text = error.to_string();
                    assert!(text.contains(why), "{}: {text}", case.name);
                }
                (Some(_), Ok(())) => panic!("{} --> {}: passes", case.name, section.head),
            }
        }
        Ok(())
    }

    async fn migrate(
        &self,
        owner: &mut PgConnection,
        unit: usize,
        texts: &[String],
    ) -> Result<(), sqlx::Error> {
        let space = self.space(unit);
        let login = self.database.application();
        run(owner, "BEGIN").await?;
        let outcome = async {
            let account = (self.tenancy == Tenancy::Schema).then_some(unit);
            for text in texts {
                self.enter(owner, account, &space).await?;
                let mut text = text.clone();
                if self.tenancy == Tenancy::Row {
                    run(owner, &format!("SELECT vestibule.open_rows('{space}')")).await?;
                    text = sqlx::query_scalar("SELECT vestibule.migration_for_rows($1::name, $2)")
                        .bind(&space)
                        .bind(&text)
                        .fetch_one(&mut *owner)
                        .await?;
                }
                run(owner, &text).await?;
                let secure = match self.tenancy {
                    Tenancy::Row => format!("SELECT vestibule.secure_rows('{space}', '{login}')"),
                    Tenancy::Schema => format!(
                        "SELECT vestibule.secure_space('{space}', '{}', '{login}')",
                        self.accounts[unit]
                    ),
                    Tenancy::Database => {
                        format!("SELECT vestibule.secure_database('{space}', '{login}')")
                    }
                };
                run(owner, &secure).await?;
                // Once more: nothing is left to do, and nothing is in the way.
                run(owner, &secure).await?;
            }
            Ok(())
        }
        .await;
        let end = if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        outcome.and(run(owner, end).await)
    }

    async fn as_account(
        &self,
        connection: &mut PgConnection,
        account: Option<usize>,
        sql: &str,
    ) -> Result<(), sqlx::Error> {
        run(connection, "BEGIN").await?;
        let outcome = async {
            self.enter(connection, account, &self.space(account.unwrap_or(0)))
                .await?;
            run(connection, sql).await?;
            run(connection, "COMMIT").await
        }
        .await;
        if outcome.is_err() {
            run(connection, "ROLLBACK").await?;
        }
        outcome
    }

    /// Names are the space's; the transaction is the account's, if there is one.
    async fn enter(
        &self,
        connection: &mut PgConnection,
        account: Option<usize>,
        space: &str,
    ) -> Result<(), sqlx::Error> {
        let path = format!("SET LOCAL search_path TO {space}, pg_temp");
        run(connection, &path).await?;
        if let Some(account) = account
            && self.tenancy != Tenancy::Database
        {
            let signer = Signer::with_clock_of(&[[7; 32].into()], connection).await?;
            let binding = signer.binding(self.accounts[account]);
            let bind = format!("SELECT set_config('vestibule.binding', '{binding}', true)");
            run(connection, &bind).await?;
        }
        Ok(())
    }

    async fn findings(&self) -> Vec<String> {
        let mut owner = self.connect(&self.database.owner_url()).await;
        let account = (self.tenancy == Tenancy::Schema).then_some(self.accounts[0]);
        sqlx::query_scalar(
            "SELECT DISTINCT finding FROM vestibule.audit_tables($1::name, $2::name, $3, $4)
             ORDER BY 1",
        )
        .bind(self.space(0))
        .bind(self.database.application())
        .bind(self.tenancy.as_str())
        .bind(account)
        .fetch_all(&mut owner)
        .await
        .unwrap()
    }
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

/// What is wrong with the case, if anything.
async fn tried(case: &Case, stage: Stage) -> Option<String> {
    let played = stage.play(case).await;
    let filled = |text: &str| stage.filled(text);
    let wrong = match (&case.end, played) {
        (End::Refused(why), Err(error)) => {
            let code = error.as_database_error().and_then(|error| error.code());
            let right =
                code.as_deref() == Some("VB002") && error.to_string().contains(&filled(why));
            (!right).then(|| error.to_string())
        }
        (End::Refused(_), Ok(())) => Some("is not refused".to_owned()),
        (_, Err(error)) => Some(error.to_string()),
        (end, Ok(())) => {
            let mut expected = match end {
                End::Findings(names) => names.clone(),
                _ => Vec::new(),
            };
            expected.sort();
            let found = stage.findings().await;
            (found != expected).then(|| format!("found {found:?}, expected {expected:?}"))
        }
    };
    wrong.map(|wrong| format!("{}: {wrong}", case.name))
}

async fn all_cases(tenancy: Tenancy) {
    // Its end is the end of all databases on it.
    let server = Postgres::own().await;
    let version = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut server.postgres().superuser().await)
        .await
        .unwrap();
    let sound = Stage::set(&server, tenancy).await;
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/tenancy/postgres/tests/tables"
    );
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let cases: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "sql"))
        .map(|path| Case::read(&path))
        .filter(|case| case.tenancies.iter().any(|name| name == tenancy.as_str()))
        .filter(|case| case.is_for(version))
        .collect();
    assert!(cases.len() > 10, "{}", cases.len());
    let wrong: Vec<_> = stream::iter(&cases)
        .map(async |case| {
            let stage = if case.changes_logins() {
                Stage::set(&server, tenancy).await
            } else {
                sound.copy().await
            };
            tried(case, stage).await
        })
        .buffer_unordered(PARALLEL)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} cases: {wrong:#?}", wrong.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row() {
    all_cases(Tenancy::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema() {
    all_cases(Tenancy::Schema).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database() {
    all_cases(Tenancy::Database).await;
}
