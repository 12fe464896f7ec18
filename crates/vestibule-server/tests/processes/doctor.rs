//! Mistakes on PostgreSQL, each made on an installation of its own: `doctor` finds it by its name,
//! and `serve` refuses the dangerous ones until they are allowed.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::postgres::{KEY, Site};

/// What is done to a sound installation.
#[derive(Clone, Copy)]
enum Seed {
    /// A superuser's statements. `{app}`, `{owner}`, `{db}`, `{id}` (an account's, 32 digits) and
    /// `{account}` are put in.
    Sql(&'static str),
    /// Settings.
    Set(&'static [(&'static str, &'static str)]),
}

use Seed::{Set, Sql};

struct Mistake {
    name: &'static str,
    tenancy: &'static str,
    /// `serve` does not start.
    dangerous: bool,
    seed: Seed,
}

const fn mistake(name: &'static str, tenancy: &'static str, seed: Seed) -> Mistake {
    Mistake {
        name,
        tenancy,
        dangerous: false,
        seed,
    }
}

const fn danger(name: &'static str, sql: &'static str) -> Mistake {
    Mistake {
        name,
        tenancy: "row",
        dangerous: true,
        seed: Sql(sql),
    }
}

const ONE_MORE: &str = "INSERT INTO vestibule.tenant_migrations \
    (version, description, checksum, sql, kept_at) VALUES (7, 'x', '\\x01', 'SELECT 1', 0)";

const MORE_APPLIED: &str = "INSERT INTO vestibule_tenants.vestibule_migrations
    (version, description, checksum, applied_at) VALUES (7, 'x', '\\x02', 0)";

const ANOTHER: &str = "INSERT INTO vestibule.tenant_migrations
    (version, description, checksum, sql, kept_at) VALUES (7, 'x', '\\x01', 'SELECT 1', 0);
    INSERT INTO vestibule_tenants.vestibule_migrations
    (version, description, checksum, applied_at) VALUES (7, 'x', '\\x02', 0)";

/// What the database accepts comes second.
const NEW_KEY_FIRST: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=,\
                             BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// Sessions' bindings are refused, proofs are not.
const OTHER_KEY: &str = "CREATE OR REPLACE FUNCTION vestibule.bound_account() RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT NULL::uuid'";

const MISTAKES: &[Mistake] = &[
    danger("superuser", "ALTER ROLE {app} SUPERUSER"),
    danger("bypass_rls", "ALTER ROLE {app} BYPASSRLS"),
    danger("create_role", "ALTER ROLE {app} CREATEROLE"),
    danger("replication", "ALTER ROLE {app} REPLICATION"),
    danger(
        "replication",
        "CREATE ROLE {app}_copies REPLICATION; GRANT {app}_copies TO {app}; ALTER ROLE {app} NOINHERIT",
    ),
    danger("privileged_role", "GRANT pg_read_all_data TO {app}"),
    // As if it had been made so.
    danger(
        "encoding",
        "UPDATE pg_catalog.pg_database SET encoding = pg_catalog.pg_char_to_encoding('LATIN1')
         WHERE datname = '{db}'",
    ),
    danger("login_owns", "CREATE SCHEMA theirs AUTHORIZATION {app}"),
    danger("member_of_owner", "GRANT {owner} TO {app}"),
    danger("create_in_database", "GRANT CREATE ON DATABASE {db} TO {app}"),
    danger("temporary_tables", "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC"),
    danger("create_in_schema", "GRANT CREATE ON SCHEMA public TO PUBLIC"),
    danger("table_rights", "GRANT TRUNCATE ON vestibule_tenants.vestibule_activity TO {app}"),
    danger("activity_rights", "GRANT DELETE ON vestibule_tenants.vestibule_activity TO {app}"),
    danger("directory_tables", "GRANT SELECT ON vestibule.users TO {app}"),
    danger(
        "directory_functions",
        "GRANT EXECUTE ON FUNCTION vestibule.is_signed(text, bytea) TO {app}",
    ),
    mistake("login_settings", "row", Sql("ALTER ROLE {app} SET row_security = off")),
    mistake("connections", "row", Sql("ALTER ROLE {app} CONNECTION LIMIT 7")),
    mistake("spaces_unseen", "row", Set(&[("DATABASE_ADMIN_URL", "")])),
    mistake(
        "binding_key_missing",
        "row",
        Set(&[("VESTIBULE_BINDING_KEY", "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=")]),
    ),
    // The first one signs. A server that starts with both is sound only once `migrate` was run.
    mistake("binding_key_missing", "row", Set(&[("VESTIBULE_BINDING_KEY", NEW_KEY_FIRST)])),
    mistake("binding_refused", "row", Sql(OTHER_KEY)),
    mistake("binding_refused", "schema", Sql(OTHER_KEY)),
    mistake(
        "binding_key_extra",
        "row",
        Sql("INSERT INTO vestibule.binding_keys VALUES (2, '\\x01', '\\x02')"),
    ),
    mistake(
        "directory_function_missing",
        "row",
        Sql("DROP FUNCTION vestibule.placement(uuid, bigint, bytea)"),
    ),
    mistake(
        "directory_function_open",
        "row",
        Sql("GRANT EXECUTE ON FUNCTION vestibule.bound_account() TO PUBLIC"),
    ),
    mistake(
        "directory_function_changed",
        "row",
        Sql("ALTER FUNCTION vestibule.bound_account() RESET search_path"),
    ),
    mistake(
        "grant_missing",
        "row",
        Sql("REVOKE EXECUTE ON FUNCTION vestibule.bound_account() FROM {app}"),
    ),
    mistake(
        "rls_missing",
        "row",
        Sql("ALTER TABLE vestibule_tenants.vestibule_activity DISABLE ROW LEVEL SECURITY"),
    ),
    mistake(
        "rls_not_forced",
        "row",
        Sql("ALTER TABLE vestibule_tenants.vestibule_activity NO FORCE ROW LEVEL SECURITY"),
    ),
    mistake(
        "policy_missing",
        "row",
        Sql("DROP POLICY vestibule_account ON vestibule_tenants.vestibule_activity"),
    ),
    mistake(
        "policy_without_check",
        "row",
        Sql("DROP POLICY vestibule_account ON vestibule_tenants.vestibule_activity;
             CREATE POLICY vestibule_account ON vestibule_tenants.vestibule_activity
             USING (account_id = (SELECT vestibule.bound_account()))"),
    ),
    // Open when the setting is empty.
    mistake(
        "policy_open",
        "row",
        Sql("ALTER POLICY vestibule_account ON vestibule_tenants.vestibule_activity
             USING (coalesce(current_setting('vestibule.binding', true), '') = ''
                 OR account_id = (SELECT vestibule.bound_account()))"),
    ),
    mistake(
        "account_default_wrong",
        "row",
        Sql("ALTER TABLE vestibule_tenants.vestibule_activity ALTER account_id DROP DEFAULT"),
    ),
    mistake(
        "account_index_missing",
        "row",
        Sql("CREATE TABLE vestibule_tenants.late
             (account_id uuid NOT NULL DEFAULT vestibule.bound_account());
             ALTER TABLE vestibule_tenants.late OWNER TO {owner}"),
    ),
    mistake(
        "account_column_missing",
        "row",
        Sql("CREATE TABLE vestibule_tenants.late (id int);
             ALTER TABLE vestibule_tenants.late OWNER TO {owner}"),
    ),
    mistake(
        "key_without_account",
        "row",
        Sql("CREATE UNIQUE INDEX ON vestibule_tenants.vestibule_activity (id)"),
    ),
    mistake(
        "view_bypasses",
        "row",
        Sql("CREATE VIEW vestibule_tenants.seen AS SELECT 1 AS one;
             ALTER VIEW vestibule_tenants.seen OWNER TO {owner}"),
    ),
    mistake(
        "grant_to_public",
        "row",
        Sql("GRANT SELECT ON vestibule_tenants.vestibule_activity TO PUBLIC"),
    ),
    mistake(
        "login_may_change_ours",
        "row",
        Sql("GRANT UPDATE ON vestibule_tenants.vestibule_migrations TO {app}"),
    ),
    mistake(
        "account_without_space",
        "row",
        Sql("DELETE FROM vestibule_tenants.vestibule_account"),
    ),
    mistake("migration_pending", "row", Sql(ONE_MORE)),
    mistake("migration_drifted", "row", Sql(ANOTHER)),
    mistake("migration_unknown", "row", Sql(MORE_APPLIED)),
    mistake(
        "placement_unknown_cluster",
        "row",
        Sql("INSERT INTO vestibule.placements VALUES ('{account}', 'eu')"),
    ),
    mistake(
        "cluster_unreachable",
        "row",
        Set(&[("VESTIBULE_CLUSTERS", "eu=postgres://a:b@127.0.0.1:1/app")]),
    ),
    mistake(
        "owner_login_missing",
        "row",
        Set(&[("VESTIBULE_CLUSTERS", "eu=postgres://a:b@127.0.0.1:1/app")]),
    ),
    mistake("migration_pending", "schema", Sql(ONE_MORE)),
    mistake(
        "rls_missing",
        "schema",
        Sql("ALTER TABLE account_{id}.vestibule_activity DISABLE ROW LEVEL SECURITY"),
    ),
    mistake(
        "policy_other_account",
        "schema",
        Sql("ALTER POLICY vestibule_account ON account_{id}.vestibule_activity
             USING ('0190a8f2-0000-7000-8000-000000000001'::uuid = (SELECT vestibule.bound_account()))
             WITH CHECK ('0190a8f2-0000-7000-8000-000000000001'::uuid = (SELECT vestibule.bound_account()))"),
    ),
    mistake(
        "login_may_truncate",
        "schema",
        Sql("GRANT TRUNCATE ON account_{id}.vestibule_activity TO {app}"),
    ),
    mistake(
        "login_may_change_activity",
        "schema",
        Sql("GRANT UPDATE (reason) ON account_{id}.vestibule_activity TO {app}"),
    ),
    mistake(
        "activity_function_missing",
        "row",
        Sql("DROP FUNCTION vestibule.remove_old_activity(bigint, uuid)"),
    ),
    mistake("activity_limits", "row", Set(&[("ACTIVITY_KEEP", "5")])),
    mistake("activity_limits", "database", Set(&[("ACTIVITY_MAX_AGE", "86400")])),
    mistake(
        "login_may_create",
        "schema",
        Sql("GRANT CREATE ON SCHEMA account_{id} TO {app}"),
    ),
    mistake(
        "space_without_account",
        "schema",
        Sql("CREATE SCHEMA account_0190a8f200007000800000000000000f AUTHORIZATION {owner}"),
    ),
    mistake("account_without_space", "schema", Sql("DROP SCHEMA account_{id} CASCADE")),
    mistake("migration_pending", "database", Sql(ONE_MORE)),
    mistake(
        "database_open",
        "database",
        Sql("GRANT CONNECT ON DATABASE vestibule_{id} TO PUBLIC"),
    ),
    mistake("account_without_space", "database", Sql("DROP DATABASE vestibule_{id}")),
];

/// A sound installation with one account.
async fn installed(tenancy: &str, pooled: bool) -> (Site, String) {
    let site = Site::new(tenancy, pooled).await;
    site.place.json(&["migrate"]);
    let account = site.place.account("Acme", "tenant_acme");
    (site, account)
}

/// What `doctor` says, and its exit code.
fn doctor(site: &Site) -> (i32, Value) {
    let said = site.place.run(&["doctor", "--json"]);
    (said.code, said.json())
}

/// Names of findings that are not `ok`.
fn names(findings: &Value, levels: &[&str]) -> BTreeSet<String> {
    let all = findings["findings"].as_array();
    let all = all.unwrap_or_else(|| panic!("{findings}"));
    all.iter()
        .filter(|found| levels.contains(&found["level"].as_str().unwrap()))
        .inspect(|found| assert!(found["fix"].is_string(), "{found}"))
        .map(|found| found["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn is_clean(tenancy: &str, pooled: bool) {
    let (site, _) = installed(tenancy, pooled).await;
    let (code, findings) = doctor(&site);
    let wrong = names(&findings, &["problem", "warning"]);
    // The sandbox's world does not name its applications.
    let usual = BTreeSet::from(["applications".to_owned()]);
    assert_eq!((code, wrong), (0, usual), "{findings:#}");
    let text = findings.to_string();
    let pooler = ["nothing stands between", "a pooler stands in between"];
    assert!(text.contains(pooler[usize::from(pooled)]), "{text}");
    assert!(
        !text.contains(KEY) && !text.contains("postgres://test_"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_has_no_finding() {
    for tenancy in ["row", "schema", "database"] {
        is_clean(tenancy, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_behind_pgbouncer_has_no_finding() {
    for tenancy in ["row", "schema", "database"] {
        is_clean(tenancy, true).await;
    }
}

async fn made(mistake: &Mistake) -> Site {
    let (mut site, account) = installed(mistake.tenancy, false).await;
    match mistake.seed {
        Sql(sql) => {
            let sql = sql
                .replace("{app}", &site.database.application())
                .replace("{owner}", &site.database.owner())
                .replace("{db}", site.database.name())
                .replace("{id}", &account.replace('-', ""))
                .replace("{account}", &account);
            let mut superuser = PgConnection::connect(&site.database.superuser_url())
                .await
                .unwrap();
            let seeded = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser);
            seeded
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", mistake.name));
        }
        Set(settings) => {
            for (name, value) in settings {
                site.place.set(name, value);
            }
        }
    }
    site
}

async fn is_found(mistake: &Mistake) -> Result<(), String> {
    let site = made(mistake).await;
    let what = format!("{} in {}", mistake.name, mistake.tenancy);
    let (code, findings) = doctor(&site);
    let problems = names(&findings, &["problem"]);
    let all = names(&findings, &["problem", "warning"]);
    if !all.contains(mistake.name) {
        return Err(format!("{what} was not found: {findings:#}"));
    }
    // Whose key is wrong sees no account, and must not be told to end those that are there.
    if mistake.name.starts_with("binding") && all.contains("account_without_space") {
        return Err(format!("{what} passes for lost accounts: {findings:#}"));
    }
    if code != i32::from(!problems.is_empty()) {
        return Err(format!("{what}: code {code}, {problems:?}"));
    }
    if !mistake.dangerous {
        return Ok(());
    }
    let said = site.place.run(&["serve"]);
    let name = mistake.name.replace('_', "-");
    if said.code != 1 || !said.stderr.contains(&format!("(or --allow {name})")) {
        return Err(format!("{what}: serve says {said:?}"));
    }
    // Each by its own name: one that is left out is still refused.
    let allowed: Vec<&str> = said
        .stderr
        .split("(or --allow ")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    if allowed.len() > 1 {
        let others = allowed.iter().filter(|other| **other != name);
        let others: Vec<_> = others.flat_map(|other| ["--allow", *other]).collect();
        let refused = site.place.run(&[&["serve"][..], &others].concat());
        assert_eq!(refused.code, 1, "{what}: {refused:?}");
    }
    let all: Vec<_> = allowed.iter().flat_map(|it| ["--allow", *it]).collect();
    drop(site.place.serve_with(&all));
    Ok(())
}

/// Every fourth one: four tests share them.
async fn are_found(part: usize) {
    let mut missed = Vec::new();
    for mistake in MISTAKES.iter().skip(part).step_by(4) {
        if let Err(why) = is_found(mistake).await {
            missed.push(why);
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_found_1() {
    are_found(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_found_2() {
    are_found(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_found_3() {
    are_found(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_found_4() {
    are_found(3).await;
}

/// What is wrong in every account is looked for in as many as are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_accounts_are_looked_at() {
    let (site, _) = installed("schema", false).await;
    for tenant in ["tenant_globex", "tenant_initech"] {
        site.place.account("Another", tenant);
    }
    let open = "DO $$ DECLARE it regclass; BEGIN
        FOR it IN SELECT oid FROM pg_class WHERE relname = 'vestibule_activity' AND relkind = 'r'
        LOOP EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', it); END LOOP; END $$";
    let mut superuser = PgConnection::connect(&site.database.superuser_url())
        .await
        .unwrap();
    sqlx::raw_sql(open).execute(&mut superuser).await.unwrap();
    for (number, found) in [(Some("1"), 1), (Some("2"), 2), (Some("9"), 3), (None, 3)] {
        let mut command = vec!["doctor", "--json"];
        command.extend(number.into_iter().flat_map(|number| ["--accounts", number]));
        let said = site.place.run(&command);
        assert_eq!(said.code, 1, "{said:?}");
        let findings = said.json();
        let all = findings["findings"].as_array().unwrap();
        let open = all.iter().filter(|it| it["name"] == "rls_missing");
        assert_eq!(open.count(), found, "{number:?}: {findings:#}");
    }
    let said = site.place.run(&["doctor", "--accounts", "some"]);
    assert_eq!(said.code, 2, "{said:?}");
}

/// The owner's login in both places.
#[tokio::test(flavor = "multi_thread")]
async fn one_login_for_both_is_found_and_refused() {
    let (mut site, _) = installed("row", false).await;
    site.place.set("DATABASE_URL", &site.database.owner_url());
    let (code, findings) = doctor(&site);
    let found = names(&findings, &["problem"]);
    assert_eq!(code, 1, "{findings:#}");
    assert!(found.contains("admin_url_same"), "{findings:#}");
    let said = site.place.run(&["serve"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("--allow login-owns"), "{said:?}");
}

/// At least so many, and no two that look for the same thing.
#[test]
fn there_are_enough_mistakes() {
    let names: BTreeSet<_> = MISTAKES.iter().map(|mistake| mistake.name).collect();
    assert!(names.len() >= 25, "{}", names.len());
}
