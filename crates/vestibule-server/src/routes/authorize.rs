//! Any method of `/v1/authorize` and below: forward-auth. Who calls, as headers for a proxy to
//! hand on.
//!
//! All eight headers are always sent, empty where there is nothing: a missing one would let the
//! client's own copy through the proxy. Together, with their names, they stay under 6 KiB, which
//! the buffers of common proxies hold. What a stranger could make longer gives way: an e-mail
//! that does not fit is left out whole (a shortened one would be somebody else's), and scopes are
//! left out whole from the end, which only takes rights away.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse as _, Response},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use vestibule::{
    assertion::ASSERTION,
    clock::{Clock as _, SystemClock},
    error::Code,
    http::Problem,
    principal::Principal,
};

use super::{ApiState, openapi::ProblemBody};
use crate::gateway::{self, Decision};

const KIND: HeaderName = HeaderName::from_static("x-vestibule-kind");
const USER_ID: HeaderName = HeaderName::from_static("x-vestibule-user-id");
const AUTHRESS_USER_ID: HeaderName = HeaderName::from_static("x-vestibule-authress-user-id");
const EMAIL: HeaderName = HeaderName::from_static("x-vestibule-email");
const ROLE: HeaderName = HeaderName::from_static("x-vestibule-role");
const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-vestibule-account-id");
const TENANT_ID: HeaderName = HeaderName::from_static("x-vestibule-tenant-id");
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

/// All headers together, as they are on the wire, are below this.
const LIMIT: usize = 6 * 1024;

/// `%`, space and everything outside printable ASCII; bytes above 0x7f always are.
const VALUE: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// The comma separates scopes, so one inside a scope must not.
const SCOPE: &AsciiSet = &VALUE.add(b',');

/// What the headers say.
struct Identity<'a> {
    kind: &'a str,
    user_id: String,
    authress_user_id: &'a str,
    email: &'a str,
    role: &'a str,
    account_id: String,
    tenant_id: &'a str,
    scopes: &'a [Arc<str>],
}

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
    match gateway::decide(&mut parts, &state).await? {
        Decision::Caller(principal, audience) => {
            let mut answer = identified(&principal)?;
            if let Some(assertions) = &state.assertions {
                let assertion = assertions.about(&principal, audience.as_deref());
                answer.headers_mut().insert(ASSERTION, assertion);
            }
            let expires_at = principal.token().expires_at;
            state
                .caching
                .allow(answer.headers_mut(), expires_at, SystemClock.now());
            Ok(answer)
        }
        Decision::Nobody => {
            let mut headers = nobody();
            // It would answer for whoever comes with a token, too.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            if state.assertions.is_some() {
                headers.insert(ASSERTION, HeaderValue::from_static(""));
            }
            Ok((StatusCode::OK, headers).into_response())
        }
    }
}

/// All headers, empty: nobody was asked who he is, and the client's own copies say nothing.
fn nobody() -> HeaderMap {
    IDENTITY_HEADERS
        .into_iter()
        .map(|name| (name, HeaderValue::from_static("")))
        .collect()
}

