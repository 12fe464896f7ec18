//! New settings while the server serves: at SIGHUP, and when the settings file changes.
//!
//! Settings that cannot be used are refused with words, and the old ones stay. What the library was
//! not told differently stays open, with all that it remembers; else it is opened anew beside the old
//! one. Addresses of listeners, how lines of the log look, and traces change with the next start.

use std::{
    fmt, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vestibule::{
    StartError, Vestibule,
    settings::{Settings, SettingsError},
};

use super::generation::{Current, Generation, Lasting};
use crate::{
    settings::{LibraryDigest, ServeSettings, ServerSettings},
    telemetry::logs,
};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a file that changed must stay as it is before it is read.
const REST: Duration = Duration::from_millis(100);

type Read = Box<dyn Fn() -> Result<ServeSettings, SettingsError> + Send + Sync>;
type Build =
    Box<dyn Fn(Settings) -> BoxFuture<'static, Result<Vestibule, StartError>> + Send + Sync>;

/// Where new settings come from, and how the library is opened with them.
pub struct Reload {
    read: Read,
    build: Build,
    file: Option<PathBuf>,
    /// What the library was opened with.
    library: LibraryDigest,
    hangup: Signal,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Reload {
    /// `file` is looked at for changes; none: only SIGHUP counts. `library` is what the library was
    /// opened with.
    ///
    /// # Errors
    /// The system does not let us listen for the signal.
    pub fn new(
        read: impl Fn() -> Result<ServeSettings, SettingsError> + Send + Sync + 'static,
        build: impl Fn(Settings) -> BoxFuture<'static, Result<Vestibule, StartError>>
        + Send
        + Sync
        + 'static,
        file: Option<PathBuf>,
        library: LibraryDigest,
    ) -> io::Result<Self> {
        Ok(Self {
            read: Box::new(read),
            build: Box::new(build),
            file,
            library,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Takes new settings over as they come; never ends.
    pub(super) async fn keep_current(
        mut self,
        mut settings: ServerSettings,
        current: Current,
        lasting: Lasting,
    ) {
        let mut look = tokio::time::interval(LOOK);
        let mut seen = self.look();
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => seen = self.look(),
                _ = look.tick() => {
                    let now = self.look();
                    if now == seen || !self.is_at_rest(now).await {
                        continue;
                    }
                    seen = now;
                }
            }
            match (self.read)() {
                Ok(new) => self.take_over(new, &mut settings, &current, &lasting).await,
                Err(error) => {
                    tracing::error!(%error, "the new settings cannot be used; the old ones stay");
                }
            }
        }
    }

    async fn take_over(
        &mut self,
        new: ServeSettings,
        settings: &mut ServerSettings,
        current: &Current,
        lasting: &Lasting,
    ) {
        let ServeSettings {
            library,
            mut server,
            log,
            library_digest,
        } = new;
        server.keep_lasting(settings);
        let unchanged = library_digest == self.library;
        let vestibule = if unchanged {
            current.load().vestibule.clone()
        } else {
            match (self.build)(library).await {
                Ok(vestibule) => vestibule,
                Err(error) => {
                    tracing::error!(%error, "the new settings cannot be used; the old ones stay");
                    return;
                }
            }
        };
        logs::set_filter(&log.filter);
        self.library = library_digest;
        settings.clone_from(&server);
        let old = current.replace(Generation::new(server, vestibule, lasting));
        tracing::info!(library = !unchanged, "new settings");
        // What it holds of the library goes with its last request; what administrators did is not
        // to be waited for.
        tokio::spawn(async move { old.close_operations().await });
    }

    /// Whether the file is still as it was a moment ago: who writes it may be in the middle.
    async fn is_at_rest(&self, before: Option<(SystemTime, u64)>) -> bool {
        tokio::time::sleep(REST).await;
        self.look() == before
    }

    /// When the file changed last, and how long it is; none where there is none.
    fn look(&self) -> Option<(SystemTime, u64)> {
        let about = std::fs::metadata(self.file.as_ref()?).ok()?;
        Some((about.modified().ok()?, about.len()))
    }
}
