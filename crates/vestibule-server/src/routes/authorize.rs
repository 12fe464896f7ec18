//! Any method of `/v1/authorize` and below: forward-auth. Who calls, as headers for a proxy to
//! hand on.
//!
//! All eight headers are always sent, empty where there is nothing: a missing one would let the
//! client's own copy through the proxy. Together, with their names, they stay under 6 KiB, which
//! the buffers of common proxies hold. What a stranger could make longer gives way: an e-mail
//! that does not fit is left out whole (a shortened one would be somebody else's), and scopes are
//! left out whole from the end, which only takes rights away.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL},
    response::Response,
};
use vestibule::{assertion::ASSERTION, clock::SystemClock, http::Problem};

use super::{ApiState, NO_STORE, answers, openapi::ProblemBody};
use crate::gateway::{self, Decision};

pub(super) const KIND: HeaderName = HeaderName::from_static("x-vestibule-kind");
pub(super) const USER_ID: HeaderName = HeaderName::from_static("x-vestibule-user-id");
pub(super) const AUTHRESS_USER_ID: HeaderName =
    HeaderName::from_static("x-vestibule-authress-user-id");
pub(super) const EMAIL: HeaderName = HeaderName::from_static("x-vestibule-email");
pub(super) const ROLE: HeaderName = HeaderName::from_static("x-vestibule-role");
pub(super) const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-vestibule-account-id");
pub(super) const TENANT_ID: HeaderName = HeaderName::from_static("x-vestibule-tenant-id");
pub(crate) const SCOPES: HeaderName = HeaderName::from_static("x-vestibule-scopes");

/// All of them, in the order in which they are sent.
pub(crate) const IDENTITY_HEADERS: [HeaderName; 8] = [
    KIND,
    USER_ID,
    AUTHRESS_USER_ID,
    ROLE,
    ACCOUNT_ID,
    TENANT_ID,
    EMAIL,
    SCOPES,
];

/// Who calls, as headers; for proxies.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = "/v1/authorize",
    tag = "forward-auth",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller may come in. No body", headers(
            ("X-Vestibule-Kind" = String, description = "`user` or `machine`"),
            ("X-Vestibule-User-Id" = String, description = "The local user's or service client's id"),
            ("X-Vestibule-Authress-User-Id" = String, description = "The subject at the provider"),
            ("X-Vestibule-Email" = String, description = "Empty where there is none"),
            ("X-Vestibule-Role" = String, description = "The local role"),
            ("X-Vestibule-Account-Id" = String, description = "The account's id"),
            ("X-Vestibule-Tenant-Id" = String, description = "The Authress tenant that the account is"),
            ("X-Vestibule-Scopes" = String, description = "Separated by commas; empty where there are none"),
            ("Cache-Control" = String, description = "`no-store`; where VESTIBULE_DECISION_MAX_AGE is set, `private` and how many seconds the answer may be remembered for requests with the same values of the headers in `Vary`"),
            ("X-Vestibule-Assertion" = String, description = "All of it signed (a JWT); only where VESTIBULE_ASSERTION_AUDIENCES is set"),
        )),
        (status = 401, description = "The caller is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller or its account is suspended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The request announces a body that is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tokens were refused lately to look at this one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database or the provider cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn authorize(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let decision = gateway::decide(&mut parts, &state, None).await?;
    answer(decision, &state)
}

/// The answer to a request that may go on.
pub(super) fn answer(decision: Decision, state: &ApiState) -> Result<Response, Problem> {
    let headers = match decision {
        Decision::Caller(principal, audience) => {
            let mut headers = answers::identity(&principal)?;
            if let Some(assertions) = &state.assertions {
                let assertion = assertions.about(&principal, audience.as_deref());
                headers.insert(ASSERTION, assertion);
            }
            let expires_at = principal.token().expires_at;
            state.caching.allow(&mut headers, expires_at, &SystemClock);
            headers
        }
        Decision::Nobody => {
            let mut headers = nobody();
            // It would answer for whoever comes with a token, too.
            headers.insert(CACHE_CONTROL, NO_STORE);
            if state.assertions.is_some() {
                headers.insert(ASSERTION, HeaderValue::from_static(""));
            }
            headers
        }
    };
    let mut answer = Response::default();
    *answer.headers_mut() = headers;
    Ok(answer)
}

/// All headers, empty: nobody was asked who he is, and the client's own copies say nothing.
fn nobody() -> HeaderMap {
    IDENTITY_HEADERS
        .into_iter()
        .map(|name| (name, HeaderValue::from_static("")))
        .collect()
}

/// The same below: for proxies that append the path that was asked for.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = "/v1/authorize/{path}",
    tag = "forward-auth",
    security(("bearer" = [])),
    params(("path" = String, Path, description = "Anything, slashes too; not looked at")),
    responses(
        (status = 200, description = "As `/v1/authorize`"),
        (status = 401, description = "As `/v1/authorize`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "As `/v1/authorize`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "As `/v1/authorize`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "As `/v1/authorize`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "As `/v1/authorize`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
#[expect(dead_code, reason = "documents the path; `authorize` answers it")]
pub(crate) fn authorize_below() {}
