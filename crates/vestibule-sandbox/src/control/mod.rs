//! Control over HTTP, under `/_sandbox`: what [`Sandbox`](crate::Sandbox) does, for shells and
//! other languages. The crate's documentation lists the routes.
//!
//! Whoever can mint any token must not be driven by a web page that happens to be open in the
//! developer's browser. Browsers send `Origin` with everything that could change something, and
//! a page that rebinds its own name to the loopback address cannot send a loopback `Host`.

mod requests;
mod tokens;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{self, Query, Reply};
use crate::calls::Endpoint;
use crate::records::{Client, Tenant, User};
use crate::sandbox::Shared;
use requests::{FaultOrder, Permission, Rotation, Time};

const ROOT: &str = "/_sandbox";

/// What follows `/_sandbox` in a path; none if the path is not under it.
pub(crate) fn rest_of_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

pub(crate) async fn answer(shared: &Arc<Shared>, rest: &str, request: Request<Incoming>) -> Reply {
    match respond(shared, rest, request).await {
        Ok(reply) | Err(reply) => reply,
    }
}

async fn respond(
    shared: &Arc<Shared>,
    rest: &str,
    request: Request<Incoming>,
) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    must_be_local(&head.headers)?;
    let body = api::read(body).await?;
    let query = Query::parse(head.uri.query());
    let parts = api::decode_path(rest).unwrap_or_default();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (head.method.as_str(), parts.as_slice()) {
        ("GET", [] | [""]) => Ok(Reply::text("text/plain; charset=utf-8", HELP)),
        ("GET", ["environment"]) => Ok(environment(shared)),
        ("GET", ["tokens", id]) => tokens::usual(shared, id),
        ("POST", ["tokens"]) => tokens::mint(shared, &read(&body)?),
        ("POST", ["users"]) => {
            let user: User = read(&body)?;
            shared.world().users.insert(user.id.clone(), user);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["users", id]) => removed(shared.world().users.remove(*id)),
        ("POST", ["tenants"]) => {
            let tenant: Tenant = read(&body)?;
            shared.world().tenants.insert(tenant.id.clone(), tenant);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["tenants", id]) => removed(shared.world().tenants.remove(*id)),
        ("POST", ["clients"]) => {
            shared.world().put_client(read::<Client>(&body)?);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["clients", id]) => removed(shared.world().clients.remove(*id)),
        ("POST", ["permissions"]) => {
            let grant = read::<Permission>(&body)?.grant();
            shared.world().grants.insert(grant);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["permissions"]) => {
            let grant = read::<Permission>(&body)?.grant();
            shared.world().grants.remove(&grant);
            Ok(Reply::empty(204))
        }
        ("POST", ["keys", "rotate"]) => rotate(shared, &read_or_default(&body)?),
        ("DELETE", ["keys", kid]) => remove_key(shared, query.get("clientId"), kid),
        ("POST", ["faults"]) => {
            let order: FaultOrder = read(&body)?;
            let target = order.target().map_err(Reply::bad_request)?;
            shared.faults.set(target, order.fault, order.times);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["faults"]) => {
            shared.faults.heal_all();
            Ok(Reply::empty(204))
        }
        ("GET", ["calls"]) => Ok(calls(shared)),
        ("DELETE", ["calls"]) => {
            shared.calls.reset();
            Ok(Reply::empty(204))
        }
        ("GET", ["now"]) => Ok(Reply::json(json!({ "seconds": shared.clock.now() }))),
        ("POST", ["now"]) => {
            shared.clock.set(Some(read::<Time>(&body)?.seconds));
            Ok(Reply::empty(204))
        }
        ("DELETE", ["now"]) => {
            shared.clock.set(None);
            Ok(Reply::empty(204))
        }
        _ if head.method == Method::OPTIONS => Err(Reply::error(405, "No other site may ask")),
        _ => Err(Reply::not_found(format!(
            "There is no such control; GET {ROOT} lists them"
        ))),
    }
}

