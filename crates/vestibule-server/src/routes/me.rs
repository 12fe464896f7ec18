//! `GET /v1/me`: who calls.

use axum::{
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use vestibule::{http::Problem, principal::Principal};

use super::{
    answers,
    openapi::{PrincipalBody, ProblemBody},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The caller, its account, and facts of its token.
#[utoipa::path(
    get,
    path = "/v1/me",
    tag = "callers",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller", body = PrincipalBody),
        (status = 401, description = "The caller is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller or its account is suspended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tokens were refused lately to look at this one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database or the provider cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn me(principal: Principal) -> Result<Response, Problem> {
    answer(&principal)
}

/// The answer to this caller.
pub(super) fn answer(principal: &Principal) -> Result<Response, Problem> {
    let mut answer = Response::new(answers::described(principal)?.into());
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(answer)
}
