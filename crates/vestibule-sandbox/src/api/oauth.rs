//! `POST /api/authentication/oauth/tokens` with `grant_type=client_credentials`.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::route::parse_form;
use crate::sandbox::{Shared, account_id};
use crate::tokens;

/// Gives a token that the account signs. The secret is the client's access key, or its last part.
pub(crate) fn token(
    shared: &Arc<Shared>,
    content_type: Option<&HeaderValue>,
    body: &Bytes,
) -> Result<Reply, Reply> {
    let fields = fields(content_type, body)?;
    let field = |name| fields.get(name).and_then(Value::as_str).unwrap_or("");
    match field("grant_type") {
        "client_credentials" | "" => {}
        _ => {
            return Err(Reply::bad_request(
                "The sandbox knows only the grant client_credentials",
            ));
        }
    }
    let client_id = field("client_id");
    if !is_secret_of(shared, client_id, field("client_secret")) {
        return Err(Reply::unauthorized(
            "client_id and client_secret do not belong to a service client's published key",
        ));
    }
    Ok(Reply::json(json!({
        "access_token": tokens::oauth(shared, client_id).mint(),
        "token_type": "Bearer",
        "expires_in": 86_400,
    })))
}

fn fields(content_type: Option<&HeaderValue>, body: &Bytes) -> Result<Map<String, Value>, Reply> {
    let kind = content_type.and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        let pairs = parse_form(&String::from_utf8_lossy(body));
        let pairs = pairs.into_iter();
        return Ok(pairs.map(|(name, value)| (name, value.into())).collect());
    }
    serde_json::from_slice(body).map_err(|error| Reply::bad_request(error.to_string()))
}

fn is_secret_of(shared: &Shared, client_id: &str, secret: &str) -> bool {
    let world = shared.world();
    let Some(client) = world.clients.get(client_id) else {
        return false;
    };
    let key = client.keys.signing();
    // A key that was withdrawn opens nothing, even if it is still the newest.
    client.keys.get(key.kid()).is_some()
        && (secret == key.access_key(client_id, account_id()) || secret == key.pkcs8())
}