/// Refuses what another site's page could have sent.
fn must_be_local(headers: &HeaderMap) -> Result<(), Reply> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Reply::forbidden("Web pages may not control the sandbox"));
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    match name {
        "localhost" | "127.0.0.1" | "[::1]" => Ok(()),
        _ => Err(Reply::forbidden(
            "The sandbox is controlled under a loopback name only",
        )),
    }
}

fn environment(shared: &Arc<Shared>) -> Reply {
    let variables: Map<String, Value> = shared
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    Reply::json(Value::Object(variables))
}

fn rotate(shared: &Shared, order: &Rotation) -> Result<Reply, Reply> {
    let mut world = shared.world();
    let keys = match &order.client_id {
        None => &mut world.account_keys,
        Some(id) => world
            .client_keys(id)
            .map_err(|unknown| Reply::not_found(unknown.to_string()))?,
    };
    let old = keys.signing().kid().to_owned();
    let kid = keys.rotate();
    if order.drop_old {
        keys.remove(&old);
    }
    Ok(Reply::json(json!({ "kid": kid })))
}

fn remove_key(shared: &Shared, client_id: Option<&str>, kid: &str) -> Result<Reply, Reply> {
    let mut world = shared.world();
    let keys = match client_id {
        None => &mut world.account_keys,
        Some(id) => world
            .client_keys(id)
            .map_err(|unknown| Reply::not_found(unknown.to_string()))?,
    };
    removed(keys.remove(kid).then_some(()))
}

fn calls(shared: &Shared) -> Reply {
    let counts: Map<String, Value> = Endpoint::ALL
        .iter()
        .filter_map(|endpoint| {
            let name = serde_json::to_value(endpoint).ok()?;
            let count = shared.calls.count(*endpoint);
            Some((name.as_str()?.to_owned(), count.into()))
        })
        .collect();
    Reply::json(json!({
        "total": shared.calls.total(),
        "endpoints": counts,
        "log": shared.calls.log(),
    }))
}

fn removed<T>(thing: Option<T>) -> Result<Reply, Reply> {
    match thing {
        Some(_) => Ok(Reply::empty(204)),
        None => Err(Reply::not_found("The sandbox has no such thing")),
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| Reply::bad_request(error.to_string()))
}

fn read_or_default<T: Default + for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Reply> {
    match body.is_empty() {
        true => Ok(T::default()),
        false => read(body),
    }
}

const HELP: &str = "\
GET    /_sandbox/environment       what a server needs, as JSON
GET    /_sandbox/tokens/{id}       a token of this user or service client, as bare text
POST   /_sandbox/tokens            any token: {\"user\" or \"client\", \"kind\", \"tenant\", \"header\", \"claims\", ...}
POST   /_sandbox/users             add or change: {\"userId\", \"name\", \"email\", \"picture\", \"tenantId\", \"members\"}
DELETE /_sandbox/users/{id}
POST   /_sandbox/tenants           {\"tenantId\", \"name\", \"connectionId\", \"domains\", \"members\"}
DELETE /_sandbox/tenants/{id}
POST   /_sandbox/clients           {\"clientId\", \"name\", \"grantTokenGeneration\", \"apiAccess\", \"tags\", \"members\"}
DELETE /_sandbox/clients/{id}
POST   /_sandbox/permissions       {\"userId\", \"resourceUri\", \"permission\"}
DELETE /_sandbox/permissions       the same
POST   /_sandbox/keys/rotate       {\"clientId\", \"dropOld\"}, both optional
DELETE /_sandbox/keys/{kid}        an account key; with ?clientId= one of that client
POST   /_sandbox/faults            {\"endpoint\" or \"path\" or neither, \"fault\", \"times\"}
DELETE /_sandbox/faults            heal everything
GET    /_sandbox/calls             counters and the latest calls
DELETE /_sandbox/calls             forget them
GET    /_sandbox/now               the sandbox's time
POST   /_sandbox/now               stop it at {\"seconds\"}
DELETE /_sandbox/now               let it run again
";
