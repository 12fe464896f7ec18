//! The people, customers and programs of a sandbox, and how Authress writes them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::keys::{KeyRing, PublishedKey};

/// When everything in a sandbox was created.
const CREATED: &str = "2026-01-01T00:00:00.000Z";

/// A person.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    #[serde(rename = "userId")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) email: Option<String>,
    #[serde(default)]
    pub(crate) picture: Option<String>,
    #[serde(rename = "tenantId", default)]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) members: Map<String, Value>,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    #[serde(rename = "tenantId")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(rename = "connectionId", default)]
    pub(crate) connection: Option<String>,
    #[serde(rename = "tenantLookupIdentifier", default)]
    pub(crate) lookup_identifier: Option<String>,
    #[serde(default)]
    pub(crate) domains: Vec<String>,
    #[serde(default)]
    pub(crate) members: Map<String, Value>,
}

/// A service client: a program with keys of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    #[serde(rename = "clientId")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) grant_token_generation: bool,
    #[serde(default)]
    pub(crate) grant_user_permissions_access: bool,
    #[serde(default)]
    pub(crate) api_access: bool,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) members: Map<String, Value>,
}

impl User {
    /// A user with this id and nothing else.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: None,
            email: None,
            picture: None,
            tenant: None,
            members: Map::new(),
        }
    }

    /// The display name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The verified e-mail address.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// The address of a portrait.
    pub fn picture(mut self, picture: impl Into<String>) -> Self {
        self.picture = Some(picture.into());
        self
    }

    /// The tenant that this user signs in to. His tokens name it, and so does the user list's
    /// `tenantId`; the user's own record does not, as at the provider.
    pub fn tenant(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant = Some(tenant_id.into());
        self
    }

    /// Any member of the record as it is sent, in place of what would stand there: a name that is
    /// a number, an e-mail of a megabyte, an unknown member.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The user's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What `GET /v1/users/{id}` answers. `connection` is that of the user's tenant.
    pub(crate) fn record(&self, connection: Option<&str>) -> Value {
        let mut record = Map::new();
        put(&mut record, "userId", Some(&self.id));
        put(&mut record, "name", self.name.as_ref());
        put(&mut record, "email", self.email.as_ref());
        put(&mut record, "picture", self.picture.as_ref());
        if let Some(connection) = connection {
            record.insert(
                "linkedIdentities".to_owned(),
                json!([{ "connection": { "connectionId": connection, "userId": self.id } }]),
            );
        }
        record.extend(self.members.clone());
        Value::Object(record)
    }

    /// The provider's filter: text in any text field, whatever its case.
    pub(crate) fn matches(&self, filter: &str) -> bool {
        let filter = filter.to_lowercase();
        [Some(&self.id), self.name.as_ref(), self.email.as_ref()]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&filter))
    }
}

impl Tenant {
    /// A tenant with this id and nothing else.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: None,
            connection: None,
            lookup_identifier: None,
            domains: Vec::new(),
            members: Map::new(),
        }
    }

    /// The display name, which stands in `data.name`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The connection (`con_…`) through which its users sign in. Their tokens carry it in `azp`.
    pub fn connection(mut self, connection_id: impl Into<String>) -> Self {
        self.connection = Some(connection_id.into());
        self
    }

    /// The customer's own name for itself at sign-in.
    pub fn lookup_identifier(mut self, identifier: impl Into<String>) -> Self {
        self.lookup_identifier = Some(identifier.into());
        self
    }

    /// One more e-mail domain whose users belong here.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domains.push(domain.into());
        self
    }

    /// Any member of the record as it is sent, in place of what would stand there.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The tenant's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn record(&self) -> Value {
        let mut record = Map::new();
        put(&mut record, "tenantId", Some(&self.id));
        put(
            &mut record,
            "tenantLookupIdentifier",
            self.lookup_identifier.as_ref(),
        );
        let mut data = Map::new();
        put(&mut data, "name", self.name.as_ref());
        record.insert("data".to_owned(), Value::Object(data));
        let domains = self
            .domains
            .iter()
            .map(|domain| json!({ "domain": domain }));
        record.insert("domains".to_owned(), domains.collect());
        if let Some(connection) = &self.connection {
            record.insert(
                "connection".to_owned(),
                json!({ "connectionId": connection }),
            );
        }
        record.insert(
            "tokenConfiguration".to_owned(),
            json!({ "accessTokenDuration": "PT24H", "sessionDuration": "P30D" }),
        );
        put(&mut record, "createdTime", Some(&CREATED.to_owned()));
        record.extend(self.members.clone());
        Value::Object(record)
    }
}

impl Client {
    /// A service client with this id (`sc_…`) and nothing else. It gets a key when it is added.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: None,
            grant_token_generation: false,
            grant_user_permissions_access: false,
            api_access: false,
            tags: BTreeMap::new(),
            members: Map::new(),
        }
    }

    /// The display name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it may obtain tokens for any user (`options.grantTokenGeneration`).
    pub fn grant_token_generation(mut self, granted: bool) -> Self {
        self.grant_token_generation = granted;
        self
    }

    /// Whether it may read users' permissions (`options.grantUserPermissionsAccess`): with this
    /// alone it may ask for permission checks and nothing else.
    pub fn grant_user_permissions_access(mut self, granted: bool) -> Self {
        self.grant_user_permissions_access = granted;
        self
    }

    /// Whether it may call the API of the sandbox; without this it is answered 403. The client of
    /// [`Sandbox::access_key`](crate::Sandbox::access_key) may.
    pub fn api_access(mut self, granted: bool) -> Self {
        self.api_access = granted;
        self
    }

    /// One tag.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Any member of the record as it is sent, in place of what would stand there.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The client's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn record(&self, keys: &KeyRing) -> Value {
        let mut record = Map::new();
        put(&mut record, "clientId", Some(&self.id));
        put(&mut record, "name", self.name.as_ref());
        put(&mut record, "createdTime", Some(&CREATED.to_owned()));
        record.insert(
            "options".to_owned(),
            json!({
                "grantTokenGeneration": self.grant_token_generation,
                "grantUserPermissionsAccess": self.grant_user_permissions_access,
            }),
        );
        record.insert("rateLimits".to_owned(), json!([]));
        let keys = keys.published().iter().map(verification_key);
        record.insert("verificationKeys".to_owned(), keys.collect());
        record.insert("tags".to_owned(), json!(self.tags));
        record.extend(self.members.clone());
        Value::Object(record)
    }
}

/// A client's public key as its record and its creation show it.
pub(crate) fn verification_key(key: &PublishedKey) -> Value {
    json!({ "keyId": key.kid, "publicKey": key.spki(), "generationDate": CREATED })
}

fn put(record: &mut Map<String, Value>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        record.insert(name.to_owned(), Value::String(value.clone()));
    }
}
