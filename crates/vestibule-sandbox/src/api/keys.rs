//! The key sets and the discovery document. Nobody has to say who he is for them.

use serde_json::json;

use super::reply::Reply;
use crate::sandbox::Shared;

pub(crate) fn account(shared: &Shared) -> Reply {
    Reply::json(shared.world().account_keys.document())
}

pub(crate) fn client(shared: &Shared, id: &str) -> Result<Reply, Reply> {
    let world = shared.world();
    let client = world.clients.get(id);
    let client = client.ok_or_else(|| Reply::not_found("There is no such service client"))?;
    Ok(Reply::json(client.keys.document()))
}

pub(crate) fn discovery(shared: &Shared) -> Reply {
    let url = &shared.url;
    Reply::json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/.well-known/openid-configuration/jwks"),
        "token_endpoint": format!("{url}/api/authentication/oauth/tokens"),
        "authorization_endpoint": format!("{url}/api/authentication"),
    }))
}
