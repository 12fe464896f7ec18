//! Control over HTTP.
use crate::api::Reply;
use crate::sandbox::Shared;
use http::Request;
use hyper::body::Incoming;
use std::sync::Arc;
pub(crate) fn rest_of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/_sandbox")
}
pub(crate) async fn answer(
    _shared: &Arc<Shared>,
    _rest: &str,
    _request: Request<Incoming>,
) -> Reply {
    Reply::not_found("")
}
