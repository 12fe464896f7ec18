//! `/admin/v1/…`: what can be done, one kind of thing a file.
//!
//! The command line does the same by the same functions: it asks this router in its own process, or
//! a server's over the network (`--server`).

mod accounts;
mod activity;
mod body;
mod clients;
mod explain;
mod migrations;
mod openapi;
mod operations;
mod revocations;
mod status;
mod users;

use axum::{
    Router,
    extract::FromRequestParts,
    http::request::Parts,
    routing::{get, post},
};
use vestibule::{Vestibule, clock::Timestamp, error::Code, http::Problem};

pub(crate) use self::{
    accounts::{Grace, MAIN, NewAccount},
    clients::{NewClient, check_client_id},
    operations::{Operations, OperationsSettings},
    revocations::{NewRevocation, What},
    users::{Person, SERVICE_CLIENT_ROLE},
};
use crate::{admin::tokens::Administrator, explain::refused::Refusals};

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct ApiState {
    pub(crate) operations: Operations,
    /// None for the command line, which serves nobody.
    served: Option<Served>,
}

/// The server that is asked.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) vestibule: Vestibule,
    pub(crate) refusals: Refusals,
    pub(crate) started_at: Timestamp,
}

impl FromRequestParts<ApiState> for Served {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        state
            .served
            .clone()
            .ok_or_else(|| Problem::new(Code::NotFound))
    }
}

/// Ends the accounts whose time has come.
pub(crate) async fn end_due(operations: &Operations) -> Result<(), Problem> {
    let by = Administrator::the_server();
    accounts::ended(operations, &by).await.map(drop)
}

/// All that can be done. Who asks must have been [admitted](super::guard) before.
pub(crate) fn router(operations: Operations, served: Option<Served>) -> Router {
    Router::new()
        .route(
            "/admin/v1/accounts",
            get(accounts::list).post(accounts::create),
        )
        .route(
            "/admin/v1/accounts/{id}",
            get(accounts::show)
                .patch(accounts::rename)
                .delete(accounts::delete),
        )
        .route("/admin/v1/accounts/{id}/suspend", post(accounts::suspend))
        .route("/admin/v1/accounts/{id}/resume", post(accounts::resume))
        .route(
            "/admin/v1/accounts/{id}/end",
            post(accounts::plan_end).delete(accounts::cancel_end),
        )
        .route("/admin/v1/endings", post(accounts::end_due))
        .route("/admin/v1/accounts/{id}/export", get(accounts::export))
        .route("/admin/v1/accounts/{id}/users", get(users::of_account))
        .route("/admin/v1/accounts/{id}/clients", get(clients::of_account))
        .route(
            "/admin/v1/accounts/{id}/activity",
            get(activity::of_account),
        )
        .route(
            "/admin/v1/accounts/{id}/activity/export",
            get(activity::export),
        )
        .route("/admin/v1/users", get(users::search))
        .route(
            "/admin/v1/users/{id}",
            get(users::show).patch(users::change).delete(users::remove),
        )
        .route("/admin/v1/users/{id}/suspend", post(users::suspend))
        .route("/admin/v1/users/{id}/resume", post(users::resume))
        .route("/admin/v1/clients", get(clients::list).post(clients::add))
        .route(
            "/admin/v1/clients/{id}",
            get(clients::show).delete(clients::remove),
        )
        .route("/admin/v1/clients/{id}/suspend", post(clients::suspend))
        .route("/admin/v1/clients/{id}/resume", post(clients::resume))
        .route(
            "/admin/v1/revocations",
            get(revocations::list).post(revocations::revoke),
        )
        .route("/admin/v1/migrations", get(migrations::status))
        .route("/admin/v1/status", get(status::show))
        .route("/admin/v1/refusals", get(explain::refusals))
        .route("/admin/v1/explain", post(explain::explain))
        .route("/admin/v1/openapi.json", get(openapi::show))
        .with_state(ApiState { operations, served })
}
