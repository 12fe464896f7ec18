//! How the directory is opened, and by whom.
//!
//! On SQLite everybody makes and completes it. On PostgreSQL only [`Directory::migrate`] does, with
//! the owner's login; [`Directory::open`] has the application's, which owns nothing.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, SqliteConnection,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    Directory, Kind, Operation, Query,
    pool::{IDLE_LIMIT, Login, Pool, PostgresDirectory, SqliteDirectory, is_alive},
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::{DatabaseLocation, DatabaseSettings, PostgresSettings, SqliteSettings},
    store::{
        StoreError,
        postgres::{self, Installation, Server},
        schema, sqlite,
    },
};

pub(super) const OPERATIONS: &[&Operation] = &[&ABOUT];

static ABOUT: Operation = Operation {
    name: "about",
    takes: &[],
    gives: &[("step", Kind::BigInt), ("tenancy", Kind::Text)],
    sql: "SELECT COALESCE((SELECT MAX(step) FROM vestibule_directory), 0),
                 COALESCE((SELECT value FROM settings WHERE name = 'tenancy'), '')",
};

impl Directory {
    /// Opens the directory as a server does.
    ///
    /// On SQLite, creates the file where it is missing, and brings its tables up to date, safely
    /// beside other processes that do the same. On PostgreSQL it must be there and current.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the database cannot be reached;
    /// [`StoreError::Refused`] where it belongs to something else, to a newer version, or where
    /// `vestibule migrate` must be run first.
    pub async fn open(settings: &DatabaseSettings, clock: SharedClock) -> Result<Self, StoreError> {
        match &settings.location {
            DatabaseLocation::Sqlite(files) => open_sqlite(files, settings, clock).await,
            DatabaseLocation::Postgres(servers) => {
                open_postgres(servers, settings, Login::Application, clock).await
            }
        }
    }

    /// Opens the directory to change what only its owner may change: accounts, roles, service
    /// clients. On SQLite the same as [`Directory::open`].
    ///
    /// # Errors
    /// As [`Directory::open`]; [`StoreError::Refused`] also where the login is not the owner's.
    pub async fn open_as_owner(
        settings: &DatabaseSettings,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        match &settings.location {
            DatabaseLocation::Sqlite(files) => open_sqlite(files, settings, clock).await,
            DatabaseLocation::Postgres(servers) => {
                open_postgres(servers, settings, Login::Owner, clock).await
            }
        }
    }

    /// Makes the directory where it is missing, brings it up to date, and gives the login of
    /// `DATABASE_URL` exactly the rights that it needs. Then opens it as its owner.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the database cannot be reached;
    /// [`StoreError::Refused`] where it belongs to something else, to a newer version, or where a
    /// login is missing or may not do this.
    pub async fn migrate(
        settings: &DatabaseSettings,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        if let DatabaseLocation::Postgres(servers) = &settings.location {
            migrate_postgres(servers, settings, clock.now()).await?;
        }
        Self::open_as_owner(settings, clock).await
    }
}

#[cfg(test)]
impl Directory {
    /// As the owner, with the statements of the application's login.
    pub(crate) async fn open_through_functions(
        settings: &DatabaseSettings,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let servers = settings.postgres().unwrap();
        open_postgres(servers, settings, Login::OwnerThroughFunctions, clock).await
    }
}

async fn open_sqlite(
    files: &SqliteSettings,
    settings: &DatabaseSettings,
    clock: SharedClock,
) -> Result<Directory, StoreError> {
    let file = sqlite::absolute(&files.file)?;
    let options = sqlite::options(&file, settings.timeout);
    let first = prepared(&file, &options, settings.timeout, clock.now())
        .await
        .map_err(|error| error.about(&file))?;
    let pool = SqlitePoolOptions::new()
        .max_connections(settings.pool_size.max(1))
        .acquire_timeout(settings.timeout)
        .idle_timeout(IDLE_LIMIT)
        // A file does not drop its connections.
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    // Only now: the last connection that closes a file takes its write-ahead log away, and
    // whoever comes at that moment finds the file locked.
    first.close().await?;
    let pool = Pool::Sqlite(SqliteDirectory {
        pool,
        file,
        writers: AsyncMutex::new(()),
    });
    Ok(Directory::new(pool, settings, clock))
}

/// The first connection to the file, which is there, ours, and up to date.
async fn prepared(
    file: &Path,
    options: &SqliteConnectOptions,
    limit: Duration,
    now: Timestamp,
) -> Result<SqliteConnection, StoreError> {
    sqlite::ensure_private(file)?;
    let mut first = sqlite::connect(options, limit).await?;
    schema::require_ours(&mut first).await?;
    sqlite::use_wal(&mut first, limit).await?;
    schema::bring_up_to_date(&mut first, now).await?;
    Ok(first)
}

