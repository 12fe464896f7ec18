//! The server: its listeners, and what answers there.
//!
//! | file | what it does |
//! | --- | --- |
//! | `mod.rs` | takes addresses, serves until it is told to stop |
//! | `listeners.rs` | accepts connections, and ends them in good order |
//! | `generation.rs` | what answers, made from one reading of the settings |
//! | `reload.rs` | new settings while it serves |

mod generation;
mod listeners;
mod reload;

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use vestibule::Vestibule;

pub(crate) use self::generation::{Current, Draining};
pub use self::reload::Reload;
use self::{
    generation::{Generation, Lasting},
    listeners::{Listener, accept, accept_grpc},
};
use crate::{
    settings::ServerSettings,
    telemetry::{metrics::Metrics, traces::Traces},
};

/// How long the library may take to write down what it holds. With [`DRAIN`]: under 2 s in all.
const FLUSH: Duration = Duration::from_millis(700);

/// How often it is looked whether an account is to end.
const END_DUE: Duration = Duration::from_secs(600);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program has the address.
    #[error(
        "{address} is taken by another program: stop it, or set {setting} to another address, \
         such as {}",
        another(*address)
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
    },
    /// The system does not let us have the address.
    #[error("cannot listen on {address} ({setting}): {error}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A server that has its addresses and waits to be run.
#[derive(Debug)]
pub struct Server {
    vestibule: Vestibule,
    public: TcpListener,
    grpc: Option<TcpListener>,
    admin: TcpListener,
    settings: ServerSettings,
    metrics: Metrics,
    reload: Option<Reload>,
    traces: Option<Traces>,
}

impl Server {
    /// Takes the addresses, so that a mistake shows before anything answers.
    ///
    /// # Errors
    /// An address cannot be had.
    pub async fn bind(
        settings: ServerSettings,
        vestibule: Vestibule,
        metrics: Metrics,
    ) -> Result<Self, ServeError> {
        let public = listen(settings.listen, "VESTIBULE_LISTEN").await?;
        let grpc = match settings.grpc_listen {
            Some(address) => Some(listen(address, "VESTIBULE_GRPC_LISTEN").await?),
            None => None,
        };
        let admin = listen(settings.admin_listen, "VESTIBULE_ADMIN_LISTEN").await?;
        Ok(Self {
            vestibule,
            public,
            grpc,
            admin,
            settings,
            metrics,
            reload: None,
            traces: None,
        })
    }

    /// Takes new settings over while it serves: at SIGHUP, and when the settings file changes.
    #[must_use]
    pub fn reloading(mut self, reload: Reload) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Sends what waits of these spans when it ends.
    #[must_use]
    pub fn traced(mut self, traces: Option<Traces>) -> Self {
        self.traces = traces;
        self
    }

    /// The public API's address, with the real port.
    pub fn public_address(&self) -> SocketAddr {
        self.public.local_addr().unwrap_or(self.settings.listen)
    }

    /// The address of the gRPC listener, with the real port, if there is one.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref()?.local_addr().ok()
    }

    /// The admin listener's address, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
            .local_addr()
            .unwrap_or(self.settings.admin_listen)
    }

    /// Serves until `stop` ends, then finishes what is in flight: under 2 s in all.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tracing::info!(
            public = %self.public_address(),
            grpc = self.grpc_address().map(tracing::field::display),
            admin = %self.admin_address(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        if !self.admin_address().ip().is_loopback() {
            tracing::warn!(
                admin = %self.admin_address(),
                "metrics can be read from other machines: VESTIBULE_ADMIN_LISTEN is not a loopback address"
            );
        }
        let lasting = Lasting::new(self.metrics.clone());
        let drain = self.settings.drain;
        let generation = Generation::new(self.settings.clone(), self.vestibule, &lasting);
        let current = Current::new(generation);
        let upkeep = AbortOnDrop(tokio::spawn(self.metrics.keep_up()));
        let (stopping, stopped) = watch::channel(());
        let mut listeners = vec![
            tokio::spawn(accept(
                self.public,
                Listener::Public,
                current.clone(),
                stopped.clone(),
            )),
            tokio::spawn(accept(
                self.admin,
                Listener::Admin,
                current.clone(),
                stopped.clone(),
            )),
        ];
        if let Some(grpc) = self.grpc {
            listeners.push(tokio::spawn(accept_grpc(grpc, current.clone(), stopped)));
        }
        let ending = AbortOnDrop(tokio::spawn(end_due(current.clone())));
        let reloading = self.reload.map(|reload| {
            let reloading = reload.keep_current(self.settings, current.clone(), lasting.clone());
            AbortOnDrop(tokio::spawn(reloading))
        });
        stop.await;
        // Nothing new from here on.
        drop((reloading, ending));
        if !drain.is_zero() {
            tracing::info!(seconds = drain.as_secs(), "stopping: not ready any more");
            lasting.draining.begin();
            tokio::time::sleep(drain).await;
        }
        tracing::info!("stopping");
        drop(stopping);
        for listener in listeners {
            // A listener that panicked has nothing left to finish.
            drop(listener.await);
        }
        let last = current.load();
        let closing = async {
            if tokio::time::timeout(FLUSH, last.close()).await.is_err() {
                tracing::warn!("stopped before everything held in memory was written down");
            }
        };
        let sending = async {
            if let Some(traces) = self.traces {
                traces.finish(FLUSH).await;
            }
        };
        tokio::join!(closing, sending);
        drop(upkeep);
    }
}

/// Ends the accounts whose time has come, where this server has the admin API; never ends.
async fn end_due(current: Current) {
    let mut look = tokio::time::interval(END_DUE);
    loop {
        look.tick().await;
        current.load().end_due().await;
    }
}

/// The public API without a listener, for whoever brings the requests himself. Who sent one is its
/// extension [`ConnectInfo`].
#[doc(hidden)]
pub fn public_api(settings: ServerSettings, vestibule: Vestibule) -> Router {
    generation::routers(settings, vestibule, Default::default(), Default::default()).public
}

/// Ends when the process is told to stop: SIGTERM or SIGINT (Ctrl-C).
///
/// # Errors
/// The system does not let us listen for signals.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// An address that may be free: the next port.
fn another(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8080))
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ServeError::Taken { address, setting },
            _ => ServeError::Refused {
                address,
                setting,
                error,
            },
        })
}
