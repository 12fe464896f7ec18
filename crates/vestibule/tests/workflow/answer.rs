//! What came back, and what contract §5 says about its form: written here a second time.

use axum::body::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};
use serde_json::Value;
use uuid::Uuid;
use vestibule::{Code, Reason};

use crate::entrance::Seen;

pub const BARE: &str = r#"Bearer realm="vestibule""#;
pub const INVALID_REQUEST: &str = r#"Bearer realm="vestibule", error="invalid_request""#;
pub const INVALID_TOKEN: &str = r#"Bearer realm="vestibule", error="invalid_token""#;
/// RFC 6750 §3.1.
pub const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="vestibule", error="insufficient_scope""#;

/// An answer, with what the layer's observer was told.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub seen: Seen,
}

/// The form of a problem.
struct Form {
    status: u16,
    challenge: Option<&'static str>,
    retry_after: bool,
}

impl Answer {
    pub fn new(parts: Parts, body: Bytes, seen: Seen) -> Self {
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            seen,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.status.is_success()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The value of a header that occurs once.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "a header occurs twice");
        Some(value.to_str().unwrap())
    }

    /// Expects success; gives the body.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.is_ok(), "{}", self.shown());
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(self.seen.reason, None);
        self.json()
    }

    /// Expects a refusal for exactly this reason, in every respect as the contract writes it.
    #[track_caller]
    pub fn refused(&self, reason: Reason) {
        if let Err(problem) = self.try_refused(reason) {
            panic!("{problem}");
        }
    }

    /// As [`Answer::refused`], for tables.
    pub fn try_refused(&self, reason: Reason) -> Result<(), String> {
        if self.seen.reason != Some(reason) {
            return Err(format!("not refused for {reason}: {}", self.shown()));
        }
        self.try_problem(reason.code())
    }

    /// Expects a problem with this code, in every respect as the contract writes it.
    #[track_caller]
    pub fn problem(&self, code: Code) {
        if let Err(problem) = self.try_problem(code) {
            panic!("{problem}");
        }
    }

    fn try_problem(&self, code: Code) -> Result<(), String> {
        let form = form(code, self.status);
        let body = self.json();
        let id = body["request_id"].as_str().unwrap_or_default();
        let version = Uuid::parse_str(id).ok().map(|id| id.get_version_num());
        let retry: Option<u32> = self
            .header(header::RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok());
        let members = |value: &Value| -> Vec<String> {
            value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let checks = [
            ("status", self.status.as_u16() == form.status),
            ("status in the body", body["status"] == form.status),
            ("code in the body", body["code"] == code.as_str()),
            (
                "code in the header",
                self.header("x-vestibule-code") == Some(code.as_str()),
            ),
            (
                "challenge",
                self.header(header::WWW_AUTHENTICATE) == form.challenge,
            ),
            (
                "retry-after",
                retry.is_some_and(|seconds| seconds > 0) == form.retry_after,
            ),
            (
                "cache-control",
                self.header(header::CACHE_CONTROL) == Some("no-store"),
            ),
            (
                "content type",
                self.header(header::CONTENT_TYPE) == Some("application/problem+json"),
            ),
            (
                "title",
                body["title"]
                    .as_str()
                    .is_some_and(|title| !title.is_empty()),
            ),
            ("type", body["type"].is_string()),
            (
                "request id",
                version == Some(7) && id == self.seen.request_id,
            ),
            (
                "members",
                members(&body) == ["code", "request_id", "status", "title", "type"],
            ),
        ];
        let wrong: Vec<&str> = checks
            .iter()
            .filter(|(_, right)| !right)
            .map(|(name, _)| *name)
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{code}: wrong {wrong:?}: {}", self.shown())),
        }
    }

    pub fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!(
            "{} {:?} {:?} {body}",
            self.status, self.seen.reason, self.headers
        )
    }
}

/// Contract §5. The status matters for the one code that can have two.
fn form(code: Code, status: StatusCode) -> Form {
    let (expected, challenge) = match code {
        Code::MissingToken => (401, Some(BARE)),
        Code::MalformedAuthorization => (401, Some(INVALID_REQUEST)),
        Code::InvalidToken
        | Code::TokenExpired
        | Code::UnknownUser
        | Code::UnknownTenant
        | Code::UnknownAccount
        | Code::UnknownClient
        | Code::TenantMismatch => (401, Some(INVALID_TOKEN)),
        Code::ProviderUnavailable if status == 503 => (503, None),
        Code::ProviderUnavailable => (401, Some(INVALID_TOKEN)),
        Code::InsufficientScope => (403, Some(INSUFFICIENT_SCOPE)),
        Code::UserSuspended
        | Code::AccountSuspended
        | Code::ClientSuspended
        | Code::InsufficientRole => (403, None),
        Code::InvalidRequest => (400, None),
        Code::NotFound => (404, None),
        Code::MethodNotAllowed => (405, None),
        Code::RequestTooLarge => (413, None),
        Code::TooManyRequests => (429, None),
        Code::InternalError => (500, None),
        Code::StorageUnavailable => (503, None),
        code => panic!("contract §5 has no {code}"),
    };
    Form {
        status: expected,
        challenge,
        retry_after: expected == 503 || expected == 429,
    }
}
