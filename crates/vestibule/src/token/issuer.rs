//! Who signs what: from the exact text of `iss` to the keys that may prove it.
//!
//! An issuer is compared byte for byte, never parsed and never normalised. No URL is made from
//! what a token says; whatever is not on the list is refused before anything is asked of
//! anybody (authress.md W1).

use std::sync::Arc;

use super::{KeySetId, TokenClass};
use crate::{error::Reason, settings::ProviderSettings};

/// What service clients are called: the prefixes of their ids.
const CLIENT_PREFIXES: [&str; 4] = ["sc_", "ext_", "scauth_", "authress_"];
const CLIENT_PATH: &str = "/v1/clients/";

/// The issuers that are accepted.
#[derive(Debug)]
pub(super) struct Issuers {
    users: Vec<Arc<str>>,
    machine_origins: Vec<Arc<str>>,
}

/// An accepted issuer, and whom it speaks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    /// The provider, for people.
    Provider { issuer: Arc<str> },
    /// A service client, for itself.
    Client {
        issuer: Arc<str>,
        client_id: Arc<str>,
    },
}

impl Issuers {
    pub(super) fn new(settings: &ProviderSettings) -> Self {
        Self {
            users: settings.issuers.clone(),
            machine_origins: settings.machine_origins.clone(),
        }
    }

    /// The issuer with exactly this text.
    pub(super) fn find(&self, unverified_issuer: &str) -> Result<Issuer, Reason> {
        // Clients come first: should such an issuer ever be among the configured ones, whoever
        // holds that client's key must not become the issuer of people.
        if let Some(client_id) = self.client(unverified_issuer) {
            return Ok(Issuer::Client {
                issuer: unverified_issuer.into(),
                client_id: client_id.into(),
            });
        }
        self.users
            .iter()
            .find(|issuer| ***issuer == *unverified_issuer)
            .map(|issuer| Issuer::Provider {
                issuer: Arc::clone(issuer),
            })
            .ok_or(Reason::UnknownIssuer)
    }

    fn client<'i>(&self, unverified_issuer: &'i str) -> Option<&'i str> {
        self.machine_origins.iter().find_map(|origin| {
            unverified_issuer
                .strip_prefix(&**origin)?
                .strip_prefix(CLIENT_PATH)
                .filter(|id| is_client_id(id))
        })
    }
}

impl Issuer {
    pub(super) fn class(&self) -> TokenClass {
        match self {
            Self::Provider { .. } => TokenClass::User,
            Self::Client { .. } => TokenClass::Machine,
        }
    }

    /// The only keys that may prove a token of this issuer.
    pub(super) fn key_set(&self) -> KeySetId {
        match self {
            Self::Provider { issuer } => KeySetId::Issuer(Arc::clone(issuer)),
            Self::Client { client_id, .. } => KeySetId::Client(Arc::clone(client_id)),
        }
    }
}

/// Whether a text is the id of a service client: `sc_`, `ext_`, `scauth_` or `authress_`, then 5
/// to 30 letters and digits.
///
/// The UUIDs of very old clients are not: such a client needs a new key under a new id.
pub fn is_client_id(text: &str) -> bool {
    CLIENT_PREFIXES.iter().any(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            (5..=30).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    })
}

/// Whether a text is called like a service client, whatever follows the prefix. Wider than
/// [`is_client_id`], for where being one means being refused.
pub(super) fn is_named_like_a_client(text: &str) -> bool {
    CLIENT_PREFIXES
        .iter()
        .any(|prefix| text.starts_with(prefix))
}
