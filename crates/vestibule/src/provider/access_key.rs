//! The service-client access key: the one secret with which we call the provider.
//!
//! Its text is `{client id}.{key id}.{account id}.{base64 PKCS#8 Ed25519}`. The provider expects
//! a JWT signed with the key, never the key itself, so nothing here hands out its text.

use std::{fmt, sync::Arc};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose as Engine};
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use serde_json::json;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock::Timestamp;

/// How long a token that we mint for ourselves is valid.
pub const MINTED_LIFETIME_SECS: i64 = 3_600;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(false);
const STANDARD: Engine = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: Engine = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What is wrong with the text of an access key. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessKeyError {
    /// Not four non-empty parts between dots.
    #[error("must have four non-empty parts separated by dots")]
    Parts,
    /// One of the first three parts has characters that belong in no identifier.
    #[error("has characters outside A-Z a-z 0-9 - _ in its first three parts")]
    Identifier,
    /// The last part is not base64.
    #[error("the last part must be base64")]
    Base64,
    /// The last part is not an Ed25519 private key.
    #[error("the last part must be a PKCS#8 Ed25519 private key")]
    PrivateKey,
}

/// A service-client access key. It cannot be printed; its private part is wiped when dropped.
#[derive(Clone)]
pub struct AccessKey {
    client_id: String,
    key_id: String,
    account_id: String,
    /// One in memory, however many hold it: copies would be more places to find it.
    signing: Arc<SigningKey>,
}

impl AccessKey {
    /// Reads the four parts. The published lengths of the parts are not checked.
    pub fn parse(text: &str) -> Result<Self, AccessKeyError> {
        let mut parts = text.trim().split('.');
        let (Some(client_id), Some(key_id), Some(account_id), Some(secret), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(AccessKeyError::Parts);
        };
        if [client_id, key_id, account_id, secret]
            .iter()
            .any(|part| part.is_empty())
        {
            return Err(AccessKeyError::Parts);
        }
        if [client_id, key_id, account_id]
            .iter()
            .any(|part| !part.bytes().all(is_identifier))
        {
            return Err(AccessKeyError::Identifier);
        }
        let der = STANDARD
            .decode(secret)
            .or_else(|_| URL_SAFE.decode(secret))
            .map(Zeroizing::new)
            .map_err(|_| AccessKeyError::Base64)?;
        let signing = SigningKey::from_pkcs8_der(&der).map_err(|_| AccessKeyError::PrivateKey)?;
        Ok(Self {
            client_id: client_id.to_owned(),
            key_id: key_id.to_owned(),
            account_id: account_id.to_owned(),
            signing: Arc::new(signing),
        })
    }

