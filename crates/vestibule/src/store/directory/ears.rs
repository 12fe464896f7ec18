//! How a process hears that there are new changes: over a connection of its own.
//!
//! On SQLite it looks five times a second at `PRAGMA data_version`, which costs no I/O and
//! compares two looks of the same connection. On PostgreSQL it listens, which takes a few
//! milliseconds, and looks three times a second all the same: a connection that was lost without a word,
//! or a pooler that lets nobody listen, makes changes no later than that. Where a look over a
//! connection that has served takes unusually long, the connection is given up and another one
//! opened at once, so that a line that fell silent does not cost the second that is promised.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sqlx::{
    Acquire as _, Connection as _, SqliteConnection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Query,
    pool::{Login, Pool},
    watch::PATIENCE,
};
use crate::store::{Connection, StoreError, postgres::Server, sqlite};

/// A change is heard well within the second that is promised, also when a look comes late.
const LOOK_AT_FILE: Duration = Duration::from_millis(200);
const LOOK_AT_SERVER: Duration = Duration::from_millis(300);
/// After this long the server is asked again for its clock and what it shows.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);
/// Whoever speaks to himself and hears nothing within this time cannot hear others either.
const ECHO: Duration = Duration::from_millis(500);

const CHANNEL: &str = "vestibule_changes";

/// The connection that listens.
pub(super) enum Ears {
    Sqlite(FileEars),
    Postgres(ServerEars),
}

/// That something may be new, as of one look.
pub(super) struct News(Option<i64>);

pub(super) struct FileEars {
    file: PathBuf,
    connection: Option<SqliteConnection>,
    /// `data_version` at the last look over this connection.
    version: Option<i64>,
}

pub(super) struct ServerEars {
    server: Arc<Server>,
    login: Login,
    listener: Option<PgListener>,
    hears: bool,
    clock_seen: Option<Instant>,
}

impl Ears {
    pub(super) fn new(pool: &Pool) -> Self {
        match pool {
            Pool::Sqlite(directory) => Self::Sqlite(FileEars {
                file: directory.file.clone(),
                connection: None,
                version: None,
            }),
            Pool::Postgres(directory) => Self::Postgres(ServerEars {
                server: Arc::clone(&directory.server),
                login: directory.login,
                listener: None,
                hears: false,
                clock_seen: None,
            }),
        }
    }

    /// Waits until it is time for the next look.
    pub(super) async fn next_look(&mut self) {
        match self {
            Self::Sqlite(_) => sleep(LOOK_AT_FILE).await,
            Self::Postgres(ears) => match &mut ears.listener {
                Some(listener) if ears.hears => {
                    // Heard, lost, or silent: in each case it is time to look.
                    if let Ok(Err(_) | Ok(None)) =
                        timeout(LOOK_AT_SERVER, listener.try_recv()).await
                    {
                        ears.listener = None;
                    }
                }
                _ => sleep(LOOK_AT_SERVER).await,
            },
        }
    }

    /// Whether there may be something new to read.
    pub(super) async fn news(&mut self) -> Result<Option<News>, StoreError> {
        match self {
            Self::Sqlite(ears) => ears.news().await,
            Self::Postgres(ears) => {
                ears.listen().await?;
                Ok(Some(News(None)))
            }
        }
    }

    /// The news were read: until others come, there is nothing new.
    pub(super) async fn has_read(&mut self, news: News) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(ears) => ears.version = news.0,
            Self::Postgres(ears) if ears.server.is_direct() => {}
            Self::Postgres(ears) => {
                if let Some(listener) = &mut ears.listener {
                    sqlx::raw_sql("COMMIT")
                        .execute(listener.acquire().await?)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// The connection, after [`Ears::news`].
    pub(super) async fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        let lost = || StoreError::Unavailable("the connection is lost".to_owned());
        match self {
            Self::Sqlite(ears) => {
                let connection = ears.connection.as_mut().ok_or_else(lost)?;
                Ok(Connection::Sqlite(connection))
            }
            Self::Postgres(ears) => {
                let connection = ears.listener.as_mut().ok_or_else(lost)?.acquire().await?;
                Ok(match ears.login {
                    Login::Owner => ears.server.plain(connection),
                    _ => ears.server.calling(connection),
                })
            }
        }
    }

    /// Whether the next look goes over a connection to a server that has served before: what
    /// became of it is not known, while a file does not lose its connections.
    pub(super) fn trusts(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(ears) => ears.listener.is_some(),
        }
    }

    /// Lets go of a connection that failed.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Sqlite(ears) => ears.connection = None,
            Self::Postgres(ears) => ears.listener = None,
        }
    }

    /// Nobody is left to be told of a connection that was gone already.
    pub(super) async fn close(&mut self) {
        match self {
            Self::Sqlite(ears) => {
                if let Some(connection) = ears.connection.take() {
                    drop(connection.close().await);
                }
            }
            Self::Postgres(ears) => {
                ears.listener = None;
            }
        }
    }
}

impl FileEars {
    async fn news(&mut self) -> Result<Option<News>, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                self.version = None;
                let options = sqlite::options(&self.file, PATIENCE);
                none.insert(sqlite::connect(&options, PATIENCE).await?)
            }
        };
        let (version,): (i64,) = Query::new("PRAGMA data_version")
            .fetch_optional(Connection::Sqlite(connection))
            .await?
            .unwrap_or_default();
        Ok((self.version != Some(version)).then_some(News(Some(version))))
    }
}

impl ServerEars {
    async fn listen(&mut self) -> Result<(), StoreError> {
        if self.listener.is_none() {
            // A pool of its own for each: the connection of one that was lost may linger.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(PATIENCE)
                .connect_lazy_with(self.server.options());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.ignore_pool_close_event(true);
            if self.login == Login::Owner {
                // The connection is nobody else's.
                let path = "SET search_path TO vestibule, pg_temp";
                sqlx::query(path).execute(&mut listener).await?;
            }
            listener.eager_reconnect(false);
            self.hears = self.server.is_direct() && hears(&mut listener).await?;
            if self.server.is_direct() && !self.hears {
                tracing::warn!("notifications do not arrive: changes are looked for instead");
            }
            self.listener = Some(listener);
            self.clock_seen = None;
        }
        let old = |seen: Instant| seen.elapsed() >= LOOK_AT_CLOCK;
        if self.clock_seen.is_none_or(old)
            && let Some(listener) = &mut self.listener
        {
            self.server.look(listener.acquire().await?).await?;
            self.clock_seen = Some(Instant::now());
        }
        // Through a pooler only a transaction stays on one connection of the server.
        if !self.server.is_direct()
            && let Some(listener) = &mut self.listener
        {
            sqlx::raw_sql("BEGIN")
                .execute(listener.acquire().await?)
                .await?;
        }
        Ok(())
    }
}

/// Whether a notification of ours comes back: it would not through a pooler.
async fn hears(listener: &mut PgListener) -> Result<bool, sqlx::Error> {
    listener.listen(CHANNEL).await?;
    sqlx::query("SELECT pg_notify($1, 'echo')")
        .bind(CHANNEL)
        .execute(&mut *listener)
        .await?;
    Ok(matches!(
        timeout(ECHO, listener.try_recv()).await,
        Ok(Ok(Some(_)))
    ))
}
