//! One listener: accept, serve, and end in good order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::ConnectInfo;
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
};
use tower::Service as _;

use super::generation::Current;
use crate::{admin::OwnAddress, grpc};

/// The longest a request's head may take to arrive, and the longest that a kept connection may
/// idle. Longer lets few clients hold many connections; shorter cuts off slow networks.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for a request's head: the longest token, the longest path and ordinary headers.
const HEAD_BYTES: usize = 64 * 1024;

/// Connections of one listener. Past it new ones wait in the system's queue.
const CONNECTIONS: usize = 10_000;

/// How long requests in flight may take once the listener was told to stop.
const DRAIN: Duration = Duration::from_millis(1_000);

/// Rest after a failed accept, such as one for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Which listener it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Public,
    Admin,
}

/// Serves one listener until `stopped` closes; then finishes requests for at most [`DRAIN`].
pub(super) async fn accept(
    listener: TcpListener,
    which: Listener,
    current: Current,
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
                let serving = serve(stream, peer, which, current.clone(), connections.watcher());
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
pub(super) async fn accept_grpc(
    listener: TcpListener,
    current: Current,
    mut stopped: watch::Receiver<()>,
) {
    let mut told = stopped.clone();
    let stop = async move { drop(told.changed().await) };
    let serving = grpc::serve(listener, current, stop);
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
    which: Listener,
    current: Current,
    watcher: Watcher,
) {
    // Answers are small and wait for nothing that could be sent with them.
    drop(stream.set_nodelay(true));
    let own = stream
        .local_addr()
        .ok()
        .map(|address| OwnAddress(address.ip()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let generation = current.load();
        if which == Listener::Public {
            // What can be answered at once, before the router is asked.
            match generation.routers.recall.answer(request, Some(peer)) {
                Ok(answer) => return Either::Left(ready(Ok(answer))),
                Err(same) => request = same,
            }
        }
        let router = match which {
            Listener::Public => &generation.routers.public,
            Listener::Admin => &generation.admin,
        };
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
