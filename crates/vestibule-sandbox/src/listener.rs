//! Connections: accepted on the loopback interface, served over HTTP/1.1 with keep-alive.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::sandbox::Shared;

/// How long a client may take for a request's head: a stuck one must not hold a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the sandbox stops.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, tls.clone(), Arc::clone(&shared)));
            }
            // Out of file descriptors, most likely: give those in use a moment to close.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let served = async move {
        // Answers are small; waiting to fill a packet would only slow the tests down.
        let _ = stream.set_nodelay(true);
        match tls {
            None => requests(stream, shared).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => requests(stream, shared).await,
                Err(error) => tracing::debug!(%error, "no TLS handshake"),
            },
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = served => {}
    }
}

async fn requests<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| api::answer(Arc::clone(&shared), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // Resets and truncations end here too, as they should.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Hyper closes the connection without an answer when a service fails with this.
pub(crate) type Abort = std::io::Error;

/// Never happens: used where a body cannot fail.
pub(crate) fn never(never: Infallible) -> Abort {
    match never {}
}