fn identified(principal: &Principal) -> Result<Response, Problem> {
    let user = principal.user();
    let account = principal.account();
    let identity = Identity {
        kind: principal.kind().as_str(),
        user_id: user.id.to_string(),
        authress_user_id: &user.authress_user_id,
        email: user.email.as_deref().unwrap_or_default(),
        role: &user.role,
        account_id: account.id.to_string(),
        tenant_id: &account.authress_tenant_id,
        scopes: &principal.token().scopes,
    };
    let headers = identity.headers().ok_or_else(|| {
        tracing::error!(account.id = %account.id, "the identity headers do not fit into {LIMIT} bytes");
        Problem::new(Code::InternalError)
    })?;
    Ok((StatusCode::OK, headers).into_response())
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

impl Identity<'_> {
    /// The eight headers; none where what may not be left out does not fit.
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(8);
        let mut left = LIMIT;
        let values = [
            (KIND, encoded(self.kind)),
            (USER_ID, encoded(&self.user_id)),
            (AUTHRESS_USER_ID, encoded(self.authress_user_id)),
            (ROLE, encoded(self.role)),
            (ACCOUNT_ID, encoded(&self.account_id)),
            (TENANT_ID, encoded(self.tenant_id)),
            (EMAIL, String::new()),
            (SCOPES, String::new()),
        ];
        for (name, value) in values {
            // `name: value\r\n`
            left = left.checked_sub(name.as_str().len() + value.len() + 4)?;
            headers.insert(name, HeaderValue::try_from(value).ok()?);
        }
        // Below the limit, not at it.
        left = left.checked_sub(1)?;
        let email = encoded(self.email);
        if let Some(rest) = left.checked_sub(email.len()) {
            left = rest;
            headers.insert(EMAIL, HeaderValue::try_from(email).ok()?);
        }
        let mut scopes = String::new();
        for scope in self.scopes {
            let comma = usize::from(!scopes.is_empty());
            let scope = utf8_percent_encode(scope, SCOPE).to_string();
            let Some(rest) = left.checked_sub(comma + scope.len()) else {
                break;
            };
            left = rest;
            if comma == 1 {
                scopes.push(',');
            }
            scopes.push_str(&scope);
        }
        headers.insert(SCOPES, HeaderValue::try_from(scopes).ok()?);
        Some(headers)
    }
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity<'a>(email: &'a str, scopes: &'a [Arc<str>]) -> Identity<'a> {
        Identity {
            kind: "user",
            user_id: "0190a8f2-0000-7000-8000-000000000001".to_owned(),
            authress_user_id: "user_ada",
            email,
            role: "member",
            account_id: "0190a8f2-0000-7000-8000-000000000002".to_owned(),
            tenant_id: "tenant_acme",
            scopes,
        }
    }

    fn scopes(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn size(headers: &HeaderMap) -> usize {
        headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum()
    }

    #[test]
    fn all_are_sent_even_if_empty() {
        let headers = identity("", &[]).headers().unwrap();
        assert_eq!(headers.len(), 8);
        assert_eq!(headers["x-vestibule-kind"], "user");
        assert_eq!(
            headers["x-vestibule-user-id"],
            "0190a8f2-0000-7000-8000-000000000001"
        );
        assert_eq!(headers["x-vestibule-authress-user-id"], "user_ada");
        assert_eq!(headers["x-vestibule-email"], "");
        assert_eq!(headers["x-vestibule-role"], "member");
        assert_eq!(
            headers["x-vestibule-account-id"],
            "0190a8f2-0000-7000-8000-000000000002"
        );
        assert_eq!(headers["x-vestibule-tenant-id"], "tenant_acme");
        assert_eq!(headers["x-vestibule-scopes"], "");
    }

    #[test]
    fn values_are_encoded() {
        let scopes = scopes(&["openid", "a b", "x,admin", "50%", "é"]);
        let headers = identity("a\r\nX-Vestibule-Role: owner@acme.example\u{7f}", &scopes)
            .headers()
            .unwrap();
        assert_eq!(
            headers["x-vestibule-email"],
            "a%0D%0AX-Vestibule-Role:%20owner@acme.example%7F"
        );
        assert_eq!(
            headers["x-vestibule-scopes"],
            "openid,a%20b,x%2Cadmin,50%25,%C3%A9"
        );
    }

    #[test]
    fn what_is_too_long_gives_way_whole() {
        let long: Vec<Arc<str>> = (0..2_000).map(|n| format!("scope{n:04}").into()).collect();
        let headers = identity("ada@acme.example", &long).headers().unwrap();
        assert!(size(&headers) < LIMIT);
        assert!(size(&headers) > LIMIT - 11, "as many as fit");
        assert_eq!(headers["x-vestibule-email"], "ada@acme.example");
        let sent = headers["x-vestibule-scopes"].to_str().unwrap();
        assert!(
            sent.split(',')
                .zip(&long)
                .all(|(sent, scope)| sent == &**scope)
        );

        let email = "é".repeat(1_000);
        let some = scopes(&["openid"]);
        let headers = identity(&email, &some).headers().unwrap();
        assert_eq!(headers["x-vestibule-email"], "");
        assert_eq!(headers["x-vestibule-scopes"], "openid");

        // A long scope in between ends the list: nothing is taken out of its order.
        let odd = scopes(&["openid", &"x".repeat(LIMIT), "profile"]);
        let headers = identity("", &odd).headers().unwrap();
        assert_eq!(headers["x-vestibule-scopes"], "openid");
    }

    #[test]
    fn what_may_not_be_left_out_must_fit() {
        let role = "r".repeat(LIMIT);
        let mut whole = identity("", &[]);
        whole.role = &role;
        assert!(whole.headers().is_none());
    }
}
