//! Ed25519 keys: those that sign, those that a key set publishes, and the rings that hold both.
//!
//! Every key of a sandbox is derived from its seed, so that a second start with the same seed
//! publishes the same keys and yesterday's tokens still verify.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What precedes the 32 secret bytes in a PKCS#8 v1 Ed25519 key (RFC 8410 §7).
const PKCS8_V1_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What precedes the 32 public bytes in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// An Ed25519 key that signs tokens, with the key id under which it is or could be published.
///
/// Its secret is never shown by `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    secret: ed25519_dalek::SigningKey,
}

/// One key of a published set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedKey {
    pub(crate) kid: String,
    pub(crate) bytes: [u8; 32],
}

/// What all keys of a sandbox are derived from. It cannot be printed.
#[derive(Clone, Copy)]
pub(crate) struct Seed([u8; 32]);

/// The keys of one issuer: what its key set shows and the key that signs by default.
#[derive(Clone, Debug)]
pub(crate) struct KeyRing {
    seed: Seed,
    label: String,
    turns: u32,
    signing: SigningKey,
    published: Vec<PublishedKey>,
    unusable: Vec<Value>,
}

impl Seed {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl SigningKey {
    /// The key with these 32 secret bytes, named `kid`.
    pub fn from_secret(kid: impl Into<String>, secret: [u8; 32]) -> Self {
        Self {
            kid: kid.into(),
            secret: ed25519_dalek::SigningKey::from_bytes(&secret),
        }
    }

    /// A key that no set of any sandbox holds: what an attacker signs with.
    ///
    /// The same `kid` always gives the same key.
    pub fn stranger(kid: impl Into<String>) -> Self {
        let kid = kid.into();
        let secret = derive(&Seed([0; 32]), &format!("stranger/{kid}"));
        Self::from_secret(kid, secret)
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The same key under another key id.
    pub fn with_kid(&self, kid: impl Into<String>) -> Self {
        Self {
            kid: kid.into(),
            secret: self.secret.clone(),
        }
    }

    /// The public key, as it stands in `x` of a JWK before base64url.
    pub fn public_key(&self) -> [u8; 32] {
        self.secret.verifying_key().to_bytes()
    }

    /// The public key as a JSON Web Key (RFC 8037 §2), with `kty`, `crv`, `alg`, `kid` and `x`.
    pub fn jwk(&self) -> Value {
        self.published().jwk()
    }

    /// The Ed25519 signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    /// The text of an access key: `{client}.{kid}.{account}.{base64 of PKCS#8 v1}`.
    pub(crate) fn access_key(&self, client_id: &str, account_id: &str) -> String {
        format!("{client_id}.{}.{account_id}.{}", self.kid, self.pkcs8())
    }

    /// The private key as base64 of PKCS#8 v1.
    pub(crate) fn pkcs8(&self) -> String {
        let mut der = PKCS8_V1_PREFIX.to_vec();
        der.extend(self.secret.to_bytes());
        STANDARD.encode(der)
    }

    pub(crate) fn published(&self) -> PublishedKey {
        PublishedKey {
            kid: self.kid.clone(),
            bytes: self.public_key(),
        }
    }

    fn derived(seed: &Seed, label: &str) -> Self {
        let key = Self::from_secret("", derive(seed, label));
        // Named after the key itself, so that a sandbox with another seed has other key ids:
        // a stale token then meets an unknown key, as it would at the provider. Eleven characters
        // are outside the published form of an access key, which secret scanners look for.
        let digest = Sha256::digest(key.public_key());
        let short: String = digest.iter().take(5).map(|b| format!("{b:02x}")).collect();
        key.with_kid(format!("k{short}"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl PublishedKey {
    /// Reads base64 of a SubjectPublicKeyInfo, or of the 32 bytes alone.
    pub(crate) fn from_spki(kid: String, text: &str) -> Option<Self> {
        let der = STANDARD.decode(text.trim()).ok()?;
        let bytes = der.strip_prefix(&SPKI_PREFIX[..]).unwrap_or(&der);
        Some(Self {
            kid,
            bytes: bytes.try_into().ok()?,
        })
    }

    pub(crate) fn spki(&self) -> String {
        let mut der = SPKI_PREFIX.to_vec();
        der.extend(self.bytes);
        STANDARD.encode(der)
    }

    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(self.bytes),
        })
    }

    /// Whether `signature` is this key's over `message`, by the strict rules.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&self.bytes) else {
            return false;
        };
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
            return false;
        };
        key.verify_strict(message, &signature).is_ok()
    }
}

