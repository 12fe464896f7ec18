//! What answers where no endpoint does, and to requests that are too large for any.
//!
//! None of these looks at a token: a stranger learns the same as everybody.

use axum::{
    extract::Request,
    http::header::CONTENT_LENGTH,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use vestibule::{error::Code, http::Problem};

/// The largest body that a request may announce. No endpoint reads one: a forward-auth proxy may
/// send along what it received, and larger than this it sends whole uploads to the wrong place.
const BODY_BYTES: u64 = 1024 * 1024;

/// An unknown path.
pub(crate) async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

/// A known path and a method that it does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// Refuses requests that announce a body above [`BODY_BYTES`]. A body that announces no length is
/// never read: the connection ends with the answer.
pub(crate) async fn no_large_bodies(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES) {
        Problem::new(Code::RequestTooLarge).into_response()
    } else {
        next.run(request).await
    }
}
