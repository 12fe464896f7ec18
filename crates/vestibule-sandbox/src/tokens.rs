//! The kinds of token that there are, each right in everything.

use std::sync::Arc;

use serde_json::json;

use crate::keys::SigningKey;
use crate::sandbox::{Sandbox, Shared, machine_audience};
use crate::token::TokenBuilder;

/// The application through which users sign in, unless a test says otherwise.
const APPLICATION: &str = "app_web";
/// The connection of users whose tenant names none.
const CONNECTION: &str = "con_default";
/// How long a login code lives, in seconds.
const LOGIN_CODE_LIFETIME: i64 = 60;

/// Tokens. Each method gives a builder of a token that is right in everything.
impl Sandbox {
    /// A user's access token: signed by the account, `aud` his tenant, `azp` its connection,
    /// `client_id` the application `app_web`.
    ///
    /// The user need not exist: then, as for a user without a tenant, `aud` is left out.
    pub fn user_token(&self, user_id: &str) -> TokenBuilder {
        user(&self.shared, user_id)
    }

    /// A service client's own token: signed by its newest key, published or not.
    ///
    /// The client need not exist: then the key is the one that it would get.
    pub fn client_token(&self, client_id: &str) -> TokenBuilder {
        client(&self.shared, client_id)
    }

    /// The token that the account signs for a service client in exchange for its secret
    /// (`client_credentials`). The provider does not document its claims: here `sub` and
    /// `client_id` are the client, the issuer is the account's, and `aud` is
    /// [`machine_audience`](Self::machine_audience).
    pub fn oauth_token(&self, client_id: &str) -> TokenBuilder {
        oauth(&self.shared, client_id)
    }

    /// A login code: `typ` is `oauth-authz-req+jwt`, signed by the client, with the user in
    /// `sub`, valid for 60 seconds. It is no access token.
    pub fn login_code(&self, client_id: &str, user_id: &str) -> TokenBuilder {
        login_code(&self.shared, client_id, user_id)
    }

    /// An id token: signed by the account, `aud` the application, with name, e-mail and picture.
    /// It is no access token.
    pub fn id_token(&self, user_id: &str) -> TokenBuilder {
        id_token(&self.shared, user_id)
    }
}

pub(crate) fn user(shared: &Arc<Shared>, user_id: &str) -> TokenBuilder {
    let (key, tenant) = {
        let world = shared.world();
        let user = world.users.get(user_id);
        let tenant = user.and_then(|user| user.tenant.clone());
        (world.account_keys.signing().clone(), tenant)
    };
    let token = TokenBuilder::new(shared, "at+jwt", key)
        .issuer(shared.url.as_str())
        .sub(user_id)
        .client_id(APPLICATION)
        .azp(CONNECTION)
        .scope("openid profile email");
    match tenant {
        Some(tenant) => token.tenant(&tenant),
        None => token,
    }
}

pub(crate) fn client(shared: &Arc<Shared>, client_id: &str) -> TokenBuilder {
    TokenBuilder::new(shared, "at+jwt", client_key(shared, client_id))
        .issuer(shared.client_issuer(client_id))
        .sub(client_id)
        .client_id(client_id)
        .audience(machine_audience())
        .scope("openid")
}

pub(crate) fn oauth(shared: &Arc<Shared>, client_id: &str) -> TokenBuilder {
    let key = shared.world().account_keys.signing().clone();
    TokenBuilder::new(shared, "at+jwt", key)
        .issuer(shared.url.as_str())
        .sub(client_id)
        .client_id(client_id)
        .audience(machine_audience())
        .scope("openid")
}

pub(crate) fn login_code(shared: &Arc<Shared>, client_id: &str, user_id: &str) -> TokenBuilder {
    client(shared, client_id)
        .typ("oauth-authz-req+jwt")
        .sub(user_id)
        .claim("max_age", LOGIN_CODE_LIFETIME)
        .expires_in(LOGIN_CODE_LIFETIME)
}

pub(crate) fn id_token(shared: &Arc<Shared>, user_id: &str) -> TokenBuilder {
    let (key, user) = {
        let world = shared.world();
        let user = world.users.get(user_id).cloned();
        (world.account_keys.signing().clone(), user)
    };
    let mut token = TokenBuilder::new(shared, "JWT", key)
        .issuer(shared.url.as_str())
        .sub(user_id)
        .audience(APPLICATION)
        .claim("email_verified", json!(true));
    if let Some(user) = user {
        let said = [
            ("name", user.name),
            ("email", user.email),
            ("picture", user.picture),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                token = token.claim(name, value);
            }
        }
    }
    token
}

/// The key with which a client signs; the one that it would get, where there is no such client.
pub(crate) fn client_key(shared: &Shared, client_id: &str) -> SigningKey {
    let world = shared.world();
    match world.clients.get(client_id) {
        Some(client) => client.keys.signing().clone(),
        None => world.first_keys(client_id).signing().clone(),
    }
}