    /// The service client whose key this is. It may never be a caller of ours.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The name of the key within its client.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The provider's account.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// A token for our own calls to the provider, valid for an hour from `now`.
    ///
    /// `issuer` is the whole issuer of this client: `https://…/v1/clients/{client id}`.
    pub fn mint(&self, issuer: &str, now: Timestamp) -> Zeroizing<String> {
        let issued_at = now.as_secs();
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.key_id });
        let claims = json!({
            "iss": issuer,
            "sub": self.client_id,
            "client_id": self.client_id,
            "aud": format!("{}.accounts.authress.io", self.account_id),
            "iat": issued_at,
            "exp": issued_at.saturating_add(MINTED_LIFETIME_SECS),
            "scope": "openid",
        });
        let mut token = String::with_capacity(512);
        URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self.signing.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        Zeroizing::new(token)
    }

    /// A key for another purpose, bound to `context`, that reveals nothing of this one.
    pub fn derive_key(&self, context: &str) -> [u8; 32] {
        let secret = Zeroizing::new(self.signing.to_bytes());
        let derived = Hkdf::<Sha256>::new(Some(b"vestibule access key v1"), secret.as_slice());
        let mut out = [0; 32];
        // 32 bytes is within HKDF's limit of 255 blocks, so expansion cannot fail.
        let _ = derived.expand(context.as_bytes(), &mut out);
        out
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Whether a text is shaped like an access key: a caller who sends one as a bearer has just
/// disclosed it, and deserves a reason of its own.
pub(crate) fn is_access_key_shaped(text: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(client_id), Some(key_id), Some(account_id), Some(secret), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    let prefixed = client_id
        .split_once('_')
        .is_some_and(|(prefix, _)| matches!(prefix, "sc" | "ext" | "scauth" | "authress"));
    (prefixed || secret.starts_with("MC4CAQAw") || secret.starts_with("MFECAQEw"))
        && !key_id.is_empty()
        && !account_id.is_empty()
        && secret.len() >= 30
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// PKCS#8 v1 around 32 fixed bytes; the short ids match no secret scanner.
#[cfg(test)]
pub(crate) fn test_key(seed: u8) -> String {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    format!("sc_own01.k1.test.{}", STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use super::{test_key as key_text, *};
    use ed25519_dalek::Verifier as _;

    #[test]
    fn reads_its_parts_and_both_base64_alphabets() {
        for seed in [7, 0xfb, 0xff] {
            let text = key_text(seed);
            let key = AccessKey::parse(&text).unwrap();
            assert_eq!(
                (key.client_id(), key.key_id(), key.account_id()),
                ("sc_own01", "k1", "test")
            );
            let url_safe = text.replace('+', "-").replace('/', "_").replace('=', "");
            assert_eq!(
                AccessKey::parse(&url_safe).unwrap().derive_key("x"),
                key.derive_key("x")
            );
        }
    }

    #[test]
    fn refuses_other_texts() {
        let good = key_text(7);
        let secret = good.rsplit('.').next().unwrap();
        for (text, error) in [
            (String::new(), AccessKeyError::Parts),
            ("a.b.c".into(), AccessKeyError::Parts),
            (format!("a..c.{secret}"), AccessKeyError::Parts),
            (format!("{good}.x"), AccessKeyError::Parts),
            (format!("a/b.k.acc.{secret}"), AccessKeyError::Identifier),
            ("a.b.c.***".into(), AccessKeyError::Base64),
            ("a.b.c.AAAA".into(), AccessKeyError::PrivateKey),
        ] {
            assert_eq!(AccessKey::parse(&text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = key_text(7);
        let shown = format!("{:?}", AccessKey::parse(&text).unwrap());
        assert!(!shown.contains(text.rsplit('.').next().unwrap()));
        assert!(!shown.contains("signing"));
    }

    #[test]
    fn mints_a_token_that_its_public_key_verifies() {
        let key = AccessKey::parse(&key_text(7)).unwrap();
        let token = key.mint(
            "https://a.example/v1/clients/sc_own01",
            Timestamp::from_secs(1_000),
        );
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        key.signing
            .verifying_key()
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let claims = URL_SAFE_NO_PAD
            .decode(signed.split_once('.').unwrap().1)
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["exp"], 1_000 + MINTED_LIFETIME_SECS);
        assert_eq!(claims["aud"], "test.accounts.authress.io");
    }

    #[test]
    fn derived_keys_differ_by_context_and_secret() {
        let (one, two) = (key_text(1), key_text(2));
        let (one, two) = (
            AccessKey::parse(&one).unwrap(),
            AccessKey::parse(&two).unwrap(),
        );
        assert_ne!(one.derive_key("a"), one.derive_key("b"));
        assert_ne!(one.derive_key("a"), two.derive_key("a"));
        assert_ne!(one.derive_key("a"), one.signing.to_bytes());
    }

    #[test]
    fn recognises_its_own_shape() {
        assert!(is_access_key_shaped(&key_text(7)));
        assert!(!is_access_key_shaped("eyJhbGciOiJFZERTQSJ9.e30.c2ln"));
        assert!(!is_access_key_shaped("a.b.c.d"));
    }
}
