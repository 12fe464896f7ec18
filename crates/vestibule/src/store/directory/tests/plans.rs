//! A directory that grows is not read from end to end: whatever is asked of it, PostgreSQL goes by
//! an index.

use std::{fmt::Write as _, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{Database, Directory, PostgresLogin, first, person};
use crate::{
    clock::Timestamp,
    store::{KeptFact, Kind, Operation, Profile, Status, directory::OPERATIONS},
};

const USERS: u32 = 10_000;
const ACCOUNTS: u32 = 1_000;

/// Tables that grow with accounts, users and requests. The others hold a few rows.
const GROWING: [&str; 7] = [
    "accounts",
    "users",
    "service_clients",
    "kept_facts",
    "changes",
    "placements",
    "cut_offs",
];

/// Forgets everything, on purpose.
const READS_ALL: &str = "forget_all_facts";
/// How much is old is known only when they run: PostgreSQL plans them for their values.
const BY_AGE: [&str; 3] = ["forget_facts_before", "prune_changes", "forget_cut_offs"];

async fn filled() -> (Database, PgConnection) {
    let database = Database::on_postgres(PostgresLogin::Functions).await;
    // A connection of its own: one that stays open keeps what it counted to itself for a while.
    let mut filling = database.superuser().await;
    let fill = include_str!("../../../../tests/scale/fill.sql");
    // The accounts' data are not what this is about.
    let (fill, _) = fill.split_once("INSERT INTO vestibule_tenants").unwrap();
    let fill = fill
        .replace("$NOW", "0")
        .replace("$ACCOUNTS", &ACCOUNTS.to_string())
        .replace("$USERS", &USERS.to_string());
    for sql in [fill.as_str(), "ANALYZE"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut filling)
            .await
            .unwrap();
    }
    filling.close().await.unwrap();
    let superuser = database.superuser().await;
    (database, superuser)
}

