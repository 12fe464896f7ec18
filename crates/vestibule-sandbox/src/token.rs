//! Tokens, good and deliberately bad.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::keys::SigningKey;
use crate::sandbox::Shared;

/// How long a token lives unless told otherwise, in seconds: the provider's default of a day.
const LIFETIME: i64 = 86_400;

/// A token in the making, right in everything until you break one thing.
///
/// Its methods act in the order in which they are called, and the last word counts.
/// Times are seconds since the Unix epoch.
///
/// ```
/// # use vestibule_sandbox::{Sandbox, SigningKey, Tenant, User};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::builder().start().await?;
/// sandbox.add_tenant(Tenant::new("tenant_acme"));
/// sandbox.add_user(User::new("user_ada").tenant("tenant_acme"));
///
/// let good = sandbox.user_token("user_ada").mint();
/// let expired = sandbox.user_token("user_ada").expires_in(-60).mint();
/// let forged = sandbox.user_token("user_ada").sign_with(&SigningKey::stranger("k1")).mint();
/// # assert!(good != expired && good != forged);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is made until `mint`"]
pub struct TokenBuilder {
    shared: Arc<Shared>,
    now: i64,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    doubled_header: Vec<(String, Value)>,
    doubled_claims: Vec<(String, Value)>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    key: SigningKey,
    signature: Signature,
}

#[derive(Clone, Debug)]
enum Signature {
    True,
    Tampered,
    Raw(Vec<u8>),
}

impl TokenBuilder {
    pub(crate) fn new(shared: &Arc<Shared>, typ: &str, key: SigningKey) -> Self {
        let builder = Self {
            shared: Arc::clone(shared),
            now: shared.clock.now(),
            header: Map::new(),
            claims: Map::new(),
            doubled_header: Vec::new(),
            doubled_claims: Vec::new(),
            raw_header: None,
            raw_claims: None,
            key,
            signature: Signature::True,
        };
        let kid = builder.key.kid().to_owned();
        let now = builder.now;
        builder.alg("EdDSA").typ(typ).kid(kid).at(now)
    }

