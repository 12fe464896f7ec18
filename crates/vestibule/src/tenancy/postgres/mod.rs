//! Accounts' data on PostgreSQL.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `mod.rs` | on which cluster an account lies |
//! | `space.rs` | how a transaction is bound to its account, and what is cleared afterwards |
//! | `making.rs` | how an account's space comes into being, and goes |
//! | `migrating.rs` | how the application's migrations reach all spaces |
//! | `moving/` | how an account's data go to another cluster |
//! | `owners.rs` | which connections a run over many spaces uses again |
//! | `audit.rs` | what is not as it should be |
//! | `activity.sql` | how entries of activity go, which the application's login may only add |
//! | `tables.sql` | what makes an application's plain tables safe |

mod audit;
mod exporting;
mod making;
mod migrating;
mod moving;
mod owners;
mod space;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub(super) use self::migrating::{Unit, Work, hold_migrations, use_directory};
#[cfg(test)]
pub(super) use self::moving::{Done, Stop};
pub use self::moving::{MoveProgress, Moved, MovedTable};
pub(super) use self::owners::OwnerConnections;
pub(super) use self::space::{OWN, PostgresSpace, ROWS, database_of, space_of};
use super::{SessionError, retention::Retention};
use crate::{
    settings::{DatabaseSettings, PostgresLogins, PostgresSettings, PostgresUrl, Tenancy},
    store::{
        Directory, StoreError,
        postgres::{Server, close},
    },
};

/// More placements than this are forgotten, and looked up again.
const PLACEMENTS: usize = 100_000;

/// The clusters on which accounts lie.
#[derive(Debug)]
pub(super) struct Clusters {
    pub(super) tenancy: Tenancy,
    pub(super) settings: PostgresSettings,
    pub(super) timeout: Duration,
    /// `DATABASE_POOL_SIZE`.
    pub(super) connections: u32,
    pub(super) retention: Retention,
    main: Arc<Cluster>,
    others: BTreeMap<String, Arc<Cluster>>,
    /// Where accounts were found to lie; none: in the main cluster.
    placements: Mutex<HashMap<Uuid, Option<String>>>,
}

/// A cluster, met when it is first needed: one that is down holds up nobody but its accounts.
#[derive(Debug)]
pub(super) struct Cluster {
    /// None: the main one.
    pub(super) name: Option<String>,
    pub(super) logins: PostgresLogins,
    url: PostgresUrl,
    server: OnceCell<Arc<Server>>,
}

impl Clusters {
    /// The clusters of `directory`, reached with the same login as it.
    pub(super) fn new(
        settings: &DatabaseSettings,
        servers: &PostgresSettings,
        directory: &Directory,
    ) -> Self {
        let as_owner = directory.is_owner();
        let cluster = |name: Option<&String>, logins: &PostgresLogins| {
            let url = if as_owner {
                logins.owner()
            } else {
                &logins.application
            };
            Arc::new(Cluster {
                name: name.cloned(),
                logins: logins.clone(),
                url: url.clone(),
                server: OnceCell::new(),
            })
        };
        let main = cluster(None, &servers.main);
        if let Some(server) = directory.server() {
            // Its clock is looked at together with the directory's changes. An error would mean
            // that there is one already.
            drop(main.server.set(server));
        }
        Self {
            tenancy: settings.tenancy,
            timeout: settings.timeout,
            connections: settings.pool_size,
            retention: Retention::of(settings),
            main,
            others: servers
                .clusters
                .iter()
                .map(|(name, logins)| (name.clone(), cluster(Some(name), logins)))
                .collect(),
            settings: servers.clone(),
            placements: Mutex::default(),
        }
    }

    /// All clusters, the main one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        std::iter::once(&self.main).chain(self.others.values())
    }

    pub(super) fn main(&self) -> &Arc<Cluster> {
        &self.main
    }

    /// The cluster of this name; none: the main one.
    pub(super) fn cluster(&self, name: Option<&str>) -> Result<&Arc<Cluster>, StoreError> {
        match name {
            None => Ok(&self.main),
            Some(name) => self.others.get(name).ok_or_else(|| {
                StoreError::Refused(format!(
                    "there is no cluster {name}: VESTIBULE_CLUSTERS does not name it"
                ))
            }),
        }
    }

    /// The cluster on which the account lies.
    pub(super) async fn cluster_of(
        &self,
        directory: &Directory,
        account: Uuid,
    ) -> Result<Arc<Cluster>, SessionError> {
        if self.others.is_empty() {
            return Ok(Arc::clone(&self.main));
        }
        let known = self.placements().get(&account).cloned();
        let name = match known {
            Some(name) => name,
            None => {
                let name = directory.placement(account).await?;
                let mut placements = self.placements();
                if placements.len() >= PLACEMENTS {
                    placements.clear();
                }
                placements.insert(account, name.clone());
                name
            }
        };
        Ok(Arc::clone(self.cluster(name.as_deref())?))
    }

    /// Forgets where the account lies: it changed, and may have moved.
    pub(super) fn forget(&self, account: Uuid) {
        self.placements().remove(&account);
    }

    /// Forgets where all accounts lie.
    pub(super) fn forget_all(&self) {
        self.placements().clear();
    }

    fn placements(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Option<String>>> {
        self.placements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the account's space on this cluster.
    pub(super) async fn open(
        &self,
        cluster: &Cluster,
        account: Uuid,
    ) -> Result<PostgresSpace, SessionError> {
        let server = self.server(cluster).await?;
        let own = (self.tenancy == Tenancy::Database).then_some(account);
        PostgresSpace::open(&server, self.tenancy, own).await
    }

    /// Ends a process of the cluster that works for our login.
    pub(super) async fn end_backend(
        &self,
        cluster: &Cluster,
        process: i32,
    ) -> Result<(), StoreError> {
        let server = self.server(cluster).await;
        let server = server.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut connection = server.options().connect().await?;
        let end = format!("SELECT pg_catalog.pg_terminate_backend({process})");
        sqlx::raw_sql(AssertSqlSafe(end))
            .execute(&mut connection)
            .await?;
        close(connection).await;
        Ok(())
    }

    /// The cluster's server, once it has been met.
    pub(super) async fn server(&self, cluster: &Cluster) -> Result<Arc<Server>, SessionError> {
        let met = cluster.server.get_or_try_init(|| async {
            let server = Server::meet(&cluster.url, &self.settings.binding_keys, self.timeout);
            server.await.map(Arc::new)
        });
        met.await
            .cloned()
            .map_err(|error| SessionError::Unavailable(format!("{}: {error}", cluster.url)))
    }
}

impl Cluster {
    /// Whether it is the one with the directory.
    pub(super) fn is_main(&self) -> bool {
        self.name.is_none()
    }

    /// As people call it.
    pub(super) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or("main")
    }
}
