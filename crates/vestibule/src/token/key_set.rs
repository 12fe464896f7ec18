//! A key set: the Ed25519 keys of one JWKS document (RFC 7517, RFC 8037).

use std::{collections::HashMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::VerifyingKey;

/// The usable keys of one set.
#[derive(Clone, Default)]
pub(crate) struct KeySet(HashMap<Box<str>, VerifyingKey>);

/// The document is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key set")]
pub(crate) struct KeySetError;

impl KeySet {
    pub(crate) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document: Value = serde_json::from_slice(document).map_err(|_| KeySetError)?;
        let keys = document.get("keys").and_then(Value::as_array);
        let mut set = HashMap::new();
        for key in keys.ok_or(KeySetError)?.iter().take(100) {
            let member = |name| key.get(name).and_then(Value::as_str);
            let (Some("OKP"), Some("Ed25519"), Some(kid), Some(x)) =
                (member("kty"), member("crv"), member("kid"), member("x"))
            else {
                continue;
            };
            let point = URL_SAFE_NO_PAD.decode(x).ok();
            let point = point.and_then(|point| <[u8; 32]>::try_from(point).ok());
            let key = point.and_then(|x| ed25519_dalek::VerifyingKey::from_bytes(&x).ok());
            if let Some(key) = key {
                set.insert(kid.into(), Arc::new(key));
            }
        }
        Ok(Self(set))
    }

    pub(crate) fn get(&self, kid: &str) -> Option<VerifyingKey> {
        self.0.get(kid).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.0.len()).finish()
    }
}
