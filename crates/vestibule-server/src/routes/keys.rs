//! `GET /.well-known/jwks.json`: what applications check assertions with.

use axum::{Json, extract::State, http::header::CACHE_CONTROL, response::IntoResponse};
use vestibule::{error::Code, http::Problem};

use super::{ApiState, openapi::ProblemBody};

/// How long the set may be kept. Keys are published a day before they sign.
const CACHEABLE: &str = "public, max-age=3600";

/// The public keys of assertions (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "forward-auth",
    responses(
        (status = 200, description = "A JWK set", body = Object),
        (status = 404, description = "Assertions are off", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn published(State(state): State<ApiState>) -> Result<impl IntoResponse, Problem> {
    let assertions = state
        .assertions
        .as_ref()
        .ok_or(Problem::new(Code::NotFound))?;
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(assertions.published())))
}