impl KeyRing {
    /// A ring with one published key. `label` tells the rings of one seed apart.
    pub(crate) fn new(seed: Seed, label: impl Into<String>) -> Self {
        let label = label.into();
        let signing = SigningKey::derived(&seed, &format!("{label}/0"));
        Self {
            seed,
            label,
            turns: 0,
            published: vec![signing.published()],
            signing,
            unusable: Vec::new(),
        }
    }

    /// Publishes a new key and signs with it from now on. The older ones stay published.
    pub(crate) fn rotate(&mut self) -> String {
        let key = self.next_key();
        let kid = key.kid().to_owned();
        self.publish(key.published());
        self.signing = key;
        kid
    }

    /// A further published key that does not sign by default.
    pub(crate) fn issue(&mut self) -> SigningKey {
        let key = self.next_key();
        self.publish(key.published());
        key
    }

    /// Publishes a key, in place of one with the same id.
    pub(crate) fn publish(&mut self, key: PublishedKey) {
        self.published.retain(|known| known.kid != key.kid);
        self.published.push(key);
    }

    pub(crate) fn publish_unusable(&mut self, jwk: Value) {
        self.unusable.push(jwk);
    }

    /// Withdraws a key. Whether it was there.
    pub(crate) fn remove(&mut self, kid: &str) -> bool {
        let before = self.published.len();
        self.published.retain(|known| known.kid != kid);
        self.published.len() < before
    }

    /// Withdraws everything.
    pub(crate) fn clear(&mut self) {
        self.published.clear();
        self.unusable.clear();
    }

    /// The key that signs by default, published or not.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn published(&self) -> &[PublishedKey] {
        &self.published
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&PublishedKey> {
        self.published.iter().find(|key| key.kid == kid)
    }

    /// The key set document. What cannot be used stands first, where a careless reader trips.
    pub(crate) fn document(&self) -> Value {
        let usable = self.published.iter().map(PublishedKey::jwk);
        let keys: Vec<Value> = self.unusable.iter().cloned().chain(usable).collect();
        json!({ "keys": keys })
    }

    fn next_key(&mut self) -> SigningKey {
        self.turns = self.turns.saturating_add(1);
        SigningKey::derived(&self.seed, &format!("{}/{}", self.label, self.turns))
    }
}

/// 32 bytes for one purpose. SHA-256 over a fixed-length secret is enough of a derivation for
/// throw-away keys; the label's length cannot shift the boundary because the seed comes first.
fn derive(seed: &Seed, label: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"vestibule-sandbox key v1");
    hash.update(seed.0);
    hash.update(label.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_keys_and_another_seed_others() {
        let one = KeyRing::new(Seed([1; 32]), "account");
        assert_eq!(
            one.document(),
            KeyRing::new(Seed([1; 32]), "account").document()
        );
        let other = KeyRing::new(Seed([2; 32]), "account");
        assert_ne!(one.signing().kid(), other.signing().kid());
        assert_ne!(one.signing().public_key(), other.signing().public_key());
        let elsewhere = KeyRing::new(Seed([1; 32]), "client/sc_robot01");
        assert_ne!(one.signing().public_key(), elsewhere.signing().public_key());
    }

    #[test]
    fn rotation_keeps_the_old_key_until_it_is_removed() {
        let mut ring = KeyRing::new(Seed([1; 32]), "account");
        let old = ring.signing().kid().to_owned();
        let new = ring.rotate();
        assert_ne!(old, new);
        assert_eq!(ring.signing().kid(), new);
        assert!(ring.get(&old).is_some() && ring.get(&new).is_some());
        assert!(ring.remove(&old));
        assert!(!ring.remove(&old));
        assert!(ring.get(&old).is_none());
    }

    #[test]
    fn an_access_key_is_pkcs8_v1_and_outside_the_published_form() {
        let ring = KeyRing::new(Seed([1; 32]), "client/sc_server01");
        let text = ring.signing().access_key("sc_server01", "sandbox");
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[3].len(), 64);
        assert!(parts[3].starts_with("MC4CAQAwBQYDK2VwBCIEI"));
        // The published form wants 4 to 6 characters here and an account that starts with `acc`.
        assert!(parts[1].len() > 6);
        assert!(!parts[2].starts_with("acc"));
    }

    #[test]
    fn public_keys_survive_their_published_form() {
        let key = SigningKey::stranger("k1").published();
        assert_eq!(PublishedKey::from_spki("k1".into(), &key.spki()), Some(key));
        assert_eq!(PublishedKey::from_spki("k1".into(), "bm90IGEga2V5"), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_secret("k1", [7; 32]);
        assert_eq!(format!("{key:?}"), "SigningKey { kid: \"k1\", .. }");
    }
}
