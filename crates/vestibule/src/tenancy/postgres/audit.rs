//! What is not as it should be: on every cluster and, for the owner's login, in every account's
//! space. Nothing is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Cluster, Clusters, OWN, OwnerConnections, ROWS, Unit, database_of,
    making::{begin, bind, script},
    space_of,
};
use crate::{
    settings::Tenancy,
    store::{
        Danger, Finding, KeptMigration, StoreError,
        postgres::{audit, close},
    },
    tenancy::{SessionError, TenantSpaces},
};

/// Spaces that are looked at at the same time.
const PARALLEL: usize = 4;

/// An account and the cluster it is said to lie on.
type Placed = (Uuid, Option<String>);

impl TenantSpaces {
    /// What the application's login can see of its own dangers, on every cluster. Those that do
    /// not answer are a finding; nothing is found on SQLite.
    ///
    /// # Errors
    /// Where the main cluster does not answer.
    pub async fn audit_login(&self) -> Result<Vec<Finding>, StoreError> {
        let Some(clusters) = self.place().postgres() else {
            return Ok(Vec::new());
        };
        let looking = clusters
            .all()
            .map(|cluster| async move { (cluster, self.look_at(cluster).await) });
        let mut findings = Vec::new();
        for (cluster, seen) in futures_util::future::join_all(looking).await {
            match (seen, &cluster.name) {
                (Ok(found), None) => findings.extend(found),
                (Ok(found), Some(name)) => {
                    findings.extend(found.into_iter().map(|finding| finding.of_cluster(name)));
                }
                (Err(error), None) => return Err(error),
                (Err(error), Some(name)) => findings.push(unreachable(name, &error)),
            }
        }
        Ok(findings)
    }

    /// The accounts that lie on other clusters than the main one; none on SQLite, where there are
    /// no clusters. For the owner's login.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub async fn placements(&self) -> Result<Option<BTreeMap<Uuid, String>>, StoreError> {
        let Some(clusters) = self.place().postgres() else {
            return Ok(None);
        };
        let mut main = clusters.owner_connection(clusters.main(), None).await?;
        let placed = placements(&mut main).await?;
        close(main).await;
        Ok(Some(
            placed
                .into_iter()
                .filter_map(|(account, on)| Some((account, on?)))
                .collect(),
        ))
    }

    /// What the owner's login sees of every cluster and every account's space, or of so many
    /// accounts, chosen at random. The spaces must have been opened as owner.
    ///
    /// # Errors
    /// Where the main cluster does not answer.
    pub async fn audit(&self, accounts: Option<u32>) -> Result<Vec<Finding>, StoreError> {
        let Some(clusters) = self.place().postgres() else {
            return Ok(Vec::new());
        };
        let mut findings = about_logins(clusters);
        let kept = self.directory().kept_migrations().await?;
        let mut main = clusters.owner_connection(clusters.main(), None).await?;
        let placed = placements(&mut main).await?;
        let moves = moves(&mut main).await?;
        close(main).await;
        findings.extend(moves.iter().map(about_move));
        // What is left of a move is not nobody's.
        let mut known = placed.clone();
        for (account, source, target) in moves {
            known.extend([source, target].map(|on| (account, (on != "main").then_some(on))));
        }
        let mut reached = Vec::new();
        for cluster in clusters.all() {
            match clusters.audit_cluster(cluster, &known).await {
                Ok(found) => {
                    reached.push(Arc::clone(cluster));
                    findings.extend(of(cluster, found));
                }
                Err(error) => findings.push(unreachable(cluster.shown(), &error)),
            }
        }
        let mut units = Vec::new();
        for (account, on) in chosen(placed, accounts) {
            match clusters.cluster(on.as_deref()) {
                Err(_) => findings.push(Finding::problem(
                    "placement_unknown_cluster",
                    format!(
                        "account {account} lies on {}, which VESTIBULE_CLUSTERS does not name",
                        on.unwrap_or_default()
                    ),
                    "name that cluster again in VESTIBULE_CLUSTERS and VESTIBULE_ADMIN_CLUSTERS",
                )),
                Ok(cluster) if !reached.iter().any(|known| Arc::ptr_eq(known, cluster)) => {}
                Ok(cluster) => units.push((Arc::clone(cluster), account)),
            }
        }
        findings.extend(clusters.audit_units(&reached, units, &kept).await);
        Ok(summarised(findings))
    }

    async fn look_at(&self, cluster: &Arc<Cluster>) -> Result<Vec<Finding>, StoreError> {
        let Some(clusters) = self.place().postgres() else {
            return Ok(Vec::new());
        };
        let server = clusters.server(cluster).await.map_err(store_error)?;
        let found = audit::of_login(
            &server,
            clusters.tenancy != Tenancy::Database,
            clusters.connections,
            clusters.timeout,
            self.clock(),
        )
        .await?;
        if clusters.tenancy == Tenancy::Database && cluster.name.is_some() {
            // No session ever runs in that database: accounts have their own.
            let of_database = [
                Danger::CreateInDatabase,
                Danger::TemporaryTables,
                Danger::CreateInSchema,
            ];
            let others = found.into_iter().filter(|finding| {
                finding
                    .danger
                    .is_none_or(|danger| !of_database.contains(&danger))
            });
            return Ok(others.collect());
        }
        Ok(found)
    }
}

