//! The one door to the wire for everything that goes wrong (RFC 9457, RFC 6750 §3).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::RequestId;
use crate::{
    error::{Code, OutageStatus, Reason, Refusal},
    store::StoreError,
    tenancy::SessionError,
};

/// The header that repeats the body's `code`, for proxies that drop bodies.
pub(crate) const CODE_HEADER: HeaderName = HeaderName::from_static("x-vestibule-code");

/// An answer that says what went wrong, as `application/problem+json`.
///
/// What the client reads is literal text for its [`Code`]; the exact reason stays here. The
/// layer adds the request's id on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    refusal: Option<Refusal>,
    detail: Option<Arc<str>>,
    /// Whether the challenge must say what is wrong with the token.
    token_sent: bool,
}

#[derive(Serialize)]
struct Body9457<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: RequestId,
}

impl Problem {
    /// A problem that is no refusal of a caller.
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            refusal: None,
            detail: None,
            token_sent: false,
        }
    }

    /// With what to do about it (`detail`), in words. The client reads them as they are: nothing that
    /// it may not know.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Arc<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What the wire says.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Why a caller was refused, where that is what happened.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// What to do about it, where that is said.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The answer itself.
    pub(crate) fn render(self, outage: OutageStatus, request_id: RequestId) -> Response {
        let status = self.code.status_with(outage);
        let body = Body9457 {
            r#type: "about:blank",
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail.as_deref(),
            request_id,
        };
        // Text and numbers only: it cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CODE_HEADER, HeaderValue::from_static(self.code.as_str()));
        if let Some(challenge) = self.code.challenge_with(outage, self.token_sent) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = Code::retry_after(status) {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // The layer renders it again, with the request's own id and the configured status.
        self.render(OutageStatus::default(), RequestId::generate())
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, token_sent) = (refusal.code(), refusal.reason.token_sent());
        Self {
            code,
            refusal: Some(refusal),
            detail: None,
            token_sent,
        }
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Refusal::from(reason).into()
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::new(Code::NotFound),
            SessionError::BadCursor => Self::new(Code::InvalidRequest),
            SessionError::Unavailable(_) => {
                tracing::error!(%error, "a tenant session could not be used");
                Self::new(Code::StorageUnavailable)
            }
            _ => {
                tracing::error!(%error, "a tenant session failed");
                Self::new(Code::InternalError)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::new(Code::NotFound),
            StoreError::BadCursor => Self::new(Code::InvalidRequest),
            StoreError::Unavailable(_) => {
                tracing::error!(%error, "the directory did not answer");
                Self::new(Code::StorageUnavailable)
            }
            _ => {
                tracing::error!(%error, "the directory failed");
                Self::new(Code::InternalError)
            }
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::RequestTooLarge,
            _ => Code::InvalidRequest,
        })
    }
}

impl From<QueryRejection> for Problem {
    fn from(_: QueryRejection) -> Self {
        Self::new(Code::InvalidRequest)
    }
}

impl From<PathRejection> for Problem {
    /// A path that cannot name anything names nothing.
    fn from(_: PathRejection) -> Self {
        Self::new(Code::NotFound)
    }
}
