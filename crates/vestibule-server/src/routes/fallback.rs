//! What answers where no endpoint does, and to requests that are too large for any.
//!
//! None of these looks at a token: a stranger learns the same as everybody.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::header::{CONTENT_LENGTH, EXPECT},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use vestibule::{error::Code, http::Problem};

/// The largest body that a request may announce. No endpoint reads one: a forward-auth proxy may
/// send along what it received, and larger than this it sends whole uploads to the wrong place.
const BODY_BYTES: u64 = 1024 * 1024;

/// What is read of bodies that nobody uses, and for how long. More lets a client keep us busy;
/// less, and one that sends a large body before it listens never hears that it was refused.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// An unknown path.
pub(crate) async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

/// A known path and a method that it does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// Refuses requests that announce a body above [`BODY_BYTES`].
///
/// No body is used, but what a client goes on sending is taken from it for a while: a connection
/// that is closed over unread data is reset, and the reset may overtake our answer.
pub(crate) async fn no_large_bodies(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    // Such a client waits for our word, and the refusal is it (RFC 9110 §10.1.1).
    let asks_first = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    if !body.is_end_stream() && !asks_first {
        tokio::spawn(discard(body));
    }
    if announced.is_some_and(|length| length > BODY_BYTES) {
        Problem::new(Code::RequestTooLarge).into_response()
    } else {
        next.run(Request::from_parts(parts, Body::empty())).await
    }
}

/// Reads a body to its end, or until enough was done: dropped before its end, it ends the
/// connection.
async fn discard(body: Body) {
    let mut left = DISCARD_BYTES;
    let mut chunks = body.into_data_stream();
    let reading = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                return;
            };
            left = rest;
        }
    };
    // In time or not: there is nobody to be told.
    drop(tokio::time::timeout(DISCARD_TIME, reading).await);
}
