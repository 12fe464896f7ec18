//! Paths, as they are sent, to what they mean.

use percent_encoding::percent_decode_str;

use crate::calls::Endpoint;
use crate::world::Grant;

/// What a path means. Every part of it has been percent-decoded exactly once, so an id may hold
/// `/`, `|` or `%2F`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Jwks,
    ClientJwks(String),
    Discovery,
    User(String),
    Users,
    Permission(Grant),
    Tenant(String),
    Tenants,
    TenantUsers(String),
    Client(String),
    Clients,
    AccessKeys(String),
    AccessKey(String, String),
    OauthTokens,
    /// A part is not UTF-8 once decoded.
    Malformed,
    Other,
}

/// The query's parameters, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Route {
    pub(crate) fn find(path: &str) -> Self {
        let Some(parts) = decode_path(path) else {
            return Self::Malformed;
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Self::Other;
        }
        match *parts.as_slice() {
            [".well-known", "openid-configuration", "jwks"] => Self::Jwks,
            [".well-known", "openid-configuration"] => Self::Discovery,
            [
                "v1",
                "clients",
                id,
                ".well-known",
                "openid-configuration",
                "jwks",
            ] => Self::ClientJwks(id.into()),
            ["v1", "users"] => Self::Users,
            ["v1", "users", id] => Self::User(id.into()),
            [
                "v1",
                "users",
                user,
                "resources",
                resource,
                "permissions",
                permission,
            ] => Self::Permission((user.into(), resource.into(), permission.into())),
            ["v1", "tenants"] => Self::Tenants,
            ["v1", "tenants", id] => Self::Tenant(id.into()),
            ["v1", "tenants", id, "users"] => Self::TenantUsers(id.into()),
            ["v1", "clients"] => Self::Clients,
            ["v1", "clients", id] => Self::Client(id.into()),
            ["v1", "clients", id, "access-keys"] => Self::AccessKeys(id.into()),
            ["v1", "clients", id, "access-keys", kid] => Self::AccessKey(id.into(), kid.into()),
            ["api", "authentication", "oauth", "tokens"] => Self::OauthTokens,
            _ => Self::Other,
        }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Jwks => Endpoint::Jwks,
            Self::ClientJwks(_) => Endpoint::ClientJwks,
            Self::Discovery => Endpoint::Discovery,
            Self::User(_) => Endpoint::User,
            Self::Users => Endpoint::Users,
            Self::Permission(_) => Endpoint::Permission,
            Self::Tenant(_) | Self::TenantUsers(_) => Endpoint::Tenant,
            Self::Tenants => Endpoint::Tenants,
            Self::Client(_) => Endpoint::Client,
            Self::Clients => Endpoint::Clients,
            Self::AccessKeys(_) | Self::AccessKey(..) => Endpoint::AccessKeys,
            Self::OauthTokens => Endpoint::OauthTokens,
            Self::Malformed | Self::Other => Endpoint::Other,
        }
    }
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(parse_form(query.unwrap_or("")))
    }

    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The parts of a path, each decoded once; none where one is not UTF-8.
pub(crate) fn decode_path(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?
        .split('/')
        .map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned()))
        .collect()
}

/// Reads `application/x-www-form-urlencoded`.
pub(crate) fn parse_form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_decoded_once() {
        for (path, id) in [
            ("/v1/users/user_ada", "user_ada"),
            ("/v1/users/saml%7Ca%2Fb", "saml|a/b"),
            ("/v1/users/a%252Fb", "a%2Fb"),
            ("/v1/users/a+b", "a+b"),
            ("/v1/users/%2E%2E", ".."),
        ] {
            assert_eq!(Route::find(path), Route::User(id.into()), "{path}");
        }
    }

    #[test]
    fn what_is_no_resource_is_other_or_malformed() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "//v1/users",
            "/v1/users/",
            "/v1/users/a/b",
            "/V1/users",
            "/v1/clients/sc_1/.well-known/openid-configuration",
        ] {
            assert_eq!(Route::find(path), Route::Other, "{path}");
        }
        assert_eq!(Route::find("/v1/users/%FF"), Route::Malformed);
    }

    #[test]
    fn a_resource_is_one_part_however_deep_it_is() {
        let path = "/v1/users/u/resources/notes%2F1/permissions/notes%3Aread";
        let grant = ("u".into(), "notes/1".into(), "notes:read".into());
        assert_eq!(Route::find(path), Route::Permission(grant));
    }
}
