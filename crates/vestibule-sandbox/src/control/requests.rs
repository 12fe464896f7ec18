//! The bodies of control requests.

use serde::Deserialize;

use crate::calls::Endpoint;
use crate::faults::{Fault, Target};
use crate::world::Grant;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Permission {
    user_id: String,
    resource_uri: String,
    permission: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    /// Whose keys; the account's if missing.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// Whether the key that signed until now is withdrawn at once.
    #[serde(default)]
    pub(crate) drop_old: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FaultOrder {
    #[serde(default)]
    endpoint: Option<Endpoint>,
    #[serde(default)]
    path: Option<String>,
    pub(crate) fault: Fault,
    #[serde(default)]
    pub(crate) times: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
}

impl Permission {
    pub(crate) fn grant(self) -> Grant {
        (self.user_id, self.resource_uri, self.permission)
    }
}

impl FaultOrder {
    pub(crate) fn target(&self) -> Result<Target, &'static str> {
        match (self.endpoint, &self.path) {
            (None, None) => Ok(Target::All),
            (Some(endpoint), None) => Ok(endpoint.into()),
            (None, Some(path)) => Ok(Target::path(path)),
            (Some(_), Some(_)) => Err("endpoint or path, not both"),
        }
    }
}
