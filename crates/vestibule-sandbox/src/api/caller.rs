//! Who calls: the bearer token of an API call, verified against the sandbox's own keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::reply::Reply;
use crate::sandbox::{self, Shared};

/// Clock difference allowed, in seconds.
const LEEWAY: i64 = 60;

/// A recognised caller.
#[derive(Debug)]
pub(crate) enum Caller {
    /// A service client: its id and what it may do.
    Client {
        api_access: bool,
        permission_checks: bool,
    },
    /// A user, who may see himself.
    User(String),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: serde_json::Value,
    #[serde(default)]
    exp: Option<i64>,
}

impl Caller {
    /// Verifies the bearer token. A refusal says what is wrong: here the reader is a developer
    /// with a token in hand, not an attacker.
    pub(crate) fn recognise(shared: &Shared, headers: &HeaderMap) -> Result<Self, Reply> {
        let value = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| Reply::unauthorized("No Authorization header was sent"))?;
        let (scheme, token) = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or_else(|| Reply::unauthorized("The Authorization header holds no bearer token"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Reply::unauthorized(
                "The Authorization header is of another scheme than Bearer",
            ));
        }
        let parts: Vec<&str> = token.trim().split('.').collect();
        let [header, claims, signature] = *parts.as_slice() else {
            return Err(Reply::unauthorized(match parts.len() {
                4 => "An access key was sent; a token signed with it is wanted",
                _ => "The token has not three parts",
            }));
        };
        let unverified_header: Header =
            read(header).ok_or_else(|| Reply::unauthorized("The token's header cannot be read"))?;
        let unverified_claims: Claims =
            read(claims).ok_or_else(|| Reply::unauthorized("The token's claims cannot be read"))?;
        if unverified_header.alg != "EdDSA" {
            return Err(Reply::unauthorized("The token's algorithm is not EdDSA"));
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| Reply::unauthorized("The token's signature is not base64url"))?;
        let message = token
            .trim()
            .rsplit_once('.')
            .map_or("", |(message, _)| message);

        let world = shared.world();
        let client_prefix = format!("{}/v1/clients/", shared.url);
        let (keys, client) = if let Some(id) = unverified_claims.iss.strip_prefix(&client_prefix) {
            let id = percent_decode_str(id).decode_utf8_lossy();
            let client = world.clients.get(id.as_ref()).ok_or_else(|| {
                Reply::unauthorized("The token's issuer is no service client of this account")
            })?;
            (&client.keys, Some(&client.client))
        } else if unverified_claims.iss == shared.url {
            (&world.account_keys, None)
        } else {
            return Err(Reply::unauthorized(format!(
                "The token's issuer is not of this account: {} or {client_prefix}{{id}} is wanted",
                shared.url
            )));
        };
        let key = keys
            .get(&unverified_header.kid)
            .ok_or_else(|| Reply::unauthorized("The token's issuer publishes no such key"))?;
        if !key.verifies(message.as_bytes(), &signature) {
            return Err(Reply::unauthorized("The token's signature is wrong"));
        }
        let claims = unverified_claims;
        let now = shared.clock.now();
        if claims
            .exp
            .is_none_or(|exp| exp < now.saturating_sub(LEEWAY))
        {
            return Err(Reply::unauthorized("The token has expired or never does"));
        }
        match client {
            None => Ok(Self::User(claims.sub)),
            Some(client) if claims.sub != client.id => Err(Reply::unauthorized(
                "The token's subject is not the client that signed it",
            )),
            Some(_) if claims.aud != sandbox::machine_audience() => {
                Err(Reply::unauthorized(format!(
                    "The token's audience is not {}",
                    sandbox::machine_audience()
                )))
            }
            Some(client) => Ok(Self::Client {
                api_access: client.api_access,
                permission_checks: client.grant_user_permissions_access,
            }),
        }
    }

    /// For what only a client with access to the API may do.
    pub(crate) fn must_have_access(&self) -> Result<(), Reply> {
        match self {
            Self::Client {
                api_access: true, ..
            } => Ok(()),
            _ => Err(refused()),
        }
    }

    /// For what a user may do about himself.
    pub(crate) fn must_see_user(&self, user_id: &str) -> Result<(), Reply> {
        match self {
            Self::User(own) if own == user_id => Ok(()),
            _ => self.must_have_access(),
        }
    }

    /// For permission checks.
    pub(crate) fn must_check_permissions(&self, user_id: &str) -> Result<(), Reply> {
        match self {
            Self::Client {
                permission_checks: true,
                ..
            } => Ok(()),
            _ => self.must_see_user(user_id),
        }
    }
}

fn refused() -> Reply {
    Reply::forbidden("The caller has not been granted this")
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
