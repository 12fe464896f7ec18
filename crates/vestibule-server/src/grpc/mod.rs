//! Envoy's `ext_authz` (v3) over gRPC, on a listener of its own.
//!
//! A check is asked of `/v1/authorize` itself, so that both doors have one verdict, one refusal
//! and one log line. This module only translates.

mod check;

use std::time::Duration;

use self::check::Door;
use crate::serve::Current;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

/// The longest that a check may take; a caller's own deadline may be shorter.
const DEADLINE: Duration = Duration::from_secs(10);

/// The largest check. Envoy sends a request's head, and a body only where it is told to.
const MESSAGE_BYTES: usize = 256 * 1024;

/// Checks of one connection at a time. Envoy keeps few connections and sends all over them.
const STREAMS: u32 = 1_024;

/// How often a silent connection is asked whether anybody is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How often the health service looks.
const LOOK: Duration = Duration::from_secs(1);

/// Serves checks until `stop` ends; then finishes those in flight.
///
/// # Errors
/// The connections cannot be served at all.
pub(crate) async fn serve(
    listener: TcpListener,
    current: Current,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let checks = AuthorizationServer::new(Door::new(current.clone()))
        .max_decoding_message_size(MESSAGE_BYTES);
    let serving = Server::builder()
        .timeout(DEADLINE)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(checks)
        .add_service(health)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop);
    tokio::select! {
        served = serving => served,
        // Never ends.
        () = keep_health(&reporter, &current) => Ok(()),
    }
}

/// Says what `/readyz` says, for the server as a whole and for its one service.
async fn keep_health(reporter: &HealthReporter, current: &Current) {
    loop {
        let generation = current.load();
        let readiness = generation.vestibule.readiness().await;
        let stopping = generation.routers.draining.has_begun();
        let status = if readiness.database && readiness.keys && !stopping {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", "envoy.service.auth.v3.Authorization"] {
            reporter.set_service_status(service, status).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}
