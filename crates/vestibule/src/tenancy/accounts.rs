//! Accounts with their data spaces: the one place that makes and removes both together.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use uuid::Uuid;

use super::{
    TenantSpaces,
    places::Place,
    postgres::{Cluster, Clusters, hold_migrations, use_directory},
    space_file,
};
use crate::{
    clock::Timestamp,
    store::{Account, Connection, KeptMigration, Status, StoreError, Writing, postgres::close},
};

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
        self.create_account_on(None, name, tenant_id).await
    }

    /// The same on a named cluster of PostgreSQL; none: the main one.
    ///
    /// # Errors
    /// As [`TenantSpaces::create_account`]; [`StoreError::Refused`] where there is no such cluster.
    pub async fn create_account_on(
        &self,
        cluster: Option<&str>,
        name: &str,
        tenant_id: &str,
    ) -> Result<Account, StoreError> {
        self.create_account_as(Status::Active, cluster, name, tenant_id)
            .await
    }

    /// The same with a status: a suspended account lets nobody in from the beginning.
    ///
    /// # Errors
    /// As [`TenantSpaces::create_account_on`].
    pub async fn create_account_as(
        &self,
        status: Status,
        cluster: Option<&str>,
        name: &str,
        tenant_id: &str,
    ) -> Result<Account, StoreError> {
        let cluster = self.cluster_named(cluster)?;
        let made = Arc::new(OnceLock::new());
        let (spaces, name, tenant_id, id, on) = (
            self.clone(),
            name.to_owned(),
            tenant_id.to_owned(),
            Arc::clone(&made),
            cluster.clone(),
        );
        let created = self
            .directory()
            .write_within(CREATION_LIMIT, move |writing| {
                Box::pin(async move {
                    let account = writing.insert_account(&name, &tenant_id, status).await?;
                    if let Connection::Postgres(connection) = writing.connection()? {
                        hold_migrations(connection.into_inner()).await?;
                    }
                    // The list cannot grow meanwhile: whoever adds to it needs the same lock.
                    let migrations = writing.kept_migrations().await?;
                    let _ = id.set(account.id);
                    spaces
                        .make_space(writing, on.as_deref(), account.id, &migrations)
                        .await?;
                    Ok(account)
                })
            })
            .await;
        // Only where it is certain that the account's row is not there may its space go.
        if created.is_err()
            && let Some(id) = made.get()
            && matches!(self.directory().account(*id).await, Ok(None))
        {
            self.remove_space_apart(cluster.as_deref(), *id).await?;
        }
        created
    }

    /// Removes an account: its users, its service clients, its data.
    ///
    /// What a move that was broken off left elsewhere goes first, then the registrations; a crash
    /// after that leaves a space that belongs to nobody.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Refused`] where the account is being moved; others
    /// where the database or the file system fails.
    pub async fn delete_account(&self, id: Uuid) -> Result<(), StoreError> {
        let Place::Postgres(clusters) = self.place() else {
            return self.delete_from(id, None).await;
        };
        let held = clusters.hold_account(id).await?;
        clusters.forget(id);
        let cluster = clusters.cluster_of(self.directory(), id).await?;
        clusters
            .remove_elsewhere(self.directory(), id, &cluster)
            .await?;
        self.delete_from(id, Some(Arc::clone(&cluster))).await?;
        clusters.lift_fences_elsewhere(id, &cluster).await;
        close(held).await;
        Ok(())
    }

    async fn delete_from(&self, id: Uuid, cluster: Option<Arc<Cluster>>) -> Result<(), StoreError> {
        let (spaces, on) = (self.clone(), cluster.clone());
        self.directory()
            .write_within(CREATION_LIMIT, move |writing| {
                Box::pin(async move {
                    writing.delete_account(id).await?;
                    if let (Place::Postgres(clusters), Some(cluster)) = (spaces.place(), on)
                        && clusters.lies_with_directory(&cluster)
                        && let Connection::Postgres(connection) = writing.connection()?
                    {
                        let connection = connection.into_inner();
                        clusters.remove(connection, id).await?;
                        use_directory(connection).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        for space in self.take_idle_of(id) {
            space.close().await;
        }
        self.remove_space_apart(cluster.as_deref(), id).await
    }

    fn cluster_named(&self, name: Option<&str>) -> Result<Option<Arc<Cluster>>, StoreError> {
        match (self.place(), name) {
            (Place::Files(_), None) => Ok(None),
            (Place::Files(_), Some(_)) => Err(StoreError::Refused(
                "there are clusters on PostgreSQL only".to_owned(),
            )),
            (Place::Postgres(clusters), name) => Ok(Some(Arc::clone(clusters.cluster(name)?))),
        }
    }

    async fn make_space(
        &self,
        writing: &mut Writing,
        cluster: Option<&Cluster>,
        account: Uuid,
        migrations: &[KeptMigration],
    ) -> Result<(), StoreError> {
        let now = writing.now();
        match (self.place(), cluster) {
            (Place::Postgres(clusters), Some(cluster)) => {
                if cluster.name.is_some() {
                    writing.place(account, cluster.name.as_deref()).await?;
                }
                make_on_postgres(clusters, writing, cluster, account, migrations, now).await
            }
            (place, _) => {
                space_file::create(&place.file_of(account), account, migrations, now).await
            }
        }
    }

    /// Removes a space that does not go with the directory's transaction.
    async fn remove_space_apart(
        &self,
        cluster: Option<&Cluster>,
        account: Uuid,
    ) -> Result<(), StoreError> {
        match (self.place(), cluster) {
            (Place::Postgres(clusters), Some(cluster)) => {
                if clusters.lies_with_directory(cluster) {
                    return Ok(());
                }
                clusters.remove_apart(cluster, account).await
            }
            (place, _) => space_file::remove(&place.file_of(account)),
        }
    }
}

async fn make_on_postgres(
    clusters: &Clusters,
    writing: &mut Writing,
    cluster: &Cluster,
    account: Uuid,
    migrations: &[KeptMigration],
    now: Timestamp,
) -> Result<(), StoreError> {
    if !clusters.lies_with_directory(cluster) {
        return clusters.make_apart(cluster, account, migrations, now).await;
    }
    if let Connection::Postgres(connection) = writing.connection()? {
        let connection = connection.into_inner();
        clusters
            .make(connection, cluster, account, migrations, now)
            .await?;
        use_directory(connection).await?;
    }
    Ok(())
}
