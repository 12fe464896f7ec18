//! The application's migrations: written as if there were one account, applied to all.
//!
//! They are kept in the directory, so that whoever creates an account applies them all. What was
//! kept is not changed: an account may have been made with it.

use sqlx::migrate::Migrator;
use uuid::Uuid;

use super::{
    SessionError, TenantSpaces,
    space_file::{self, apply, record},
    statement::check_migration,
};
use crate::store::{KeptMigration, Page, Query, StoreError};

/// What [`TenantSpaces::migrate_tenants`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Accounts that were looked at: all of them.
    pub accounts: usize,
    /// Accounts that were behind.
    pub changed: usize,
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
        self.bring_up_to_date(|_, _| {}).await
    }

    /// Applies the migrations that are kept to every account that is behind. `progress` hears how
    /// many accounts are done, and of which.
    ///
    /// # Errors
    /// As [`TenantSpaces::migrate_tenants`].
    pub async fn bring_up_to_date(
        &self,
        mut progress: impl FnMut(usize, Uuid),
    ) -> Result<Migrated, StoreError> {
        let kept = self.directory().kept_migrations().await?;
        let mut done = Migrated::default();
        let mut page = Page {
            limit: 200,
            cursor: None,
        };
        loop {
            let accounts = self.directory().accounts(&page).await?;
            for account in accounts.items {
                let changed = match self.migrate_account(account.id, &kept).await {
                    Ok(changed) => changed,
                    Err(_) if self.is_gone(account.id).await => continue,
                    Err(error) => return Err(named(account.id, error)),
                };
                done.accounts += 1;
                done.changed += usize::from(changed);
                progress(done.accounts, account.id);
            }
            match accounts.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return Ok(done),
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
        let kept = self.directory().kept_migrations().await?;
        let mut lease = self.begin(account).await?;
        let applied = applied(lease.connection()?).await?;
        lease.rollback().await;
        Ok(missing(&kept, &applied)?.len())
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
        let file = self.dir().join(format!("trial-{}.db", id.hyphenated()));
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
        let mut page = Page {
            limit: 200,
            cursor: None,
        };
        loop {
            let accounts = self.directory().accounts(&page).await?;
            for account in accounts.items {
                let mut lease = self.begin(account.id).await?;
                let applied = applied(lease.connection()?).await?;
                lease.rollback().await;
                if applied
                    .iter()
                    .any(|(version, _)| *version == migration.version)
                {
                    return Err(StoreError::Refused(drifted(migration, changed)));
                }
            }
            match accounts.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    /// Applies what the account lacks, all of it or nothing; whether there was anything.
    async fn migrate_account(
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
            apply(lease.connection()?, migration).await?;
            record(lease.connection()?, migration, self.now()).await?;
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
async fn applied(on: crate::store::Connection<'_>) -> Result<Vec<(i64, Vec<u8>)>, SessionError> {
    let query = Query::new("SELECT version, checksum FROM vestibule_migrations ORDER BY version");
    Ok(query.fetch_all(on).await?)
}

/// The migrations that an account lacks. One that it has in another form is an error.
fn missing<'k>(
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

fn named(account: Uuid, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(text) => StoreError::Refused(format!("account {account}: {text}")),
        StoreError::Unavailable(text) => {
            StoreError::Unavailable(format!("account {account}: {text}"))
        }
        other => other,
    }
}
