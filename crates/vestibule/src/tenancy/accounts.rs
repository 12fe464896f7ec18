//! Accounts with their data spaces: the one place that makes and removes both together.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use uuid::Uuid;

use super::{TenantSpaces, space_file};
use crate::store::{Account, StoreError};

/// All migrations of an application run when an account is created.
const CREATION_LIMIT: Duration = Duration::from_secs(60);

impl TenantSpaces {
    /// Creates an account for a tenant, with its data space and all of the application's tables.
    ///
    /// Either all of it is there afterwards, or nothing that anybody can see: the account's row
    /// is committed last. A crash in between leaves a file that belongs to nobody.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]; [`StoreError::AlreadyExists`] where the tenant has an account;
    /// [`StoreError::Refused`] where a migration fails; others where the database fails.
    pub async fn create_account(&self, name: &str, tenant_id: &str) -> Result<Account, StoreError> {
        let made = Arc::new(OnceLock::new());
        let (spaces, name, tenant_id, id) = (
            self.clone(),
            name.to_owned(),
            tenant_id.to_owned(),
            Arc::clone(&made),
        );
        let created = self
            .directory()
            .write_within(CREATION_LIMIT, move |writing| {
                Box::pin(async move {
                    let account = writing.insert_account(&name, &tenant_id).await?;
                    // The list cannot grow meanwhile: whoever adds to it needs the same lock.
                    let migrations = writing.kept_migrations().await?;
                    let file = spaces.file_of(account.id);
                    space_file::create(&file, account.id, &migrations, writing.now()).await?;
                    let _ = id.set(account.id);
                    Ok(account)
                })
            })
            .await;
        // Only where it is certain that the account's row is not there may its file go.
        if created.is_err()
            && let Some(id) = made.get()
            && matches!(self.directory().account(*id).await, Ok(None))
        {
            space_file::remove(&self.file_of(*id))?;
        }
        created
    }

    /// Removes an account: its users, its service clients, its data.
    ///
    /// The registrations go first; a crash in between leaves a file that belongs to nobody.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; others where the database or the file system fails.
    pub async fn delete_account(&self, id: Uuid) -> Result<(), StoreError> {
        self.directory()
            .write(move |writing| Box::pin(writing.delete_account(id)))
            .await?;
        if let Some(file) = self.take_idle(id) {
            file.close().await;
        }
        space_file::remove(&self.file_of(id))
    }
}
