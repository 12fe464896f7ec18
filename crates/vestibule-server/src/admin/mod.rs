//! The admin listener: metrics, the admin API, the console.
//!
//! | module | what it decides |
//! | --- | --- |
//! | `hosts` | which names it answers to |
//! | `tokens` | who administrators are, and what they may do |
//! | `guard` | whether a request is an administrator's |
//! | `api` | what can be done: `/admin/v1/…`, also by the command line |
//! | [`console`](crate::console) | the page, and who has signed in there |

pub(crate) mod api;
pub(crate) mod guard;
mod hosts;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use vestibule::{
    Vestibule,
    clock::{Clock as _, SystemClock},
    error::Code,
    http::Problem,
};

pub(crate) use self::hosts::OwnAddress;
use self::{
    api::{Operations, Served},
    guard::Guard,
    tokens::AdminTokens,
};
use crate::{
    console::{self, sessions::Sessions},
    explain::refused::Refusals,
    telemetry::metrics::{self, Metrics},
};

#[derive(Clone)]
struct AdminState {
    vestibule: Vestibule,
    metrics: Metrics,
}

/// What the admin listener goes by.
pub(crate) struct Admin {
    pub(crate) hosts: Vec<String>,
    /// None at all: the admin API is off.
    pub(crate) tokens: AdminTokens,
    /// None: there is nothing that could be done.
    pub(crate) operations: Option<Operations>,
    pub(crate) refusals: Refusals,
    pub(crate) sessions: Arc<Sessions>,
}

/// The admin listener's routes. Without an admin token all but the metrics is 404.
pub(crate) fn router(vestibule: Vestibule, metrics: Metrics, admin: Admin) -> Router {
    let Admin {
        hosts,
        tokens,
        operations,
        refusals,
        sessions,
    } = admin;
    let mut router = Router::new()
        .route("/metrics", get(render))
        .with_state(AdminState {
            vestibule: vestibule.clone(),
            metrics,
        });
    if let Some(operations) = operations
        && !tokens.is_empty()
    {
        let served = Served {
            vestibule: vestibule.clone(),
            refusals,
            started_at: SystemClock.now(),
        };
        let guard = Guard::new(tokens, sessions);
        let api = api::router(operations, Some(served))
            .layer(middleware::from_fn_with_state(guard.clone(), guard::admit))
            .layer(middleware::map_response(log_failure));
        router = router.merge(api).merge(console::router(guard));
    }
    router
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(
            hosts.into(),
            hosts::known_only,
        ))
        .layer(vestibule.layer())
}

/// What an administrator is told of a failure is written down as well.
async fn log_failure(answer: Response) -> Response {
    if answer.status().is_server_error()
        && let Some(problem) = answer.extensions().get::<Problem>()
    {
        tracing::error!(detail = problem.detail(), code = %problem.code(), "an administrator's request failed");
    }
    answer
}

async fn render(State(state): State<AdminState>) -> Response {
    // Gauges show the moment of the scrape, not that of the last change.
    state.vestibule.refresh_gauges();
    (
        [
            (CONTENT_TYPE, metrics::CONTENT_TYPE),
            (CACHE_CONTROL, "no-store"),
        ],
        state.metrics.render(),
    )
        .into_response()
}