/// The plan of an operation's text, which is what its function runs.
async fn plan(connection: &mut PgConnection, operation: &Operation) -> String {
    let (mode, value): (_, fn(Kind) -> &'static str) = if BY_AGE.contains(&operation.name) {
        ("force_custom_plan", |_| "5")
    } else {
        // For any values: the one that PostgreSQL keeps.
        ("force_generic_plan", |_| "NULL")
    };
    let types: Vec<_> = operation.takes.iter().map(|kind| kind.sql()).collect();
    let values: Vec<_> = operation.takes.iter().map(|kind| value(*kind)).collect();
    let listed = |items: &[&str]| match items {
        [] => String::new(),
        items => format!("({})", items.join(", ")),
    };
    let script = format!(
        "SET search_path TO vestibule, pg_temp; SET plan_cache_mode TO {mode};
         PREPARE it {} AS {}",
        listed(&types),
        operation.sql
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", operation.name));
    let explain = format!("EXPLAIN EXECUTE it {}", listed(&values));
    let lines: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("DEALLOCATE it")
        .execute(connection)
        .await
        .unwrap();
    lines.into_iter().fold(String::new(), |mut plan, (line,)| {
        let _ = writeln!(plan, "{line}");
        plan
    })
}

/// What is found by an index may be looked at for this; anything else would mean that the index
/// finds too much.
fn filters(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter_map(|line| line.trim().strip_prefix("Filter: "))
        .filter(|filter| !filter.contains("removed_at IS"))
        .collect()
}

fn scans_a_table(plan: &str) -> bool {
    GROWING.iter().any(|table| {
        let scan = format!("Seq Scan on {table}");
        plan.lines().any(|line| {
            let at = line.find(&scan).map(|at| at + scan.len());
            at.is_some_and(|at| line[at..].starts_with([' ', '\n']) || line.len() == at)
        })
    })
}

#[tokio::test]
async fn no_operation_scans_a_table() {
    let (_database, mut superuser) = filled().await;
    for operation in OPERATIONS.iter().copied().flatten() {
        let plan = plan(&mut superuser, operation).await;
        let scans = scans_a_table(&plan);
        let name = operation.name;
        assert_eq!(scans, name == READS_ALL, "{name}:\n{plan}");
        if !plan.contains("Seq Scan") && !BY_AGE.contains(&name) {
            assert!(filters(&plan).is_empty(), "{name}:\n{plan}");
        }
    }
}

/// How often the tables were read from end to end, once all statistics have arrived.
async fn scans(superuser: &mut PgConnection) -> Vec<(String, i64)> {
    let mut seen = None;
    loop {
        let counts: Vec<(String, i64)> = sqlx::query_as(
            "SELECT relname::text, seq_scan FROM pg_stat_user_tables
             WHERE schemaname = 'vestibule' AND relname = ANY ($1) ORDER BY relname",
        )
        .bind(GROWING.map(str::to_owned).to_vec())
        .fetch_all(&mut *superuser)
        .await
        .unwrap();
        if seen.as_ref() == Some(&counts) {
            return counts;
        }
        seen = Some(counts);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Everything that servers and the command line ask, the lists and the owner's changes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_asked_scans_a_table() {
    let (database, mut superuser) = filled().await;
    let before = scans(&mut superuser).await;
    assert_eq!(before.len(), GROWING.len());
    let directory = database.open().await;
    // More often than PostgreSQL plans anew for the values at hand.
    for number in 0..12 {
        ask(&directory, number).await;
    }
    directory.close().await;
    assert_eq!(scans(&mut superuser).await, before);

    // It would be seen.
    scan(&database).await;
    assert_ne!(scans(&mut superuser).await, before);
}

/// Reads a table from end to end.
async fn scan(database: &Database) {
    let mut other = database.superuser().await;
    sqlx::query("SELECT COUNT(*) FROM vestibule.users WHERE name = 'nobody'")
        .execute(&mut other)
        .await
        .unwrap();
    sqlx::Connection::close(other).await.unwrap();
}

async fn ask(directory: &Directory, number: u32) {
    let number = number * 83 % ACCOUNTS;
    let id = Uuid::from_u128(u128::from(number) + 1);
    let (tenant, subject) = (format!("tenant_{number}"), format!("user_{number}"));
    let found = directory.find_user("authress", &subject).await.unwrap();
    let (user, account) = found.unwrap();
    assert_eq!((user.id, account.id), (id, id));
    assert!(directory.user(id).await.unwrap().is_some());
    let by_tenant = directory.find_account_by_tenant(&tenant).await.unwrap();
    assert_eq!(by_tenant.as_ref(), Some(&account));
    assert!(directory.account(id).await.unwrap().is_some());
    directory.account_created_at(id).await.unwrap();
    assert!(
        directory
            .find_client(&format!("sc_{number}"))
            .await
            .unwrap()
            .is_some()
    );
    directory.placement(id).await.unwrap();
    directory.provider().await.unwrap();
    directory.tenants_current().await.unwrap();

    let mut page = first(3);
    for _ in 0..3 {
        page.cursor = directory.users(id, &page).await.unwrap().next_cursor;
    }
    assert!(page.cursor.is_some());
    let clients = directory.clients(id, &first(3)).await.unwrap();
    assert_eq!(clients.items.len(), 1);
    let mut page = first(200);
    for _ in 0..3 {
        page.cursor = directory.accounts(&page).await.unwrap().next_cursor;
    }
    assert!(page.cursor.is_some());

    let new = format!("new_{number}");
    let profile = Profile {
        name: Some("Two".to_owned()),
        ..Profile::default()
    };
    for _ in 0..2 {
        let user = directory.provision_user(&person(&account, &new)).await;
        let user = user.unwrap().user;
        directory.refresh_profile(user.id, &profile).await.unwrap();
        directory.set_user_role(user.id, "admin").await.unwrap();
        directory.suspend_user(user.id).await.unwrap();
        directory.resume_user(user.id).await.unwrap();
        // He comes back, the first time.
        directory.remove_user(user.id).await.unwrap();
    }
    directory.add_client(id, &new, "Robot", &[]).await.unwrap();
    directory.suspend_client(&new).await.unwrap();
    directory.resume_client(&new).await.unwrap();
    directory.remove_client(&new).await.unwrap();
    directory.rename_account(id, "Other").await.unwrap();
    directory.suspend_account(id).await.unwrap();
    directory.resume_account(id).await.unwrap();
    let created = directory.write({
        let tenant = format!("tenant_of_{number}");
        move |writing| {
            Box::pin(async move {
                let account = writing
                    .insert_account("New", &tenant, Status::Active)
                    .await?;
                writing.place(account.id, Some("eu")).await?;
                writing.delete_account(account.id).await
            })
        }
    });
    created.await.unwrap();

    let fact = KeptFact {
        body: vec![0],
        fetched_at: Timestamp::from_millis(i64::from(USERS)),
        proof: vec![0],
    };
    assert!(
        directory
            .kept_fact("user", &subject)
            .await
            .unwrap()
            .is_some()
    );
    directory.keep_fact("user", &subject, &fact).await.unwrap();
    directory.forget_fact("user", &subject).await.unwrap();
    let old = Timestamp::from_millis(i64::from(number % 12));
    directory.forget_facts_before(old).await.unwrap();
    directory.prune_changes().await.unwrap();
    let watch = directory.watch(|_| {}).await.unwrap();
    watch.end().await;
}