fn unreachable(cluster: &str, error: &StoreError) -> Finding {
    Finding::problem(
        "cluster_unreachable",
        error.to_string(),
        "see VESTIBULE_CLUSTERS; the accounts that lie there are answered with 503",
    )
    .of_cluster(cluster)
}

fn store_error(error: SessionError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// What the settings alone say.
fn about_logins(clusters: &Clusters) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in clusters.all() {
        let (application, owner) = (&cluster.logins.application, &cluster.logins.owner);
        match owner {
            None => findings.push(Finding::warning(
                "owner_login_missing",
                format!(
                    "the owner's login of the cluster {} is not set",
                    cluster.shown()
                ),
                match cluster.name {
                    None => "set DATABASE_ADMIN_URL where `vestibule` is run by its operators",
                    Some(_) => "name the cluster in VESTIBULE_ADMIN_CLUSTERS",
                },
            )),
            Some(owner) if owner.login() == application.login() => {
                findings.push(Finding::problem(
                    "admin_url_same",
                    format!(
                        "the cluster {} has {} for the application and for the owner",
                        cluster.shown(),
                        owner.login()
                    ),
                    "make a login for DATABASE_URL that owns nothing: CREATE ROLE … LOGIN",
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

impl Clusters {
    async fn audit_cluster(
        &self,
        cluster: &Cluster,
        placed: &[Placed],
    ) -> Result<Vec<Finding>, StoreError> {
        let mut connection = self.owner_connection(cluster, None).await?;
        begin(&mut connection).await?;
        let mut findings = Vec::new();
        let holds_directory = cluster.name.is_none();
        if holds_directory || self.tenancy != Tenancy::Database {
            let login = cluster.logins.application.login();
            findings.extend(
                audit::of_owner(
                    &mut connection,
                    login,
                    &self.settings.binding_keys,
                    holds_directory,
                    self.tenancy != Tenancy::Database,
                )
                .await?,
            );
        }
        if self.tenancy != Tenancy::Database {
            findings.extend(
                self.about_activity(&mut connection, cluster.shown())
                    .await?,
            );
        }
        findings.extend(self.strays(&mut connection, cluster, placed).await?);
        script(&mut connection, "ROLLBACK").await?;
        close(connection).await;
        Ok(findings)
    }

    /// Spaces that are nobody's.
    async fn strays(
        &self,
        connection: &mut PgConnection,
        cluster: &Cluster,
        placed: &[Placed],
    ) -> Result<Vec<Finding>, StoreError> {
        let sql = match self.tenancy {
            Tenancy::Row => return Ok(Vec::new()),
            Tenancy::Schema => {
                "SELECT nspname::text FROM pg_catalog.pg_namespace
                 WHERE nspname ~ '^account_[0-9a-f]{32}$' ORDER BY nspname"
            }
            Tenancy::Database => {
                "SELECT datname::text FROM pg_catalog.pg_database
                 WHERE datname ~ '^vestibule_[0-9a-f]{32}$' AND pg_catalog.pg_has_role(datdba, 'USAGE')
                 ORDER BY datname"
            }
        };
        let there: Vec<(String,)> = sqlx::query_as(sql)
            .persistent(false)
            .fetch_all(connection)
            .await?;
        let wanted: BTreeSet<String> = placed
            .iter()
            .filter(|(_, on)| *on == cluster.name)
            .map(|(account, _)| match self.tenancy {
                Tenancy::Database => database_of(*account),
                _ => space_of(self.tenancy, *account),
            })
            .collect();
        let kind = self.tenancy.as_str();
        Ok(there
            .into_iter()
            .filter(|(name,)| !wanted.contains(name))
            .map(|(name,)| {
                Finding::warning(
                    "space_without_account",
                    format!("the {kind} {name} belongs to no account here"),
                    format!("if nobody misses it: DROP {} {name}", kind.to_uppercase()),
                )
            })
            .collect())
    }

    async fn audit_units(
        &self,
        reached: &[Arc<Cluster>],
        accounts: Vec<(Arc<Cluster>, Uuid)>,
        kept: &[KeptMigration],
    ) -> Vec<Finding> {
        let mut units: Vec<(Arc<Cluster>, Unit)> = Vec::new();
        if self.tenancy == Tenancy::Row {
            units.extend(reached.iter().map(|on| (Arc::clone(on), Unit::Shared)));
        } else {
            let accounts = accounts.iter();
            units.extend(accounts.map(|(on, id)| (Arc::clone(on), Unit::Account(*id))));
        }
        let owners = OwnerConnections::default();
        let looking = units.into_iter().map(async |(cluster, unit)| {
            let found = self.audit_unit(&cluster, unit, kept, &owners).await;
            let found = found.unwrap_or_else(|error| vec![unseen(unit, &error)]);
            of(&cluster, found)
        });
        let mut findings: Vec<_> = stream::iter(looking)
            .buffered(PARALLEL)
            .collect::<Vec<_>>()
            .await
            .concat();
        owners.close().await;
        if self.tenancy == Tenancy::Row {
            for cluster in reached {
                let here = accounts.iter().filter(|(on, _)| Arc::ptr_eq(on, cluster));
                let here: Vec<_> = here.map(|(_, id)| *id).collect();
                let found = self.accounts_without_row(cluster, &here).await;
                let found = found.unwrap_or_else(|error| vec![unseen(Unit::Shared, &error)]);
                findings.extend(of(cluster, found));
            }
        }
        findings
    }

    async fn audit_unit(
        &self,
        cluster: &Arc<Cluster>,
        unit: Unit,
        kept: &[KeptMigration],
        owners: &OwnerConnections,
    ) -> Result<Vec<Finding>, StoreError> {
        let database = match (unit, self.tenancy) {
            (Unit::Account(account), Tenancy::Database) => Some(database_of(account)),
            _ => None,
        };
        let (space, account) = match unit {
            Unit::Shared => (ROWS.to_owned(), None),
            Unit::Account(account) => (space_of(self.tenancy, account), Some(account)),
        };
        let mut connection = self
            .owner_connection(cluster, database.as_deref())
            .await
            .map_err(|error| no_space(unit, &space, error))?;
        begin(&mut connection).await?;
        let (there, citus): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1),
                    EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')",
        )
        .persistent(false)
        .bind(&space)
        .fetch_one(&mut connection)
        .await?;
        if !there {
            return Ok(vec![without_space(unit, &space)]);
        }
        let login = cluster.logins.application.login();
        let policies_of = account.filter(|_| !citus || self.tenancy != Tenancy::Schema);
        let found: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT finding, object, detail
             FROM vestibule.audit_tables($1::name, $2::name, $3::text, $4::uuid)",
        )
        .persistent(false)
        .bind(&space)
        .bind(login)
        .bind(self.tenancy.as_str())
        .bind(policies_of)
        .fetch_all(&mut connection)
        .await?;
        let mut findings: Vec<_> = found
            .into_iter()
            .map(|(name, object, detail)| {
                let fix = cure(&name, &space, &object, login);
                Finding::problem(&name, format!("{space}, {object}: {detail}"), fix)
            })
            .collect();
        findings.extend(lacking_rights(&mut connection, &space, login).await?);
        if self.tenancy == Tenancy::Database {
            findings.extend(about_own_database(&mut connection, login).await?);
            findings.extend(self.about_activity(&mut connection, &shown(unit)).await?);
        }
        script(&mut connection, "ROLLBACK").await?;
        close(connection).await;
        let applied = self.applied(cluster, unit, owners).await?;
        findings.extend(about_migrations(unit, kept, &applied));
        Ok(findings)
    }

    /// Entries of activity come and go, and what the owner lets go is what the settings say.
    async fn about_activity(
        &self,
        connection: &mut PgConnection,
        place: &str,
    ) -> Result<Vec<Finding>, StoreError> {
        let (there,): (i64,) = sqlx::query_as(
            "SELECT count(DISTINCT proname) FROM pg_catalog.pg_proc
             WHERE pronamespace = 'vestibule'::regnamespace
               AND proname IN ('note_activity', 'remove_old_activity') AND prosecdef",
        )
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
        if there != 2 {
            return Ok(vec![Finding::problem(
                "activity_function_missing",
                format!("{place}: there are no functions by which entries of activity come and go"),
                "vestibule migrate",
            )]);
        }
        let limits: Option<(i64, i64)> =
            sqlx::query_as("SELECT keep, max_age FROM vestibule.activity_limits")
                .persistent(false)
                .fetch_optional(&mut *connection)
                .await?;
        let wanted = (self.retention.keeps(), self.retention.max_age_millis());
        let mut findings = Vec::new();
        if limits != Some(wanted) {
            findings.push(Finding::warning(
                "activity_limits",
                format!(
                    "{place}: ACTIVITY_KEEP and ACTIVITY_MAX_AGE are not what `migrate` was last \
                     run with, which says how much of the activity may go"
                ),
                "vestibule migrate",
            ));
        }
        // Where accounts share a database, it was asked for these before.
        if self.tenancy == Tenancy::Database {
            findings.extend(audit::about_keys(connection, &self.settings.binding_keys).await?);
        }
        Ok(findings)
    }

    /// Where accounts share tables, each has a row of its own there.
    async fn accounts_without_row(
        &self,
        cluster: &Cluster,
        accounts: &[Uuid],
    ) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        let mut connection = self.owner_connection(cluster, None).await?;
        let signer = self.owner_signer(&mut connection).await?;
        for account in accounts {
            begin(&mut connection).await?;
            bind(&mut connection, &signer, *account, ROWS).await?;
            let (bound, found): (Option<Uuid>, Option<Uuid>) = sqlx::query_as(
                "SELECT vestibule.bound_account(), (SELECT account_id FROM vestibule_account)",
            )
            .persistent(false)
            .fetch_one(&mut connection)
            .await?;
            script(&mut connection, "ROLLBACK").await?;
            if bound != Some(*account) {
                // The key is another: then nothing is seen of any account, and `binding_refused` says
                // why. To end the account would be the wrong advice.
                break;
            }
            if found != Some(*account) {
                findings.push(without_space(Unit::Account(*account), ROWS));
            }
        }
        close(connection).await;
        Ok(findings)
    }
}

/// All accounts with where they lie.
async fn placements(connection: &mut PgConnection) -> Result<Vec<Placed>, StoreError> {
    begin(connection).await?;
    let placed = sqlx::query_as(
        "SELECT a.id, p.cluster FROM vestibule.accounts a
         LEFT JOIN vestibule.placements p ON p.account_id = a.id ORDER BY random()",
    )
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    script(connection, "ROLLBACK").await?;
    Ok(placed)
}

/// Moves that are not over: account, old cluster, new cluster.
async fn moves(connection: &mut PgConnection) -> Result<Vec<(Uuid, String, String)>, StoreError> {
    Ok(
        sqlx::query_as(
            "SELECT account_id, source, target FROM vestibule.moves ORDER BY account_id",
        )
        .persistent(false)
        .fetch_all(connection)
        .await?,
    )
}

fn about_move((account, source, target): &(Uuid, String, String)) -> Finding {
    Finding::warning(
        "move_unfinished",
        format!("the move of account {account} from {source} to {target} is not over"),
        format!(
            "unless it is running: vestibule account move {account} --cluster {target}, which goes \
             on with it"
        ),
    )
}

fn chosen(mut placed: Vec<Placed>, limit: Option<u32>) -> Vec<Placed> {
    if let Some(limit) = limit {
        placed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    placed.sort_unstable();
    placed
}

/// What the login needs in a space and does not have.
async fn lacking_rights(
    connection: &mut PgConnection,
    space: &str,
    login: &str,
) -> Result<Vec<Finding>, StoreError> {
    let lacking: Vec<(String,)> = sqlx::query_as(
        "SELECT c.relname::text FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
           AND NOT (has_table_privilege($2, c.oid, 'SELECT')
               AND (has_table_privilege($2, c.oid, 'INSERT') OR c.relname IN
                   ('vestibule_account', 'vestibule_activity', 'vestibule_migrations')))
         UNION ALL
         SELECT 'the schema itself' FROM pg_catalog.pg_namespace n
         WHERE n.nspname = $1 AND NOT has_schema_privilege($2, n.oid, 'USAGE')",
    )
    .persistent(false)
    .bind(space)
    .bind(login)
    .fetch_all(connection)
    .await?;
    Ok(lacking
        .into_iter()
        .map(|(object,)| {
            Finding::problem(
                "grant_missing",
                format!("{space}, {object}: {login} lacks rights that it needs"),
                format!("GRANT them to {login}, or run `vestibule migrate`"),
            )
        })
        .collect())
}

/// An account's own database lets nobody else in, and nobody make anything.
async fn about_own_database(
    connection: &mut PgConnection,
    login: &str,
) -> Result<Vec<Finding>, StoreError> {
    let (public, makes, enters, name): (bool, bool, bool, String) = sqlx::query_as(
        "SELECT datacl IS NULL OR EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = 0),
                has_database_privilege($1, oid, 'CREATE, TEMPORARY'),
                has_database_privilege($1, oid, 'CONNECT'),
                datname::text
         FROM pg_catalog.pg_database WHERE datname = current_database()",
    )
    .persistent(false)
    .bind(login)
    .fetch_one(connection)
    .await?;
    let mut findings = Vec::new();
    if public {
        findings.push(Finding::problem(
            "database_open",
            format!("every login of the server may use the database {name}"),
            format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        ));
    }
    if makes {
        findings.push(Finding::problem(
            "create_in_database",
            format!("{login} may make schemas or temporary tables in {name}"),
            format!("REVOKE CREATE, TEMPORARY ON DATABASE {name} FROM PUBLIC, {login}"),
        ));
    }
    if !enters {
        findings.push(Finding::problem(
            "grant_missing",
            format!("{login} may not connect to {name}"),
            format!("GRANT CONNECT ON DATABASE {name} TO {login}, or run `vestibule migrate`"),
        ));
    }
    Ok(findings)
}

fn about_migrations(
    unit: Unit,
    kept: &[KeptMigration],
    applied: &[(i64, Vec<u8>)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for migration in kept {
        let done = applied
            .iter()
            .find(|(version, _)| *version == migration.version);
        match done {
            None => findings.push(Finding::problem(
                "migration_pending",
                format!("{}: lacks migration {}", shown(unit), migration.version),
                "vestibule migrate",
            )),
            Some((_, checksum)) if *checksum != migration.checksum => {
                findings.push(Finding::problem(
                    "migration_drifted",
                    format!(
                        "{}: has another migration {} than the directory",
                        shown(unit),
                        migration.version
                    ),
                    "compare the space with the application's migrations, and restore it from a \
                     backup where they differ",
                ));
            }
            Some(_) => {}
        }
    }
    for (version, _) in applied {
        if !kept.iter().any(|migration| migration.version == *version) {
            findings.push(Finding::problem(
                "migration_unknown",
                format!(
                    "{}: has migration {version}, which the directory does not know",
                    shown(unit)
                ),
                "run the application that has this migration, or restore the space from a backup",
            ));
        }
    }
    findings
}

/// What to write where a table is not as `migrate` leaves it.
fn cure(finding: &str, space: &str, object: &str, login: &str) -> String {
    match finding {
        "rls_missing" => {
            format!("ALTER TABLE {space}.{object} ENABLE ROW LEVEL SECURITY")
        }
        "rls_not_forced" => format!("ALTER TABLE {space}.{object} FORCE ROW LEVEL SECURITY"),
        "policy_missing" | "policy_without_check" | "policy_open" | "policy_other_account" => {
            let account = space.strip_prefix("account_");
            let call = match account.and_then(|text| Uuid::try_parse(text).ok()) {
                Some(account) => {
                    format!("SELECT vestibule.secure_space('{space}', '{account}', '{login}')")
                }
                None => format!("SELECT vestibule.secure_rows('{space}', '{login}')"),
            };
            format!("drop the policies of {space}.{object}, and as the owner: {call}")
        }
        "account_index_missing" => format!("CREATE INDEX ON {space}.{object} (account_id)"),
        "account_column_nullable" => {
            format!("ALTER TABLE {space}.{object} ALTER account_id SET NOT NULL")
        }
        "account_default_wrong" => format!(
            "ALTER TABLE {space}.{object} ALTER account_id SET DEFAULT vestibule.bound_account()"
        ),
        "account_column_missing" | "key_without_account" | "foreign_key_without_account" => {
            "vestibule migrate".to_owned()
        }
        "login_owns_table" | "not_owned" => {
            format!("ALTER … {object} OWNER TO the login of DATABASE_ADMIN_URL")
        }
        "view_bypasses" => format!("ALTER VIEW {space}.{object} SET (security_invoker = true)"),
        _ if finding.starts_with("login_may") || finding == "grant_to_public" => {
            format!("REVOKE that right on {space}.{object} FROM PUBLIC, {login}")
        }
        _ => format!("as it says, in a migration of {space}.{object}"),
    }
}

fn shown(unit: Unit) -> String {
    match unit {
        Unit::Shared => format!("schema {ROWS}"),
        Unit::Account(account) => format!("account {account}"),
    }
}

fn without_space(unit: Unit, space: &str) -> Finding {
    Finding::problem(
        "account_without_space",
        format!("{}: there is nothing of it in {space}", shown(unit)),
        "restore its data from a backup, or end it: vestibule account delete ID --yes",
    )
}

/// A database that is not there is not one that does not answer.
fn no_space(unit: Unit, space: &str, error: StoreError) -> StoreError {
    let text = error.to_string();
    if space == OWN && text.contains("does not exist") {
        return StoreError::NotFound(shown(unit));
    }
    error
}

fn unseen(unit: Unit, error: &StoreError) -> Finding {
    match error {
        StoreError::NotFound(_) => without_space(unit, "the server"),
        error => Finding::problem(
            "space_unseen",
            format!("{} could not be looked at: {error}", shown(unit)),
            "run `vestibule migrate` and `vestibule doctor` again",
        ),
    }
}

fn of(cluster: &Cluster, findings: Vec<Finding>) -> Vec<Finding> {
    match &cluster.name {
        None => findings,
        Some(name) => {
            let findings = findings.into_iter();
            findings.map(|finding| finding.of_cluster(name)).collect()
        }
    }
}

/// One of each name and level: thousands of accounts may have the same trouble.
fn summarised(findings: Vec<Finding>) -> Vec<Finding> {
    const SHOWN: usize = 3;
    let mut by_name: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_name
            .entry(finding.name.clone())
            .or_default()
            .push(finding);
    }
    by_name
        .into_values()
        .flat_map(|mut same| {
            let more = same.len().saturating_sub(SHOWN);
            same.truncate(SHOWN);
            if let (1.., Some(last)) = (more, same.last_mut()) {
                last.message
                    .push_str(&format!(" (and {more} more of this name)"));
            }
            same
        })
        .collect()
}
