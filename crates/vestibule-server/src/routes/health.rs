//! `GET /healthz`, `GET /readyz`: for load balancers and orchestrators.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use vestibule::{Readiness, Vestibule};

use super::ApiState;

/// How long a client may wait before it asks again.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("5");

/// How long a look is good for.
const FRESH: Duration = Duration::from_millis(200);

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `ok`.
    status: &'static str,
}

/// Whether requests can be served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Nothing is missing.
    ready: bool,
    /// What is: `database`, `keys`; `time`, where the server was told to stop.
    missing: Vec<&'static str>,
}

/// 200 while the process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "The process runs", body = Alive))
)]
pub(crate) async fn alive() -> Response {
    answer(StatusCode::OK, Alive { status: "ok" })
}

/// 200 when the database answers and the provider's keys are there.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "Requests can be served", body = Ready),
        (status = 503, description = "Something is missing", body = Ready),
    )
)]
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    let readiness = state.readiness.look(&state.vestibule).await;
    answer_ready(
        readiness.database,
        readiness.keys,
        state.draining.has_begun(),
    )
}

/// What was found a moment ago. Anybody may ask, so asking must not cost a connection each time:
/// one request looks, the others wait for what it finds.
#[derive(Debug, Default)]
pub(crate) struct LastLook(Mutex<Option<(Instant, Readiness)>>);

impl LastLook {
    async fn look(&self, vestibule: &Vestibule) -> Readiness {
        let mut last = self.0.lock().await;
        if let Some((at, found)) = *last
            && at.elapsed() < FRESH
        {
            return found;
        }
        let found = vestibule.readiness().await;
        *last = Some((Instant::now(), found));
        found
    }
}

fn answer_ready(database: bool, keys: bool, stopping: bool) -> Response {
    let missing: Vec<&'static str> = [("database", database), ("keys", keys), ("time", !stopping)]
        .into_iter()
        .filter(|(_, there)| !there)
        .map(|(part, _)| part)
        .collect();
    let ready = missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = answer(status, Ready { ready, missing });
    if !ready {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECS);
    }
    response
}

fn answer(status: StatusCode, body: impl Serialize) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(response: Response) -> (u16, serde_json::Value) {
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        for (database, keys, status, missing) in [
            (true, true, 200, vec![]),
            (true, false, 503, vec!["keys"]),
            (false, true, 503, vec!["database"]),
            (false, false, 503, vec!["database", "keys"]),
        ] {
            let response = answer_ready(database, keys, false);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            let (found, body) = read(response).await;
            assert_eq!(found, status);
            assert_eq!(body["missing"], serde_json::json!(missing));
            assert_eq!(body["ready"], status == 200);
        }
    }
}
