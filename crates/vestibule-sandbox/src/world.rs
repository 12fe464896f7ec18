//! The state of a sandbox: who exists, which keys are published, who may do what.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{KeyRing, Seed};
use crate::records::{Client, Tenant, User};

/// What a method was asked to act on does not exist in the sandbox: most likely a mistyped id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no {kind} `{id}`")]
pub struct Unknown {
    kind: &'static str,
    id: String,
}

/// A permission of one user on one resource: (user id, resource URI, permission).
pub(crate) type Grant = (String, String, String);

#[derive(Debug)]
pub(crate) struct World {
    seed: Seed,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) tenants: BTreeMap<String, Tenant>,
    pub(crate) clients: BTreeMap<String, Registered>,
    pub(crate) account_keys: KeyRing,
    pub(crate) grants: BTreeSet<Grant>,
}

/// A service client with its keys.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) client: Client,
    pub(crate) keys: KeyRing,
}

impl Unknown {
    pub(crate) fn new(kind: &'static str, id: &str) -> Self {
        Self {
            kind,
            id: id.to_owned(),
        }
    }
}

impl World {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            users: BTreeMap::new(),
            tenants: BTreeMap::new(),
            clients: BTreeMap::new(),
            account_keys: KeyRing::new(seed, "account"),
            grants: BTreeSet::new(),
        }
    }

    /// Adds a client, or changes one and leaves its keys as they are.
    pub(crate) fn put_client(&mut self, client: Client) {
        match self.clients.get_mut(&client.id) {
            Some(known) => known.client = client,
            None => {
                let keys = self.first_keys(&client.id);
                self.clients
                    .insert(client.id.clone(), Registered { client, keys });
            }
        }
    }

    /// The keys that a client has when it is added: the same ones each time for one id.
    pub(crate) fn first_keys(&self, client_id: &str) -> KeyRing {
        KeyRing::new(self.seed, format!("client/{client_id}"))
    }

    pub(crate) fn client_keys(&mut self, client_id: &str) -> Result<&mut KeyRing, Unknown> {
        let client = self.clients.get_mut(client_id);
        client
            .map(|client| &mut client.keys)
            .ok_or_else(|| Unknown::new("service client", client_id))
    }

    /// The connection of a tenant that exists and has one.
    pub(crate) fn connection_of(&self, tenant_id: &str) -> Option<&str> {
        self.tenants.get(tenant_id)?.connection.as_deref()
    }

    /// A user's record as the API sends it.
    pub(crate) fn user_record(&self, user: &User) -> serde_json::Value {
        let tenant = user.tenant.as_deref();
        user.record(tenant.and_then(|tenant| self.connection_of(tenant)))
    }
}
