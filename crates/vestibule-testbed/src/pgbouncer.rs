//! A test's own PgBouncer.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    own::{own, program},
    ports,
    process::{LOOK, PATIENCE, Process},
};

/// What the shared one starts with, too.
const SETTINGS: &str = include_str!("../servers/pgbouncer.ini");

/// How many other ports are tried when one is taken at the wrong moment.
const TRIES: usize = 5;

/// Other signals wait for clients in some versions, and there is nothing to tidy up.
const END: Signal = Signal::KILL;

/// A stock PgBouncer in transaction mode, in front of an [`OwnServer`](crate::OwnServer).
#[derive(Debug)]
pub struct PgBouncer {
    address: SocketAddr,
    process: Process,
}

impl PgBouncer {
    /// Starts one in the directory, which is made for it.
    pub(crate) async fn begin(
        directory: PathBuf,
        like: &Path,
        server: SocketAddr,
        password: &str,
    ) -> Self {
        fs::create_dir(&directory).expect("a directory for PgBouncer");
        write(
            &directory,
            like,
            "users.txt",
            &format!("\"postgres\" \"{password}\"\n"),
        );
        own(&directory, like);
        for _ in 0..TRIES {
            let address = ports::free();
            let settings = SETTINGS
                .replace("POSTGRES_PORT", &server.port().to_string())
                .replace("PGBOUNCER_PORT", &address.port().to_string());
            write(&directory, like, "pgbouncer.ini", &settings);
            let mut process = Process::new(
                program("pgbouncer"),
                directory.clone(),
                directory.with_extension("log"),
                END,
            );
            process.set_arguments(vec!["pgbouncer.ini".to_owned()]);
            let pgbouncer = Self { address, process };
            pgbouncer.process.start();
            if pgbouncer.listens().await {
                return pgbouncer;
            }
        }
        panic!("PgBouncer does not start");
    }

    /// Its `host:port`, the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it at once; its clients' connections end.
    pub async fn stop(&self) {
        self.process.stop(END).await;
    }

    /// Starts it again.
    ///
    /// # Panics
    ///
    /// When it runs.
    pub async fn start(&self) {
        self.process.start();
        assert!(self.listens().await, "{}", self.process.log_end());
    }

    /// Holds it: connections stay open, new ones are accepted, nothing passes.
    pub async fn hang(&self) {
        self.process.hang().await;
    }

    /// Ends [`PgBouncer::hang`].
    pub async fn resume(&self) {
        self.process.resume();
    }

    /// What it has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it listens; `false` when it ended instead.
    async fn listens(&self) -> bool {
        let listening = format!("listening on {}", self.address);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && self.process.runs() {
            if self.process.log().contains(&listening) {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }
}

fn write(directory: &Path, like: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file for PgBouncer");
    own(&path, like);
}
