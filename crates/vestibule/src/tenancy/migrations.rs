//! The application's migrations: written as if there were one account, applied to all.
//!
//! They are kept in the directory, so that whoever creates an account applies them all. What was
//! kept is not changed: an account may have been made with it.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::migrate::Migrator;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    SessionError, TenantSpaces,
    contents::apply_and_record,
    places::Place,
    postgres::{Cluster, OwnerConnections, Unit, Work},
    space_file,
    statement::check_migration,
};
use crate::store::{KeptMigration, Page, Query, StoreError};

/// What [`TenantSpaces::migrate_tenants`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Data spaces that were looked at, which are all: an account's own, or the tables that the
    /// accounts of a cluster share.
    pub accounts: usize,
    /// Those that were behind.
    pub changed: usize,
}

/// Spaces that are migrated at the same time. More would only wait for the disk.
const PARALLEL: usize = 4;

/// What is migrated as one.
#[derive(Clone, Debug)]
enum Target {
    Account(Uuid),
    /// The tables that all accounts of a cluster share.
    Shared(Arc<Cluster>),
}

impl Target {
    fn shown(&self) -> String {
        match self {
            Self::Account(id) => format!("account {id}"),
            Self::Shared(cluster) => format!("cluster {}", cluster.shown()),
        }
    }
}

/// How far one account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The version.
    pub version: i64,
    /// What the file's name says.
    pub description: String,
}

impl TenantSpaces {
    /// Keeps the application's migrations in the directory and applies those that are missing to
    /// every account, each account in a transaction of its own. May be run again after a failure,
    /// and by several processes at once.
    ///
    /// New migrations are tried on an empty data space first; what fails there is not kept.
    ///
    /// # Errors
    /// [`StoreError::Refused`], with what to do, where a migration fails, was changed or is
    /// missing, or does what a migration may not; others where a database fails.
    pub async fn migrate_tenants(&self, migrator: &Migrator) -> Result<Migrated, StoreError> {
        self.keep_migrations(migrator).await?;
        // Nobody's rights are looked at: an application starts often, and is in a hurry.
        self.work_on_all(false, |_, _| {}).await
    }

    /// Fails where the application's migrations are not those that every account has: for a login
    /// that may not change tables.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with what to do; others where the database fails.
    pub(crate) async fn require_migrated(&self, migrator: &Migrator) -> Result<(), StoreError> {
        let wanted = wanted(migrator)?;
        if self.is_kept(&wanted).await? && self.directory().tenants_current().await? {
            return Ok(());
        }
        Err(StoreError::Refused(
            "the application's migrations are not applied to every account: run the application \
             once with DATABASE_ADMIN_URL, or `vestibule migrate` after it did so"
                .to_owned(),
        ))
    }