    /// A header member, added or replaced.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a header member out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// A claim, added or replaced.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Writes a header member once more after the others, so that it stands there twice.
    pub fn double_header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.doubled_header.push((name.into(), value.into()));
        self
    }

    /// Writes a claim once more after the others, so that it stands there twice.
    pub fn double_claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.doubled_claims.push((name.into(), value.into()));
        self
    }

    /// This text as the header, before base64url, in place of everything else.
    pub fn raw_header(mut self, text: impl Into<String>) -> Self {
        self.raw_header = Some(text.into());
        self
    }

    /// This text as the claims, before base64url, in place of everything else.
    pub fn raw_claims(mut self, text: impl Into<String>) -> Self {
        self.raw_claims = Some(text.into());
        self
    }

    /// The header's `alg`. The signature stays Ed25519.
    pub fn alg(self, alg: impl Into<Value>) -> Self {
        self.header("alg", alg)
    }

    /// The header's `typ`.
    pub fn typ(self, typ: impl Into<Value>) -> Self {
        self.header("typ", typ)
    }

    /// The header's `kid`. The key that signs stays the same.
    pub fn kid(self, kid: impl Into<Value>) -> Self {
        self.header("kid", kid)
    }

    /// The claim `iss`.
    pub fn issuer(self, issuer: impl Into<Value>) -> Self {
        self.claim("iss", issuer)
    }

    /// The claim `sub`.
    #[expect(
        clippy::should_implement_trait,
        reason = "named after its claim; nobody subtracts from a token"
    )]
    pub fn sub(self, subject: impl Into<Value>) -> Self {
        self.claim("sub", subject)
    }

    /// The claim `aud`: a text or a list of texts.
    pub fn audience(self, audience: impl Into<Value>) -> Self {
        self.claim("aud", audience)
    }

    /// The claim `client_id`.
    pub fn client_id(self, client_id: impl Into<Value>) -> Self {
        self.claim("client_id", client_id)
    }

    /// The claim `azp`: in a user's token the connection through which he signed in.
    pub fn azp(self, connection_id: impl Into<Value>) -> Self {
        self.claim("azp", connection_id)
    }

    /// The claim `scope`: names with spaces between them.
    pub fn scope(self, scope: impl Into<Value>) -> Self {
        self.claim("scope", scope)
    }

    /// A login to this tenant: `aud` names it alone, and `azp` its connection, where the sandbox
    /// knows the tenant and it has one.
    pub fn tenant(self, tenant_id: &str) -> Self {
        let connection = {
            let world = self.shared.world();
            world.connection_of(tenant_id).map(str::to_owned)
        };
        let token = self.audience(json!([tenant_id]));
        match connection {
            Some(connection) => token.azp(connection),
            None => token,
        }
    }

    /// Made at this moment and valid for a day from it: sets `iat` and `exp`.
    pub fn at(mut self, seconds: i64) -> Self {
        self.now = seconds;
        self.claim("iat", seconds)
            .claim("exp", seconds.saturating_add(LIFETIME))
    }

    /// The claim `iat` alone.
    pub fn issued_at(self, seconds: i64) -> Self {
        self.claim("iat", seconds)
    }

    /// The claim `exp`, counted from the moment at which the token is made; below zero it has
    /// expired already.
    pub fn expires_in(self, seconds: i64) -> Self {
        let expires = self.now.saturating_add(seconds);
        self.claim("exp", expires)
    }

    /// The claim `exp`, counted from `iat` (or from now, where there is no such number).
    pub fn lifetime(self, lifetime: Duration) -> Self {
        let from = self.claims.get("iat").and_then(Value::as_i64);
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires = from.unwrap_or(self.now).saturating_add(seconds);
        self.claim("exp", expires)
    }

    /// The claim `nbf`, counted from the moment at which the token is made.
    pub fn not_before_in(self, seconds: i64) -> Self {
        let start = self.now.saturating_add(seconds);
        self.claim("nbf", start)
    }

    /// Signs with another key and leaves `kid` as it is: a forgery in the name of the right key.
    pub fn sign_with(mut self, key: &SigningKey) -> Self {
        self.key = key.clone();
        self
    }

    /// Signs with another key and says so in `kid`.
    pub fn key(self, key: &SigningKey) -> Self {
        self.sign_with(key).kid(key.kid())
    }

    /// Turns one bit of the signature over.
    pub fn tamper_signature(mut self) -> Self {
        self.signature = Signature::Tampered;
        self
    }

    /// These bytes as the signature.
    pub fn raw_signature(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.signature = Signature::Raw(bytes.into());
        self
    }

    /// `alg` is `none` and the signature empty (RFC 7519 §6).
    pub fn unsigned(self) -> Self {
        self.alg("none").raw_signature(Vec::new())
    }

    /// Whether the claims carry `name` at present, and its value.
    pub fn get_claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Makes the token.
    pub fn mint(&self) -> String {
        let mut token = String::with_capacity(512);
        let header = part(&self.raw_header, &self.header, &self.doubled_header);
        let claims = part(&self.raw_claims, &self.claims, &self.doubled_claims);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.signature {
            Signature::True => self.key.sign(token.as_bytes()).to_vec(),
            Signature::Tampered => {
                let mut bytes = self.key.sign(token.as_bytes());
                // A bit of R: the scalar S stays in range, so only the equation can notice.
                bytes[0] ^= 1;
                bytes.to_vec()
            }
            Signature::Raw(bytes) => bytes.clone(),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

impl fmt::Debug for TokenBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBuilder")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn part(raw: &Option<String>, members: &Map<String, Value>, doubled: &[(String, Value)]) -> String {
    if let Some(text) = raw {
        return text.clone();
    }
    let written: Vec<String> = members
        .iter()
        .chain(doubled.iter().map(|(name, value)| (name, value)))
        .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
        .collect();
    format!("{{{}}}", written.join(","))
}
