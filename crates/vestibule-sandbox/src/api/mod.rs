//! The HTTP surface: the Authress API, and the sandbox's own control under `/_sandbox`.
//!
//! A request goes through [`answer`]: its [`Route`] is found, the call is recorded, a fault may
//! befall it, the caller is recognised, and the endpoint answers.

mod caller;
mod clients;
mod keys;
mod oauth;
mod page;
mod reply;
mod route;
mod spoil;
mod tenants;
mod users;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

pub(crate) use reply::{Body, Reply};
pub(crate) use route::{Query, decode_path};

use crate::calls::Call;
use crate::control;
use crate::faults::Fault;
use crate::listener::Abort;
use crate::sandbox::Shared;
use caller::Caller;
use route::Route;

/// Largest request body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// Answers one request, or fails in order to close the connection without an answer.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let path = request.uri().path().to_owned();
    if let Some(rest) = control::rest_of_path(&path) {
        return Ok(control::answer(&shared, rest, request)
            .await
            .finish(&shared));
    }
    let route = Route::find(&path);
    let endpoint = route.endpoint();
    shared.calls.record(Call {
        method: request.method().to_string(),
        path: path.clone(),
        query: request.uri().query().map(str::to_owned),
        endpoint,
        authorized: request.headers().contains_key(http::header::AUTHORIZATION),
        traceparent: request
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
    });
    let mishap = shared.faults.befall(endpoint, &path);
    let Some(mishap) = mishap else {
        return Ok(truth(&shared, &route, request).await.finish(&shared));
    };
    match mishap.fault {
        Fault::Reset => return Err(Abort::other("a fault closes the connection")),
        Fault::Hang => mishap.healed.cancelled().await,
        Fault::Delay(delay) => tokio::time::sleep(delay).await,
        _ => {}
    }
    // Only a fault that tells the truth in part needs the true answer; the others must not
    // delete or create anything on the way.
    if let Some(lie) = spoil::instead(&mishap.fault) {
        return Ok(lie.finish(&shared));
    }
    let reply = truth(&shared, &route, request).await;
    Ok(spoil::after(&mishap.fault, reply, &shared))
}

async fn truth(shared: &Arc<Shared>, route: &Route, request: Request<Incoming>) -> Reply {
    match respond(shared, route, request).await {
        Ok(reply) | Err(reply) => reply,
    }
}

/// The answer of a healthy provider. Both arms are answers: `Err` is the refusals' short way out.
async fn respond(
    shared: &Arc<Shared>,
    route: &Route,
    request: Request<Incoming>,
) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    let query = Query::parse(head.uri.query());
    let method = &head.method;
    // What needs no caller.
    match (method, route) {
        (&Method::GET, Route::Jwks) => return Ok(keys::account(shared)),
        (&Method::GET, Route::ClientJwks(id)) => return keys::client(shared, id),
        (&Method::GET, Route::Discovery) => return Ok(keys::discovery(shared)),
        (&Method::POST, Route::OauthTokens) => {
            let kind = head.headers.get(http::header::CONTENT_TYPE).cloned();
            let body = read(body).await?;
            return oauth::token(shared, kind.as_ref(), &body);
        }
        (_, Route::Other) => return Err(Reply::not_found("There is no such resource")),
        (_, Route::Malformed) => return Err(Reply::bad_request("The path is not percent-encoded")),
        _ => {}
    }
    let caller = Caller::recognise(shared, &head.headers)?;
    match (method, route) {
        (&Method::GET, Route::User(id)) => users::get(shared, &caller, id),
        (&Method::DELETE, Route::User(id)) => users::delete(shared, &caller, id),
        (&Method::GET, Route::Users) => users::list(shared, &caller, &query),
        (&Method::GET, Route::Permission(grant)) => users::permission(shared, &caller, grant),
        (&Method::GET, Route::Tenant(id)) => tenants::get(shared, &caller, id),
        (&Method::GET, Route::Tenants) => tenants::list(shared, &caller, &query),
        (&Method::POST, Route::Tenants) => tenants::create(shared, &caller, &read(body).await?),
        (&Method::PUT, Route::Tenant(id)) => {
            tenants::update(shared, &caller, id, &read(body).await?)
        }
        (&Method::DELETE, Route::Tenant(id)) => tenants::delete(shared, &caller, id),
        (&Method::PATCH, Route::TenantUsers(id)) => {
            tenants::link(shared, &caller, id, &read(body).await?)
        }
        (&Method::GET, Route::Client(id)) => clients::get(shared, &caller, id),
        (&Method::DELETE, Route::Client(id)) => clients::delete(shared, &caller, id),
        (&Method::GET, Route::Clients) => clients::list(shared, &caller, &query),
        (&Method::POST, Route::AccessKeys(id)) => {
            clients::create_key(shared, &caller, id, &read(body).await?)
        }
        (&Method::DELETE, Route::AccessKey(id, kid)) => {
            clients::delete_key(shared, &caller, id, kid)
        }
        _ => Err(Reply::error(405, "This method is not allowed here")),
    }
}

/// Reads a request's body, up to a limit.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Reply> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(Reply::error(413, "The body is too large or broke off")),
    }
}