    /// Makes what accounts stand on, on every cluster: for `migrate`. On SQLite there is nothing
    /// to make.
    ///
    /// # Errors
    /// Names the cluster and what to do.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        if let Some(clusters) = self.place().postgres() {
            for cluster in clusters.all() {
                clusters
                    .prepare(cluster)
                    .await
                    .map_err(|error| named(&format!("cluster {}", cluster.shown()), error))?;
            }
        }
        Ok(())
    }

    /// For `migrate`: applies the migrations that are kept to every account that is behind,
    /// several at a time, and on PostgreSQL gives the application's login what it needs in every
    /// account's space, and takes what it must not have. `progress` hears how many are done, and
    /// of which this was the last.
    ///
    /// # Errors
    /// As [`TenantSpaces::migrate_tenants`]: the first one, after the others have ended.
    pub async fn bring_up_to_date(
        &self,
        progress: impl FnMut(usize, Uuid),
    ) -> Result<Migrated, StoreError> {
        self.work_on_all(true, progress).await
    }

    async fn work_on_all(
        &self,
        secures: bool,
        mut progress: impl FnMut(usize, Uuid),
    ) -> Result<Migrated, StoreError> {
        let kept: Arc<[KeptMigration]> = self.directory().kept_migrations().await?.into();
        let owners = Arc::new(OwnerConnections::default());
        let mut done = Migrated::default();
        let mut waiting = self.targets().await?.into_iter();
        let mut running = JoinSet::new();
        let mut failed = None;
        loop {
            while running.len() < PARALLEL
                && failed.is_none()
                && let Some(target) = waiting.next()
            {
                let (spaces, kept) = (self.clone(), Arc::clone(&kept));
                let owners = Arc::clone(&owners);
                running.spawn(async move {
                    let work = Work {
                        kept: &kept,
                        secures,
                        now: spaces.now(),
                    };
                    let changed = spaces.migrate_target(&target, &owners, &work).await;
                    (target, changed)
                });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (target, changed) = ended
                .map_err(|_| StoreError::Unavailable("a migration was broken off".to_owned()))?;
            match (target, changed) {
                (target, Ok(changed)) => {
                    done.accounts += 1;
                    done.changed += usize::from(changed);
                    if let Target::Account(id) = target {
                        progress(done.accounts, id);
                    }
                }
                (Target::Account(id), Err(_)) if self.is_gone(id).await => {}
                (target, Err(error)) => {
                    failed.get_or_insert_with(|| named(&target.shown(), error));
                }
            }
        }
        owners.close().await;
        match failed {
            Some(error) => Err(error),
            None => {
                self.directory().note_tenants_current(&kept).await?;
                Ok(done)
            }
        }
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        if let Some(clusters) = self.place().postgres()
            && clusters.shares_tables()
        {
            let clusters = clusters.all().map(Arc::clone);
            return Ok(clusters.map(Target::Shared).collect());
        }
        let mut targets = Vec::new();
        let mut page = Page {
            limit: 200,
            cursor: None,
        };
        loop {
            let accounts = self.directory().accounts(&page).await?;
            let ids = accounts.items.iter().map(|account| account.id);
            targets.extend(ids.map(Target::Account));
            match accounts.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return Ok(targets),
            }
        }
    }

    /// The migrations that every account has or should have.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails.
    pub async fn tenant_migrations(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let kept = self.directory().kept_migrations().await?;
        Ok(kept
            .into_iter()
            .map(|migration| MigrationStatus {
                version: migration.version,
                description: migration.description,
            })
            .collect())
    }

    /// How many of the migrations that are kept an account lacks.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it has others; others where a database fails.
    pub async fn migrations_missing(&self, account: Uuid) -> Result<usize, StoreError> {
        let missing = self.all_migrations_missing(&[account]).await?;
        Ok(missing.first().copied().unwrap_or_default())
    }

    /// The same of many accounts, in their order, several at a time.
    ///
    /// # Errors
    /// As [`TenantSpaces::migrations_missing`], for the first account of which it is so.
    pub async fn all_migrations_missing(
        &self,
        accounts: &[Uuid],
    ) -> Result<Vec<usize>, StoreError> {
        let kept = self.directory().kept_migrations().await?;
        let owners = OwnerConnections::default();
        let looking = accounts.iter().copied().map(async |account| {
            let target = match self.place().postgres() {
                Some(clusters) if clusters.shares_tables() => {
                    Target::Shared(clusters.cluster_of(self.directory(), account).await?)
                }
                _ => Target::Account(account),
            };
            let applied = self.applied_to(&target, &owners).await?;
            Ok(missing(&kept, &applied)?.len())
        });
        let looked = stream::iter(looking).buffered(PARALLEL).try_collect().await;
        owners.close().await;
        looked
    }

    /// Version and checksum of what the target has.
    async fn applied_to(
        &self,
        target: &Target,
        owners: &OwnerConnections,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        match (self.place(), target) {
            (Place::Postgres(clusters), Target::Shared(cluster)) => {
                clusters.applied(cluster, Unit::Shared, owners).await
            }
            (Place::Postgres(clusters), Target::Account(account)) => {
                let cluster = clusters.cluster_of(self.directory(), *account).await?;
                let unit = Unit::Account(*account);
                clusters.applied(&cluster, unit, owners).await
            }
            (Place::Files(_), Target::Account(account)) => {
                let mut lease = self.begin(*account).await?;
                let applied = applied(lease.connection()?).await?;
                lease.rollback().await;
                Ok(applied)
            }
            // Files are never shared.
            (Place::Files(_), Target::Shared(_)) => Ok(Vec::new()),
        }
    }

    async fn keep_migrations(&self, migrator: &Migrator) -> Result<(), StoreError> {
        let wanted = wanted(migrator)?;
        if self.is_kept(&wanted).await? {
            return Ok(());
        }
        // Tried before anything is written: with the lock held, creating an account would wait.
        self.try_on_an_empty_space(&wanted).await?;
        let spaces = self.clone();
        self.directory()
            .write_within(super::LONG, move |writing| {
                Box::pin(async move {
                    writing.forget_tenants_current().await?;
                    let kept = writing.kept_migrations().await?;
                    for migration in &kept {
                        let same = wanted
                            .iter()
                            .find(|wanted| wanted.version == migration.version);
                        if same.is_some_and(|same| same.checksum == migration.checksum) {
                            continue;
                        }
                        spaces
                            .require_applied_nowhere(migration, same.is_some())
                            .await?;
                        writing.drop_migration(migration.version).await?;
                    }
                    let kept = writing.kept_migrations().await?;
                    for migration in &wanted {
                        if !kept.iter().any(|kept| kept.version == migration.version) {
                            writing.keep_migration(migration).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn is_kept(&self, wanted: &[KeptMigration]) -> Result<bool, StoreError> {
        let kept = self.directory().kept_migrations().await?;
        let same = |(a, b): (&KeptMigration, &KeptMigration)| {
            a.version == b.version && a.checksum == b.checksum
        };
        Ok(kept.len() == wanted.len() && kept.iter().zip(wanted).all(same))
    }

    async fn try_on_an_empty_space(&self, wanted: &[KeptMigration]) -> Result<(), StoreError> {
        let id = self.new_id();
        let dir = match self.place() {
            Place::Files(dir) => dir,
            Place::Postgres(clusters) => return clusters.try_out(wanted, id, self.now()).await,
        };
        let file = dir.join(format!("trial-{}.db", id.hyphenated()));
        let tried = space_file::create(&file, id, wanted, self.now()).await;
        space_file::remove(&file)?;
        tried
    }

    /// A migration may be changed or taken back only as long as no account has it.
    async fn require_applied_nowhere(
        &self,
        migration: &KeptMigration,
        changed: bool,
    ) -> Result<(), StoreError> {
        let owners = OwnerConnections::default();
        for target in self.targets().await? {
            let applied = self.applied_to(&target, &owners).await?;
            let same = |(version, _): &(i64, _)| *version == migration.version;
            if applied.iter().any(same) {
                return Err(StoreError::Refused(drifted(migration, changed)));
            }
        }
        owners.close().await;
        Ok(())
    }

    async fn migrate_target(
        &self,
        target: &Target,
        owners: &OwnerConnections,
        work: &Work<'_>,
    ) -> Result<bool, StoreError> {
        match (self.place(), target) {
            (Place::Postgres(clusters), Target::Shared(cluster)) => {
                clusters.migrate(cluster, Unit::Shared, owners, work).await
            }
            (Place::Postgres(clusters), Target::Account(account)) => {
                let cluster = clusters.cluster_of(self.directory(), *account).await?;
                let unit = Unit::Account(*account);
                clusters.migrate(&cluster, unit, owners, work).await
            }
            (Place::Files(_), Target::Account(account)) => {
                self.migrate_file(*account, work.kept).await
            }
            // Files are never shared.
            (Place::Files(_), Target::Shared(_)) => Ok(false),
        }
    }

    /// Applies what the account lacks, all of it or nothing; whether there was anything.
    async fn migrate_file(
        &self,
        account: Uuid,
        kept: &[KeptMigration],
    ) -> Result<bool, StoreError> {
        let mut lease = self.begin(account).await?;
        let applied = applied(lease.connection()?).await?;
        let missing = missing(kept, &applied)?;
        if missing.is_empty() {
            lease.rollback().await;
            return Ok(false);
        }
        for migration in missing {
            apply_and_record(lease.connection()?, migration, self.now()).await?;
        }
        lease.commit().await?;
        // Statements that were prepared before stay right: SQLite prepares them anew.
        Ok(true)
    }

    async fn is_gone(&self, account: Uuid) -> bool {
        matches!(self.directory().account(account).await, Ok(None))
    }
}

/// The migrations of the application, checked, in order.
fn wanted(migrator: &Migrator) -> Result<Vec<KeptMigration>, StoreError> {
    let mut wanted = Vec::new();
    for migration in migrator.iter() {
        if migration.migration_type.is_down_migration() {
            continue;
        }
        let name = format!(
            "migration {} ({})",
            migration.version, migration.description
        );
        if migration.no_tx {
            return Err(StoreError::Refused(format!(
                "{name} asks for no transaction: all migrations of an account run in one"
            )));
        }
        check_migration(migration.sql.as_str())
            .map_err(|why| StoreError::Refused(format!("{name} {why}")))?;
        wanted.push(KeptMigration {
            version: migration.version,
            description: migration.description.to_string(),
            checksum: migration.checksum.to_vec(),
            sql: migration.sql.as_str().to_owned(),
        });
    }
    wanted.sort_by_key(|migration| migration.version);
    for pair in wanted.windows(2) {
        if let [first, second] = pair
            && first.version == second.version
        {
            return Err(StoreError::Refused(format!(
                "there are two migrations {}",
                first.version
            )));
        }
    }
    Ok(wanted)
}

/// Version and checksum of what an account has.
pub(super) async fn applied(
    on: crate::store::Connection<'_>,
) -> Result<Vec<(i64, Vec<u8>)>, SessionError> {
    let query = Query::new("SELECT version, checksum FROM vestibule_migrations ORDER BY version");
    Ok(query.fetch_all(on).await?)
}

/// The migrations that an account lacks. One that it has in another form is an error.
pub(super) fn missing<'k>(
    kept: &'k [KeptMigration],
    applied: &[(i64, Vec<u8>)],
) -> Result<Vec<&'k KeptMigration>, StoreError> {
    let mut missing = Vec::new();
    for migration in kept {
        match applied
            .iter()
            .find(|(version, _)| *version == migration.version)
        {
            None => missing.push(migration),
            Some((_, checksum)) if *checksum == migration.checksum => {}
            Some(_) => return Err(StoreError::Refused(drifted(migration, true))),
        }
    }
    for (version, _) in applied {
        if !kept.iter().any(|kept| kept.version == *version) {
            return Err(StoreError::Refused(format!(
                "migration {version} was applied but is not known here: the file comes from \
                 another or a newer installation"
            )));
        }
    }
    Ok(missing)
}

fn drifted(migration: &KeptMigration, changed: bool) -> String {
    let KeptMigration {
        version,
        description,
        ..
    } = migration;
    if changed {
        format!(
            "migration {version} ({description}) was changed after it was applied: restore its \
             text, and write what is to change as a new migration"
        )
    } else {
        format!(
            "migration {version} ({description}) was applied but is missing now: restore its file"
        )
    }
}

fn named(what: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(text) => StoreError::Refused(format!("{what}: {text}")),
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{what}: {text}")),
        other => other,
    }
}
