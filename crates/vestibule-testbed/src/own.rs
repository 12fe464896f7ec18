//! A PostgreSQL server that belongs to one test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use rustix::process::{Signal, geteuid};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use url::Url;

use crate::{
    PgBouncer, Postgres, TestDatabase, ports,
    postgres::variable,
    process::{LOOK, PATIENCE, Process},
};

/// How many other ports are tried when one is taken at the wrong moment.
const TRIES: usize = 5;

/// A PostgreSQL server of the test's own, to be stopped, started and hung at will, or to be the
/// second cluster.
///
/// It is as the shared one, but empty, and it takes about a third of a second to make. It ends
/// with the value, and its data with it; databases on it need not be dropped.
#[derive(Debug)]
pub struct OwnServer {
    // In the order of their ends.
    pgbouncer: Option<PgBouncer>,
    process: Process,
    postgres: Postgres,
    data: PathBuf,
    _directory: TempDir,
}

/// How a server is stopped: `pg_ctl`'s modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Waits until all clients have left by themselves.
    Smart,
    /// Ends the clients' connections, rolls back, writes everything out.
    Fast,
    /// A crash: nothing is written out, and the next start recovers.
    Immediate,
}

impl Postgres {
    /// A server of the test's own.
    ///
    /// # Panics
    ///
    /// As [`Postgres::shared`]: the shared one's programs and an empty copy of it are used.
    pub async fn own() -> OwnServer {
        OwnServer::begin(false).await
    }

    /// A server of the test's own, with a PgBouncer of its own in front.
    ///
    /// # Panics
    ///
    /// As [`Postgres::own`].
    pub async fn own_with_pgbouncer() -> OwnServer {
        OwnServer::begin(true).await
    }
}

impl OwnServer {
    async fn begin(pooled: bool) -> Self {
        Self::begin_as(&servers().join("template"), pooled).await
    }

    /// Another server with the same data, as a backup or a standby would have them. This one must
    /// be stopped, and may be started again.
    ///
    /// # Panics
    ///
    /// When this one runs.
    pub async fn copy(&self) -> Self {
        assert!(!self.process.runs(), "only data at rest can be copied");
        Self::begin_as(&self.data, false).await
    }

    async fn begin_as(like: &Path, pooled: bool) -> Self {
        let servers = servers();
        let template = servers.join("template");
        let directory = tempfile::tempdir_in(servers.join("own")).expect("a directory");
        own(directory.path(), &template);
        let data = directory.path().join("data");
        let copied = Command::new("cp")
            .arg("-a")
            .args([like, &data])
            .status()
            .expect("cp");
        assert!(copied.success(), "cp: {copied}");

        let mut process = Process::new(
            program("postgres"),
            data.clone(),
            directory.path().join("postgres.log"),
            Signal::QUIT,
        );
        // The template's superuser is the shared server's.
        let mut url: Url = variable("VESTIBULE_TEST_POSTGRES").parse().expect("a URL");
        for _ in 0..TRIES {
            let address = ports::free();
            url.set_port(Some(address.port())).expect("a port");
            process.set_arguments(vec![
                "-D".to_owned(),
                data.display().to_string(),
                "-p".to_owned(),
                address.port().to_string(),
            ]);
            process.start();
            if answers(&process, &url, &data).await {
                let directory = directory;
                let pgbouncer = if pooled {
                    let password = url.password().expect("a password");
                    let place = directory.path().join("pgbouncer");
                    Some(PgBouncer::begin(place, &template, address, password).await)
                } else {
                    None
                };
                let pooled = pgbouncer.as_ref().map(PgBouncer::address);
                return Self {
                    postgres: Postgres::of_test(url, pooled),
                    pgbouncer,
                    process,
                    data,
                    _directory: directory,
                };
            }
        }
        panic!("PostgreSQL does not start: {}", process.log_end());
    }

    /// A fresh, empty database with two fresh logins.
    pub async fn database(&self) -> TestDatabase {
        self.postgres.database().await
    }

    /// The way to the server.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The PgBouncer in front of it.
    ///
    /// # Panics
    ///
    /// When it was not made by [`Postgres::own_with_pgbouncer`].
    #[must_use]
    pub fn pgbouncer(&self) -> &PgBouncer {
        self.pgbouncer.as_ref().expect("a server with a PgBouncer")
    }

    /// Its `host:port`, the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.postgres.address()
    }

    /// Stops it, and returns when it has ended: connections are refused now. PgBouncer goes on.
    pub async fn stop(&self, mode: Stop) {
        self.process.stop(mode.signal()).await;
    }

    /// Starts it again, and returns when it takes connections.
    ///
    /// A stock PgBouncer that found it gone tries again only after 15 s (`server_login_retry`).
    ///
    /// # Panics
    ///
    /// When it runs.
    pub async fn start(&self) {
        self.process.start();
        let url = self.postgres.superuser_url().parse().expect("a URL");
        assert!(
            answers(&self.process, &url, &self.data).await,
            "PostgreSQL does not start: {}",
            self.process.log_end()
        );
    }

    /// [`Stop::Fast`], then a start.
    pub async fn restart(&self) {
        self.stop(Stop::Fast).await;
        self.start().await;
    }

    /// Holds all its processes: connections stay open, new ones are accepted by the kernel, and
    /// nobody answers. Linux only.
    pub async fn hang(&self) {
        self.process.hang().await;
    }

    /// Ends [`OwnServer::hang`].
    pub async fn resume(&self) {
        self.process.resume();
    }

    /// What it has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// Waits until the server of this data directory takes connections; `false` when it ended
/// instead. Another one's answer, on a port that was taken, does not count.
async fn answers(process: &Process, url: &Url, data: &Path) -> bool {
    let begin = Instant::now();
    while process.runs() {
        if let Ok(mut connection) = PgConnection::connect(url.as_str()).await {
            let served: sqlx::Result<String> =
                sqlx::query_scalar("SELECT current_setting('data_directory')")
                    .fetch_one(&mut connection)
                    .await;
            if served.is_ok_and(|served| Path::new(&served) == data) {
                return true;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "{}", process.log_end());
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// What `scripts/postgres` prepared for servers of the tests' own.
fn servers() -> PathBuf {
    variable("VESTIBULE_TEST_SERVERS").into()
}

pub(crate) fn program(name: &str) -> PathBuf {
    servers().join("programs").join(name)
}

/// Gives a file to the owner of another one: neither program runs as root.
pub(crate) fn own(path: &Path, like: &Path) {
    if geteuid().is_root() {
        let owner = fs::metadata(like).expect("the template");
        chown(path, Some(owner.uid()), Some(owner.gid())).expect("root may");
    }
}
