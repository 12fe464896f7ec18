//! An installation into which something is imported, and what is asked of the import.

use std::fs;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions};
use vestibule_sandbox::Sandbox;
use vestibule_testbed::TestDatabase;

use crate::{
    postgres::Site,
    support::{Place, Said},
    world::open,
};

/// Where the import goes.
pub(super) struct Ground {
    pub(super) sandbox: Sandbox,
    pub(super) place: Place,
    database: Option<TestDatabase>,
}

impl Ground {
    pub(super) async fn on_sqlite() -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let place = Place::new().with_sandbox(&sandbox);
        Self {
            sandbox,
            place,
            database: None,
        }
    }

    pub(super) async fn on_postgres() -> Self {
        let Site {
            database,
            sandbox,
            place,
        } = Site::new("row", false).await;
        place.json(&["migrate"]);
        Self {
            sandbox,
            place,
            database: Some(database),
        }
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.place.path().join(name), content).unwrap();
    }

    /// Runs the import of this content; adds `--json`.
    pub(super) fn import(&self, name: &str, content: impl AsRef<[u8]>, further: &[&str]) -> Said {
        self.write(name, content);
        let arguments = [&["import", name, "--json"], further].concat();
        self.place.run(&arguments)
    }

    /// As [`Ground::import`], of what must be taken as a whole.
    #[track_caller]
    pub(super) fn takes(&self, name: &str, content: impl AsRef<[u8]>, further: &[&str]) -> Value {
        let said = self.import(name, content, further);
        assert_eq!(said.code, 0, "{said:?}");
        let report = said.json();
        assert_eq!(report["problems"], json!([]), "{report}");
        report
    }

    /// As [`Ground::import`], of what is not; its problems, each as `line: text`.
    #[track_caller]
    pub(super) fn refuses(
        &self,
        name: &str,
        content: impl AsRef<[u8]>,
        further: &[&str],
    ) -> Vec<String> {
        let before = self.all();
        let said = self.import(name, content, further);
        assert_eq!(said.code, 1, "{said:?}");
        let report = said.json();
        assert_eq!(report["done"], false, "{report}");
        assert_eq!(self.all(), before, "{report}");
        problems(&report)
    }

    /// All accounts, users and service clients.
    pub(super) fn all(&self) -> Value {
        let accounts = self.place.json(&["account", "list"])["items"].take();
        let users: Vec<Value> = accounts
            .as_array()
            .unwrap()
            .iter()
            .map(|account| self.users(account["id"].as_str().unwrap()))
            .collect();
        let clients = self.place.json(&["client", "list"])["items"].take();
        json!({ "accounts": accounts, "users": users, "clients": clients })
    }

    pub(super) fn users(&self, account: &str) -> Value {
        self.place.json(&["user", "list", "--account", account])["items"].take()
    }

    /// The account of the tenant.
    pub(super) fn account(&self, tenant: &str) -> Value {
        let listed = self.place.json(&["account", "list"]);
        let mut accounts = listed["items"].as_array().unwrap().iter();
        let found = accounts.find(|account| account["authress_tenant_id"] == tenant);
        found
            .unwrap_or_else(|| panic!("{tenant}: {listed}"))
            .clone()
    }

    pub(super) fn id_of(&self, tenant: &str) -> String {
        self.account(tenant)["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        match &self.database {
            None => {
                let mut connection = open(&self.place.database()).await;
                let count = format!("SELECT COUNT(*) FROM {table}");
                sqlx::query_scalar(AssertSqlSafe(count))
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
            Some(database) => {
                let url: PgConnectOptions = database.superuser_url().parse().unwrap();
                let mut connection = url.connect().await.unwrap();
                let count = format!("SELECT COUNT(*) FROM vestibule.{table}");
                sqlx::query_scalar(AssertSqlSafe(count))
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
        }
    }

    pub(super) async fn end(self) {
        if let Some(database) = self.database {
            database.drop().await;
        }
    }
}

pub(super) fn problems(report: &Value) -> Vec<String> {
    let problems = report["problems"].as_array().unwrap();
    problems
        .iter()
        .map(|it| format!("{}: {}", it["line"], it["problem"].as_str().unwrap()))
        .collect()
}

/// That the problems are these, by the beginning of each.
#[track_caller]
pub(super) fn expect(problems: &[String], beginnings: &[&str]) {
    let same = problems.len() == beginnings.len()
        && problems
            .iter()
            .zip(beginnings)
            .all(|(problem, beginning)| problem.starts_with(beginning));
    assert!(same, "{problems:#?}");
}

pub(super) fn counts(created: u64, changed: u64, unchanged: u64) -> Value {
    json!({ "created": created, "changed": changed, "unchanged": unchanged })
}

/// Each case on each database.
macro_rules! on_both {
    ($($case:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(super::Ground::on_sqlite().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(super::Ground::on_postgres().await).await;
            })+
        }
    };
}
