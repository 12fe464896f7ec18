//! Where `doctor` says that `migrate` sets something right, it does; and `migrate --status` says
//! who is behind.

use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions};

use crate::postgres::Site;

/// What is done to a sound installation, and the finding that `migrate` must make go away.
struct Harm {
    finding: &'static str,
    tenancy: &'static str,
    /// A superuser's statements, where the account's tables lie. `{app}`, `{owner}` and `{space}`
    /// (the account's schema, or database) are put in.
    sql: &'static str,
    /// Whether the finding's fix is to run `migrate`.
    is_the_fix: bool,
}

const fn harm(finding: &'static str, tenancy: &'static str, sql: &'static str) -> Harm {
    Harm {
        finding,
        tenancy,
        sql,
        is_the_fix: true,
    }
}

/// The fix that the finding names is another one, and `migrate` is one all the same.
const fn harm_too(finding: &'static str, tenancy: &'static str, sql: &'static str) -> Harm {
    Harm {
        is_the_fix: false,
        ..harm(finding, tenancy, sql)
    }
}

const HARMS: &[Harm] = &[
    harm(
        "grant_missing",
        "row",
        "REVOKE SELECT ON vestibule_tenants.vestibule_activity FROM {app}",
    ),
    harm(
        "grant_missing",
        "row",
        "REVOKE EXECUTE ON FUNCTION vestibule.bound_account() FROM {app}",
    ),
    harm(
        "directory_function_missing",
        "row",
        "DROP FUNCTION vestibule.placement(uuid, bigint, bytea)",
    ),
    harm(
        "directory_function_changed",
        "row",
        "ALTER FUNCTION vestibule.bound_account() RESET search_path",
    ),
    harm(
        "account_column_missing",
        "row",
        "CREATE TABLE vestibule_tenants.late (id int);
         ALTER TABLE vestibule_tenants.late OWNER TO {owner}",
    ),
    harm(
        "grant_missing",
        "schema",
        "REVOKE SELECT ON {space}.vestibule_activity FROM {app}",
    ),
    harm(
        "grant_missing",
        "schema",
        "REVOKE USAGE ON SCHEMA {space} FROM {app}",
    ),
    harm(
        "migration_pending",
        "schema",
        "INSERT INTO vestibule.tenant_migrations (version, description, checksum, sql, kept_at)
         VALUES (7, 'x', '\\x01', 'SELECT 1', 0)",
    ),
    harm(
        "grant_missing",
        "database",
        "REVOKE SELECT ON tenant.vestibule_activity FROM {app}",
    ),
    harm(
        "grant_missing",
        "database",
        "REVOKE CONNECT ON DATABASE {space} FROM {app}",
    ),
    harm(
        "activity_function_missing",
        "database",
        "DROP FUNCTION vestibule.remove_old_activity(bigint, uuid)",
    ),
    harm_too(
        "login_may_change_activity",
        "database",
        "GRANT INSERT, DELETE ON tenant.vestibule_activity TO {app}",
    ),
    harm_too(
        "rls_missing",
        "schema",
        "ALTER TABLE {space}.vestibule_activity DISABLE ROW LEVEL SECURITY",
    ),
    harm_too(
        "policy_missing",
        "schema",
        "DROP POLICY vestibule_account ON {space}.vestibule_activity",
    ),
    harm_too(
        "login_may_truncate",
        "schema",
        "GRANT TRUNCATE ON {space}.vestibule_activity TO {app}",
    ),
    harm_too(
        "database_open",
        "database",
        "GRANT CONNECT ON DATABASE {space} TO PUBLIC",
    ),
];

async fn run(site: &Site, harm: &Harm, account: &str) {
    let account = account.replace('-', "");
    let mut options: PgConnectOptions = site.database.superuser_url().parse().unwrap();
    let space = match harm.tenancy {
        "database" => {
            let database = format!("vestibule_{account}");
            options = options.database(&database);
            database
        }
        _ => format!("account_{account}"),
    };
    let sql = harm
        .sql
        .replace("{app}", &site.database.application())
        .replace("{owner}", &site.database.owner())
        .replace("{space}", &space);
    let mut superuser = options.connect().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser);
    done.await.unwrap();
}