async fn open_postgres(
    servers: &PostgresSettings,
    settings: &DatabaseSettings,
    login: Login,
    clock: SharedClock,
) -> Result<Directory, StoreError> {
    let url = match login {
        Login::Application => &servers.main.application,
        _ => servers.main.owner(),
    };
    let server = Server::meet(url, &servers.binding_keys, settings.timeout)
        .await
        .map_err(|error| unreachable(url, error))?;
    let pool = PgPoolOptions::new()
        .max_connections(settings.directory_connections())
        .acquire_timeout(settings.timeout)
        .idle_timeout(IDLE_LIMIT)
        .test_before_acquire(false)
        .before_acquire(|connection, about| Box::pin(is_alive(connection, about.idle_for)))
        .connect_lazy_with(server.options());
    let pool = Pool::Postgres(PostgresDirectory {
        pool,
        server: Arc::new(server),
        login,
    });
    let directory = Directory::new(pool, settings, clock);
    if login != Login::Application {
        directory.require_owner(url.login()).await?;
    }
    directory.require_current(settings).await?;
    Ok(directory)
}

async fn migrate_postgres(
    servers: &PostgresSettings,
    settings: &DatabaseSettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    let url = servers.main.owner();
    let operations: Vec<_> = super::OPERATIONS
        .iter()
        .copied()
        .flatten()
        .copied()
        .collect();
    let installation = Installation {
        tenancy: settings.tenancy,
        keys: &servers.binding_keys,
        login: servers.main.application.login(),
        operations: &operations,
        now,
    };
    let mut connection = postgres::connect(url, settings.timeout)
        .await
        .map_err(|error| unreachable(url, error))?;
    // Dropped on an error, which closes the connection and rolls back.
    sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
    postgres::install(&mut connection, &installation)
        .await
        .map_err(|error| not_permitted(url.login(), error))?;
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    postgres::close(connection).await;
    Ok(())
}

impl Directory {
    /// Ends a process of the server that works for this login: whatever it does is rolled back.
    pub(crate) async fn end_backend(&self, process: i32) -> Result<(), StoreError> {
        let query = Query::new("SELECT pg_catalog.pg_terminate_backend($1)").bind(process);
        self.fetch_optional::<(bool,)>(query).await.map(drop)
    }

    /// The server of the directory, where it is PostgreSQL.
    pub(crate) fn server(&self) -> Option<Arc<Server>> {
        match &self.inner.pool {
            Pool::Sqlite(_) => None,
            Pool::Postgres(directory) => Some(Arc::clone(&directory.server)),
        }
    }

    /// Whether it was opened to change what only its owner may change. On SQLite everybody may.
    pub(crate) fn is_owner(&self) -> bool {
        match &self.inner.pool {
            Pool::Sqlite(_) => true,
            Pool::Postgres(directory) => directory.login != Login::Application,
        }
    }

    async fn require_owner(&self, login: &str) -> Result<(), StoreError> {
        let query = Query::new(
            "SELECT COUNT(*) FILTER (WHERE pg_has_role(current_user, nspowner, 'USAGE')), COUNT(*)
             FROM pg_namespace WHERE nspname = 'vestibule'",
        );
        match self.fetch_optional::<(i64, i64)>(query).await? {
            Some((1, _)) => Ok(()),
            Some((_, 0)) | None => Err(postgres::behind()),
            Some(_) => Err(StoreError::Refused(format!(
                "the login {login} does not own the directory: let DATABASE_ADMIN_URL name the \
                 owner's login"
            ))),
        }
    }

    async fn require_current(&self, settings: &DatabaseSettings) -> Result<(), StoreError> {
        let about = self
            .fetch_optional::<(i64, String)>(Query::of(&ABOUT))
            .await;
        let (step, tenancy) = about
            .map_err(|error| {
                match sqlstate(&error).as_deref() {
            // No such schema, function or table, or no right to see it.
            Some("3F000" | "42883" | "42P01" | "42501") => postgres::behind(),
            Some(postgres::NO_PROOF) => StoreError::Refused(
                "the database does not accept VESTIBULE_BINDING_KEY: set the key that `vestibule \
                 migrate` was run with, or run it with this one"
                    .to_owned(),
            ),
            _ => error,
        }
            })?
            .unwrap_or_default();
        postgres::require_current(step, &tenancy, settings.tenancy)
    }
}

fn sqlstate(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Database(error) => {
            let code = error.as_database_error()?.code()?;
            Some(code.into_owned())
        }
        _ => None,
    }
}

/// Names the server. A login that is refused, or a database that is not there, does not pass by
/// itself.
fn unreachable(url: &crate::settings::PostgresUrl, error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{url}: {text}")),
        StoreError::Database(error) => StoreError::Refused(format!("{url}: {error}")),
        other => other,
    }
}

fn not_permitted(login: &str, error: StoreError) -> StoreError {
    match sqlstate(&error).as_deref() {
        Some("42501") => StoreError::Refused(format!(
            "the login {login} may not do this ({error}): let DATABASE_ADMIN_URL name a login that \
             owns the database"
        )),
        _ => error,
    }
}
