//! `/v1/clients`: read, list, delete, and their access keys.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::caller::Caller;
use super::page::Listing;
use super::reply::Reply;
use super::route::Query;
use crate::keys::PublishedKey;
use crate::records::verification_key;
use crate::sandbox::{Shared, account_id};
use crate::world::Registered;

const LISTING: Listing = Listing {
    path: "/v1/clients",
    member: "clients",
    limit: 20,
    links: true,
};
/// The provider's limit of simultaneous keys.
const KEYS_LIMIT: usize = 5;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedKey {
    public_key: Option<String>,
}

pub(crate) fn get(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let world = shared.world();
    let Registered { client, keys } = world.clients.get(id).ok_or_else(unknown)?;
    Ok(Reply::json(client.record(keys)))
}

pub(crate) fn list(shared: &Shared, caller: &Caller, query: &Query) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let world = shared.world();
    LISTING.page(shared, query, &world.clients, |registered| {
        Some(registered.client.record(&registered.keys))
    })
}

pub(crate) fn delete(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    shared.world().clients.remove(id).ok_or_else(unknown)?;
    Ok(Reply::empty(204))
}

pub(crate) fn create_key(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    body: &Bytes,
) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let wanted = match body.is_empty() {
        true => WantedKey::default(),
        false => {
            serde_json::from_slice(body).map_err(|error| Reply::bad_request(error.to_string()))?
        }
    };
    let mut world = shared.world();
    let Registered { keys, .. } = world.clients.get_mut(id).ok_or_else(unknown)?;
    if keys.published().len() >= KEYS_LIMIT {
        return Err(Reply::bad_request(format!(
            "The client has {KEYS_LIMIT} keys; delete one first"
        )));
    }
    let issued = keys.issue();
    let Some(public) = wanted.public_key else {
        let mut answer = verification_key(&issued.published());
        if let Some(members) = answer.as_object_mut() {
            let access_key = issued.access_key(id, account_id());
            members.insert("clientId".to_owned(), json!(id));
            members.insert("clientSecret".to_owned(), json!(access_key));
            members.insert("accessKey".to_owned(), json!(access_key));
        }
        return Ok(Reply::created(answer));
    };
    // The caller keeps the private key: the one just issued gives its id alone.
    keys.remove(issued.kid());
    let key = PublishedKey::from_spki(issued.kid().to_owned(), &public)
        .ok_or_else(|| Reply::bad_request("publicKey is no base64 Ed25519 public key"))?;
    let mut answer = verification_key(&key);
    if let Some(members) = answer.as_object_mut() {
        members.insert("clientId".to_owned(), json!(id));
    }
    keys.publish(key);
    Ok(Reply::created(answer))
}

pub(crate) fn delete_key(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    kid: &str,
) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let mut world = shared.world();
    let Registered { keys, .. } = world.clients.get_mut(id).ok_or_else(unknown)?;
    match keys.remove(kid) {
        true => Ok(Reply::empty(204)),
        false => Err(Reply::not_found("The client has no such key")),
    }
}

fn unknown() -> Reply {
    Reply::not_found("There is no such service client")
}