/// The finding of this name that is a problem.
fn found(site: &Site, name: &str) -> Option<Value> {
    let findings = site.place.run(&["doctor", "--json"]).json();
    let all = findings["findings"].as_array().unwrap();
    let problem = |found: &&Value| found["name"] == name && found["level"] == "problem";
    all.iter().find(problem).cloned()
}

async fn is_repaired(site: &Site, account: &str, harm: &Harm) {
    let what = format!("{} in {}: {}", harm.finding, harm.tenancy, harm.sql);
    run(site, harm, account).await;
    let Some(finding) = found(site, harm.finding) else {
        panic!("was not found: {what}");
    };
    let fix = finding["fix"].as_str().unwrap();
    let named = fix.contains("vestibule migrate");
    assert_eq!(named, harm.is_the_fix, "{what}: {fix}");
    site.place.json(&["migrate"]);
    assert_eq!(found(site, harm.finding), None, "{what}");
}

async fn all_are_repaired(tenancy: &str) {
    let site = Site::new(tenancy, false).await;
    site.place.json(&["migrate"]);
    let account = site.place.account("Acme", "tenant_acme");
    for harm in HARMS.iter().filter(|harm| harm.tenancy == tenancy) {
        is_repaired(&site, &account, harm).await;
    }
    let said = site.place.run(&["doctor", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_is_the_fix_in_row() {
    all_are_repaired("row").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_is_the_fix_in_schema() {
    all_are_repaired("schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_is_the_fix_in_a_database() {
    all_are_repaired("database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_who_is_behind() {
    let pending = |version: &str| {
        format!(
            "INSERT INTO vestibule.tenant_migrations (version, description, checksum, sql, kept_at)
             VALUES ({version}, 'step {version}', '\\x01', 'SELECT 1', 0)"
        )
    };
    for tenancy in ["row", "schema", "database"] {
        let site = Site::new(tenancy, false).await;
        site.place.json(&["migrate"]);
        let acme = site.place.account("Acme", "tenant_acme");
        let options: PgConnectOptions = site.database.superuser_url().parse().unwrap();
        let mut superuser = options.connect().await.unwrap();
        for version in ["7", "8"] {
            sqlx::raw_sql(AssertSqlSafe(pending(version)))
                .execute(&mut superuser)
                .await
                .unwrap();
        }
        // A new account has all of them; where tables are shared, so has everybody or nobody.
        let globex = site.place.account("Globex", "tenant_globex");
        let new = if tenancy == "row" { 2 } else { 0 };
        let status = site.place.json(&["migrate", "--status"]);
        let versions: Vec<_> = status["migrations"].as_array().unwrap().iter().collect();
        assert_eq!(versions.len(), 2, "{status}");
        assert_eq!(versions[0]["description"], "step 7", "{status}");
        let missing = |status: &Value, id: &str| {
            let all = status["accounts"].as_array().unwrap().clone();
            let one = all.iter().find(|account| account["id"] == id);
            one.unwrap()["missing"].as_u64().unwrap()
        };
        assert_eq!(
            (missing(&status, &acme), missing(&status, &globex)),
            (2, new)
        );
        let shown = site.place.run(&["migrate", "--status"]);
        assert!(shown.stdout.contains("step 8"), "{shown:?}");
        assert!(shown.stdout.contains(&acme), "{shown:?}");
        // It only shows.
        assert_eq!(site.place.json(&["migrate", "--status"]), status);

        let done = site.place.json(&["migrate"]);
        assert_eq!(done["changed"], 1, "{tenancy}: {done}");
        let status = site.place.json(&["migrate", "--status"]);
        assert_eq!((missing(&status, &acme), missing(&status, &globex)), (0, 0));
        let done = site.place.json(&["migrate"]);
        assert_eq!(done["changed"], 0, "{tenancy}: {done}");
    }
}
