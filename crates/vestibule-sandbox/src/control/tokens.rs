//! Tokens over HTTP.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::Reply;
use crate::keys::SigningKey;
use crate::sandbox::Shared;
use crate::tokens;

/// What is wanted of a token. Everything but whose it is can be left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Recipe {
    user: Option<String>,
    client: Option<String>,
    #[serde(default)]
    kind: Kind,
    tenant: Option<String>,
    at: Option<i64>,
    expires_in: Option<i64>,
    /// Members to add or replace; null leaves one out.
    #[serde(default)]
    header: Map<String, Value>,
    /// Likewise.
    #[serde(default)]
    claims: Map<String, Value>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    /// `account`, `stranger` or the id of a service client. `kid` stays as it is.
    sign_with: Option<String>,
    #[serde(default)]
    tamper_signature: bool,
    #[serde(default)]
    unsigned: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Access,
    /// The account's token for a client.
    Oauth,
    /// Needs `user` and `client`.
    LoginCode,
    IdToken,
}

/// The token of a user or client that exists, as bare text: made to be used within a shell line.
pub(crate) fn usual(shared: &Arc<Shared>, id: &str) -> Result<Reply, Reply> {
    let (is_client, is_user) = {
        let world = shared.world();
        (world.clients.contains_key(id), world.users.contains_key(id))
    };
    let token = match (is_client, is_user) {
        (true, _) => tokens::client(shared, id),
        (false, true) => tokens::user(shared, id),
        (false, false) => {
            return Err(Reply::not_found("There is no such user or service client"));
        }
    };
    Ok(Reply::text("text/plain; charset=utf-8", token.mint()))
}

pub(crate) fn mint(shared: &Arc<Shared>, recipe: &Recipe) -> Result<Reply, Reply> {
    let user = recipe.user.as_deref();
    let client = recipe.client.as_deref();
    let mut token = match (&recipe.kind, user, client) {
        (Kind::Access, Some(user), None) => tokens::user(shared, user),
        (Kind::Access, None, Some(client)) => tokens::client(shared, client),
        (Kind::Oauth, None, Some(client)) => tokens::oauth(shared, client),
        (Kind::LoginCode, Some(user), Some(client)) => tokens::login_code(shared, client, user),
        (Kind::IdToken, Some(user), None) => tokens::id_token(shared, user),
        _ => {
            return Err(Reply::bad_request(
                "an access token wants user or client, oauth client, id_token user, \
                 login_code both",
            ));
        }
    };
    if let Some(tenant) = &recipe.tenant {
        token = token.tenant(tenant);
    }
    if let Some(at) = recipe.at {
        token = token.at(at);
    }
    if let Some(seconds) = recipe.expires_in {
        token = token.expires_in(seconds);
    }
    if recipe.unsigned {
        token = token.unsigned();
    }
    for (name, value) in &recipe.header {
        token = match value {
            Value::Null => token.without_header(name),
            value => token.header(name, value.clone()),
        };
    }
    for (name, value) in &recipe.claims {
        token = match value {
            Value::Null => token.without_claim(name),
            value => token.claim(name, value.clone()),
        };
    }
    if let Some(text) = &recipe.raw_header {
        token = token.raw_header(text);
    }
    if let Some(text) = &recipe.raw_claims {
        token = token.raw_claims(text);
    }
    match recipe.sign_with.as_deref() {
        None => {}
        Some("account") => {
            let key = shared.world().account_keys.signing().clone();
            token = token.sign_with(&key);
        }
        Some("stranger") => token = token.sign_with(&SigningKey::stranger("stranger")),
        Some(client) => token = token.sign_with(&tokens::client_key(shared, client)),
    }
    if recipe.tamper_signature {
        token = token.tamper_signature();
    }
    Ok(Reply::json(json!({ "token": token.mint() })))
}
