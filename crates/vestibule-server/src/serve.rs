//! The listeners: accept, serve HTTP/1.1 and gRPC, and end in good order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use futures_util::future::{Either, ready};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tower::Service as _;
use vestibule::{Vestibule, assertion::AssertionSigner, clock::SystemClock};

use crate::{
    admin::{self, Admin, OwnAddress, api::Operations},
    explain::refused::Refusals,
    grpc,
    routes::{self, Gateway, Recall, Routers},
    settings::ServerSettings,
    telemetry::metrics::Metrics,
};

/// The longest a request's head may take to arrive, and the longest that a kept connection may
/// idle. Longer lets few clients hold many connections; shorter cuts off slow networks.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for a request's head: the longest token, the longest path and ordinary headers.
const HEAD_BYTES: usize = 64 * 1024;

/// Connections of one listener. Past it new ones wait in the system's queue.
const CONNECTIONS: usize = 10_000;

/// How long requests in flight may take once the server was told to stop.
const DRAIN: Duration = Duration::from_millis(1_000);

/// How long the library may take to write down what it holds. With [`DRAIN`]: under 2 s in all.
const FLUSH: Duration = Duration::from_millis(700);

/// Rest after a failed accept, such as one for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

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
        })
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
        let refusals = Refusals::default();
        let routers = routers(
            self.settings.clone(),
            self.vestibule.clone(),
            refusals.clone(),
        );
        let operations = self.settings.operations.map(Operations::new);
        let admin = admin::router(
            self.vestibule.clone(),
            self.metrics.clone(),
            Admin {
                hosts: self.settings.admin_hosts,
                tokens: self.settings.admin_tokens,
                operations: operations.clone(),
                refusals,
            },
        );
        let upkeep = AbortOnDrop(tokio::spawn(self.metrics.keep_up()));
        let (stopping, stopped) = watch::channel(());
        let mut listeners = vec![
            tokio::spawn(accept(
                self.public,
                routers.public,
                Some(routers.recall.clone()),
                stopped.clone(),
            )),
            tokio::spawn(accept(self.admin, admin, None, stopped.clone())),
        ];
        if let Some(grpc) = self.grpc {
            let vestibule = self.vestibule.clone();
            let door = grpc::Door::new(
                routers.recall,
                routers.authorize,
                self.settings.trusted_proxies,
            );
            listeners.push(tokio::spawn(accept_grpc(grpc, door, vestibule, stopped)));
        }
        stop.await;
        tracing::info!("stopping");
        drop(stopping);
        for listener in listeners {
            // A listener that panicked has nothing left to finish.
            drop(listener.await);
        }
        let flushing = async {
            if let Some(operations) = operations {
                operations.close().await;
            }
            self.vestibule.shutdown().await;
        };
        if tokio::time::timeout(FLUSH, flushing).await.is_err() {
            tracing::warn!("stopped before everything held in memory was written down");
        }
        drop(upkeep);
    }
}

/// The public API without a listener, for whoever brings the requests himself. Who sent one is its
/// extension [`ConnectInfo`].
#[doc(hidden)]
pub fn public_api(settings: ServerSettings, vestibule: Vestibule) -> Router {
    routers(settings, vestibule, Refusals::default()).public
}

fn routers(settings: ServerSettings, vestibule: Vestibule, refusals: Refusals) -> Routers {
    let gateway = Gateway {
        rules: settings.rules,
        assertions: settings
            .assertions
            .map(|settings| AssertionSigner::new(settings, Arc::new(SystemClock))),
        trusted_proxies: settings.trusted_proxies,
        decision_max_age: settings.decision_max_age,
        refusals,
    };
    routes::routers(vestibule, settings.access_log, gateway)
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

/// Serves one listener until `stopped` closes; then finishes requests for at most [`DRAIN`].
///
/// The router answers what `recall` does not.
async fn accept(
    listener: TcpListener,
    router: Router,
    recall: Option<Recall>,
    mut stopped: watch::Receiver<()>,
) {
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            // Closed never: the semaphore lives as long as this loop.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, recall) = (router.clone(), recall.clone());
                let serving = serve(stream, peer, router, recall, connections.watcher());
                tokio::spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            // One connection's trouble, before it was ours.
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("stopped with requests unanswered");
    }
}

/// As [`accept`], for the gRPC listener, which brings its own server.
async fn accept_grpc(
    listener: TcpListener,
    door: grpc::Door,
    vestibule: Vestibule,
    mut stopped: watch::Receiver<()>,
) {
    let mut told = stopped.clone();
    let stop = async move { drop(told.changed().await) };
    let serving = grpc::serve(listener, door, vestibule, stop);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = async {
            drop(stopped.changed().await);
            tokio::time::sleep(DRAIN).await;
        } => {
            tracing::warn!("stopped with checks unanswered");
            Ok(())
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "the gRPC listener ended");
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    recall: Option<Recall>,
    watcher: Watcher,
) {
    // Answers are small and wait for nothing that could be sent with them.
    drop(stream.set_nodelay(true));
    let own = stream
        .local_addr()
        .ok()
        .map(|address| OwnAddress(address.ip()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(recall) = &recall {
            match recall.answer(request, Some(peer)) {
                Ok(answer) => return Either::Left(ready(Ok(answer))),
                Err(same) => request = same,
            }
        }
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(own) = own {
            request.extensions_mut().insert(own);
        }
        // A router is always ready, and cheap to clone.
        Either::Right(router.clone().call(request))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        // Answers are small: to copy one is less than to have the system gather its parts.
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's business.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
