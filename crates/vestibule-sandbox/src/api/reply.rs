//! Answers, and the error bodies of the provider.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::listener::{Abort, never};
use crate::sandbox::Shared;

/// The body of an answer; one that fails breaks the connection off.
pub(crate) type Body = UnsyncBoxBody<Bytes, Abort>;

/// An answer before it is written: spoiling one means changing this.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) enum Content {
    Nothing,
    Json(Value),
    /// A content type and a text.
    Text(&'static str, String),
    /// An error body, whose id is given out when the answer is written.
    Error(String),
}

impl Reply {
    pub(crate) fn json(value: Value) -> Self {
        Self::with(200, Content::Json(value))
    }

    pub(crate) fn created(value: Value) -> Self {
        Self::with(201, Content::Json(value))
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::with(status, Content::Nothing)
    }

    pub(crate) fn text(content_type: &'static str, text: impl Into<String>) -> Self {
        Self::with(200, Content::Text(content_type, text.into()))
    }

    /// The provider's error body. The title is for people and the code goes with the status.
    pub(crate) fn error(status: u16, title: impl Into<String>) -> Self {
        Self::with(status, Content::Error(title.into()))
    }

    pub(crate) fn bad_request(title: impl Into<String>) -> Self {
        Self::error(400, title)
    }

    pub(crate) fn unauthorized(title: impl Into<String>) -> Self {
        Self::error(401, title)
    }

    pub(crate) fn forbidden(title: impl Into<String>) -> Self {
        Self::error(403, title)
    }

    pub(crate) fn not_found(title: impl Into<String>) -> Self {
        Self::error(404, title)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The content type and the bytes.
    pub(crate) fn bytes(&self, shared: &Shared) -> (Option<&'static str>, Bytes) {
        match &self.content {
            Content::Nothing => (None, Bytes::new()),
            Content::Json(value) => (Some("application/json"), value.to_string().into()),
            Content::Text(kind, text) => (Some(kind), text.clone().into()),
            Content::Error(title) => {
                let number = shared.errors.fetch_add(1, Ordering::Relaxed);
                let body = json!({
                    "title": title,
                    "errorCode": error_code(self.status),
                    "errorId": format!("sandbox-{:06}", number.saturating_add(1)),
                });
                (Some("application/json"), body.to_string().into())
            }
        }
    }

    /// Writes the answer.
    pub(crate) fn finish(self, shared: &Shared) -> Response<Body> {
        let (kind, bytes) = self.bytes(shared);
        self.finish_with(kind, Full::new(bytes).map_err(never).boxed_unsync())
    }

    /// Writes the answer with another body.
    pub(crate) fn finish_with(&self, kind: Option<&'static str>, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in &self.headers {
            // Of a fault's header that HTTP cannot carry, nothing is sent.
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::try_from(value.as_str()),
            ) {
                headers.append(name, value);
            }
        }
        response
    }

    fn with(status: u16, content: Content) -> Self {
        Self {
            status,
            content,
            headers: Vec::new(),
        }
    }
}

/// The provider's codes are stable but nowhere listed in full; these are of their form.
fn error_code(status: u16) -> &'static str {
    match status {
        400 => "InvalidRequest",
        401 => "Unauthorized",
        402 => "PaymentRequired",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        413 => "PayloadTooLarge",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        500.. => "InternalServerError",
        _ => "UnexpectedStatus",
    }
}
