//! What a token claims. Nothing of it is proven.
//!
//! Never the token, its signature, or claims that are not needed for the decision, which may hold
//! e-mail addresses.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vestibule::clock::Timestamp;

const HEADER: &[&str] = &["alg", "typ", "kid"];
const TEXTS: &[&str] = &["iss", "sub", "client_id", "azp", "aud", "scope"];
const TIMES: &[&str] = &["iat", "nbf", "exp"];

/// What is kept of a refused token: enough for what callers really send, and little of what
/// strangers make up.
const KEPT_CHARS: usize = 160;
const KEPT_ITEMS: usize = 6;

/// What a token claims.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Claimed {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    /// Names of further claims; their values are nobody's business here.
    pub(crate) further_claims: Vec<String>,
}

impl Claimed {
    /// What can be read of the token; nothing where it cannot be.
    pub(crate) fn read(token: &str) -> Self {
        let mut parts = token.split('.').map(object);
        let mut claimed = Self::default();
        if let Some(Some(mut header)) = parts.next() {
            for &name in HEADER {
                if let Some(value) = header.remove(name) {
                    claimed.header.insert(name.to_owned(), value);
                }
            }
            claimed
                .further_claims
                .extend(header.keys().map(|name| format!("header.{name}")));
        }
        if let Some(Some(mut claims)) = parts.next() {
            for &name in TEXTS {
                if let Some(value) = claims.remove(name) {
                    claimed.claims.insert(name.to_owned(), value);
                }
            }
            for &name in TIMES {
                if let Some(value) = claims.remove(name) {
                    let time = value
                        .as_i64()
                        .map(|secs| Timestamp::from_secs(secs).to_rfc3339());
                    claimed
                        .claims
                        .insert(name.to_owned(), time.map_or(value, Value::from));
                }
            }
            claimed.further_claims.extend(claims.keys().cloned());
        }
        claimed
    }

    /// The same, in a bounded number of bytes.
    pub(crate) fn shortened(mut self) -> Self {
        for members in [&mut self.header, &mut self.claims] {
            for value in members.values_mut() {
                shorten(value, true);
            }
        }
        self.further_claims.truncate(KEPT_ITEMS);
        for name in &mut self.further_claims {
            *name = cut(name);
        }
        self
    }

    /// A claim or a member of the header, as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.claims.get(name).or_else(|| self.header.get(name))?;
        Some(match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map_or_else(|| item.to_string(), str::to_owned)
                })
                .collect::<Vec<_>>()
                .join(", "),
            other => other.to_string(),
        })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn shorten(value: &mut Value, lists: bool) {
    match value {
        Value::String(text) => *text = cut(text),
        Value::Array(items) if lists => {
            items.truncate(KEPT_ITEMS);
            for item in items {
                shorten(item, false);
            }
        }
        Value::Array(_) | Value::Object(_) => *value = Value::from("…"),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(KEPT_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims))
    }

    #[test]
    fn shows_what_decides_and_no_more() {
        let token = token(
            &json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k1", "x5c": ["secret-header"] }),
            &json!({
                "iss": "https://auth.acme.example", "sub": "user_ada", "aud": ["tenant_acme"],
                "exp": 0, "email": "ada@acme.example",
            }),
        );
        let claimed = Claimed::read(&token);
        assert_eq!(claimed.header["kid"], "k1");
        assert_eq!(claimed.claims["exp"], "1970-01-01T00:00:00Z");
        assert_eq!(claimed.claims["aud"], json!(["tenant_acme"]));
        assert_eq!(claimed.further_claims, ["header.x5c", "email"]);
        assert_eq!(claimed.text("aud").unwrap(), "tenant_acme");
        let all = format!("{claimed:?}");
        for secret in [
            "ada@acme.example",
            "secret-header",
            "c2lnbmF0dXJl",
            token.as_str(),
        ] {
            assert!(!all.contains(secret), "{secret}");
        }
    }

    #[test]
    fn anything_can_be_read() {
        for text in ["", ".", "a.b.c", "....", "e30.e30.", "W10.W10.x"] {
            let claimed = Claimed::read(text);
            assert!(
                claimed.header.is_empty() && claimed.claims.is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "é".repeat(4_000);
        let many: Vec<Value> = (0..1_000).map(|_| json!([long])).collect();
        let mut claims = json!({ "iss": long, "aud": many, "sub": { "a": long }, "exp": long });
        for number in 0..500 {
            claims[format!("{long}{number}")] = json!(1);
        }
        let token = token(&json!({ "alg": long, "kid": many, "typ": long }), &claims);
        let kept = serde_json::to_vec(&Claimed::read(&token).shortened()).unwrap();
        assert!(kept.len() < 8 * 1_024, "{}", kept.len());
    }
}
