//! Faults done to an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::reply::{Body, Content, Reply};
use crate::faults::Fault;
use crate::listener::Abort;
use crate::sandbox::Shared;

/// How much follows an oversized answer: more than any sensible cap.
const EXCESS: usize = 8 << 20;
const CHUNK: usize = 64 << 10;

const PAGE: &str = "<!doctype html><html><title>Sign in</title><body>Please sign in.</body></html>";

/// What is answered instead of the truth.
pub(crate) fn instead(fault: &Fault) -> Option<Reply> {
    Some(match fault {
        Fault::Status(status) => Reply::error(*status, title(*status)),
        Fault::Html => Reply::text("text/html; charset=utf-8", PAGE),
        Fault::NotJson => Reply::text("application/json", "keys: none, this is no JSON"),
        Fault::Redirect(to) => Reply::empty(302).header("location", to),
        Fault::EmptyKeys => Reply::json(json!({ "keys": [] })),
        Fault::Body(text) => Reply::text("application/json", text),
        Fault::Hang
        | Fault::Delay(_)
        | Fault::Reset
        | Fault::Truncated
        | Fault::Oversized
        | Fault::Trickle(_)
        | Fault::WrongId
        | Fault::Header(..) => return None,
    })
}

/// The truth, spoilt.
pub(crate) fn after(fault: &Fault, mut reply: Reply, shared: &Arc<Shared>) -> Response<Body> {
    match fault {
        Fault::WrongId => {
            if let Content::Json(value) = &mut reply.content {
                mistake(value);
            }
            reply.finish(shared)
        }
        Fault::Header(name, value) => reply.header(name, value).finish(shared),
        Fault::Truncated => {
            let (kind, bytes) = reply.bytes(shared);
            let length = HeaderValue::from(bytes.len());
            let half = bytes.slice(..bytes.len() / 2);
            let end = Abort::other("a fault breaks the answer off");
            let parts = stream::iter([Ok(Frame::data(half)), Err(end)]);
            // The pause lets the half reach the client before the connection ends.
            let parts = parts.then(|part| async {
                if part.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                part
            });
            let body = StreamBody::new(parts).boxed_unsync();
            let mut response = reply.finish_with(kind, body);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
            response
        }
        Fault::Oversized => {
            let (kind, bytes) = reply.bytes(shared);
            let spaces = Bytes::from(vec![b' '; CHUNK]);
            let parts = std::iter::once(bytes)
                .chain(std::iter::repeat_n(spaces, EXCESS / CHUNK))
                .map(|part| Ok(Frame::data(part)));
            reply.finish_with(kind, StreamBody::new(stream::iter(parts)).boxed_unsync())
        }
        Fault::Trickle(pause) => {
            let (kind, bytes) = reply.bytes(shared);
            let pause = *pause;
            let parts = stream::iter(0..bytes.len()).then(move |at| {
                let byte = bytes.slice(at..=at);
                async move {
                    tokio::time::sleep(pause).await;
                    Ok(Frame::data(byte))
                }
            });
            reply.finish_with(kind, StreamBody::new(parts).boxed_unsync())
        }
        _ => reply.finish(shared),
    }
}

/// Puts another in the place of whom the answer is about.
fn mistake(value: &mut Value) {
    let Some(members) = value.as_object_mut() else {
        return;
    };
    for name in ["userId", "tenantId", "clientId"] {
        if let Some(id) = members.get_mut(name) {
            *id = json!("somebody_else");
        }
    }
    if let Some(Value::Array(keys)) = members.get_mut("keys") {
        for (number, key) in keys.iter_mut().enumerate() {
            if let Some(kid) = key.get_mut("kid") {
                *kid = json!(format!("other{number}"));
            }
        }
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "The request is not valid",
        401 => "The caller is not known",
        403 => "The caller has not been granted this",
        404 => "There is no such resource",
        429 => "Too many requests",
        503 => "The service is not available at present",
        500.. => "An unexpected error has occurred",
        _ => "The request was not carried out",
    }
}
