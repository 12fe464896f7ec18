//! The keys that sign assertions: a new one each day, the same on every replica.
//!
//! All replicas have the same secret, and a day's key is derived from it. So they agree without
//! asking each other, and a restart changes nothing. Published are yesterday's key, today's and
//! tomorrow's: an application that fetches the set once a day never meets an unknown one. An
//! application with this library and the same access key derives the same three and fetches none.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{clock::Timestamp, provider::access_key::AccessKey, token::VerifyingKey};

/// How long a key signs, in seconds.
const DAY: i64 = 86_400;

/// What all keys are derived from.
#[derive(Clone)]
pub(super) struct Root(Zeroizing<[u8; 32]>);

/// The keys that count now, as a verifier has them: yesterday's, today's and tomorrow's.
pub(super) struct Ring {
    root: Root,
    now: Mutex<Option<Arc<Keys>>>,
}

/// The keys around one day.
struct Keys {
    day: i64,
    all: [DayVerifyingKey; 3],
}

/// What checks the signatures of one day.
#[derive(Clone)]
pub(super) struct DayVerifyingKey {
    day: i64,
    key_id: String,
    key: VerifyingKey,
}

/// One day's key.
pub(super) struct DayKey {
    day: i64,
    key_id: String,
    signing: SigningKey,
}

/// A key as applications get it (RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

impl Root {
    /// The root that everybody has who has this access key.
    pub(super) fn of(access_key: &AccessKey) -> Self {
        Self::new(access_key.derive_key("assertions"))
    }

    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The key of the day in which `now`, in seconds since 1970, lies.
    pub(super) fn key_at(&self, now: i64) -> DayKey {
        let day = now.div_euclid(DAY);
        let derived = Hkdf::<Sha256>::new(Some(b"vestibule assertion v1"), self.0.as_slice());
        let mut seed = Zeroizing::new([0; 32]);
        // 32 bytes is within HKDF's limit of 255 blocks, so expansion cannot fail.
        let _ = derived.expand(&day.to_be_bytes(), seed.as_mut_slice());
        let signing = SigningKey::from_bytes(&seed);
        let key_id = thumbprint(&encoded_point(&signing));
        DayKey {
            day,
            key_id,
            signing,
        }
    }

    /// What is published at `now`.
    pub(super) fn published_at(&self, now: i64) -> Vec<PublicKey> {
        [-DAY, 0, DAY]
            .into_iter()
            .map(|offset| self.key_at(now.saturating_add(offset)).public())
            .collect()
    }
}

impl DayKey {
    /// Whether this is still the key of `now`.
    pub(super) const fn is_of(&self, now: i64) -> bool {
        now.div_euclid(DAY) == self.day
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    fn verifying(&self) -> DayVerifyingKey {
        DayVerifyingKey {
            day: self.day,
            key_id: self.key_id.clone(),
            key: VerifyingKey::from(&self.signing),
        }
    }

    fn public(&self) -> PublicKey {
        PublicKey {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            r#use: "sig",
            kid: self.key_id.clone(),
            x: encoded_point(&self.signing),
        }
    }
}

impl Ring {
    pub(super) fn new(root: Root) -> Self {
        Self {
            root,
            now: Mutex::new(None),
        }
    }

    /// The key `kid`, where it is one of those that are published at `now`.
    pub(super) fn find(&self, kid: &str, now: Timestamp) -> Option<DayVerifyingKey> {
        let keys = self.at(now.as_secs());
        keys.all.iter().find(|key| key.key_id == kid).cloned()
    }

    fn at(&self, now: i64) -> Arc<Keys> {
        let mut held = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let today = now.div_euclid(DAY);
        match held.as_ref().filter(|keys| keys.day == today) {
            Some(keys) => Arc::clone(keys),
            None => Arc::clone(held.insert(Arc::new(Keys::around(&self.root, now)))),
        }
    }
}

impl Keys {
    fn around(root: &Root, now: i64) -> Self {
        let key = |offset| root.key_at(now.saturating_add(offset)).verifying();
        Self {
            day: now.div_euclid(DAY),
            all: [key(-DAY), key(0), key(DAY)],
        }
    }
}

impl DayVerifyingKey {
    pub(super) const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether the key was the one to sign at `moment`.
    pub(super) const fn signs_at(&self, moment: Timestamp) -> bool {
        moment.as_secs().div_euclid(DAY) == self.day
    }
}

fn encoded_point(key: &SigningKey) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())
}

/// RFC 7638 §3 with the members of RFC 8037 §2.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root(…)")
    }
}

impl fmt::Debug for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayKey")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_of_rfc_8037() {
        // RFC 8037 appendix A.3.
        assert_eq!(
            thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_key_a_day_and_three_published() {
        let root = Root::new([7; 32]);
        let noon = 1_795_521_600;
        let today = root.key_at(noon);
        assert!(today.is_of(noon + DAY / 2 - 1) && !today.is_of(noon + DAY / 2));
        let tomorrow = root.key_at(noon + DAY);
        assert_ne!(today.key_id(), tomorrow.key_id());
        let published = root.published_at(noon);
        assert_eq!(published[1], today.public());
        assert_eq!(published[2], tomorrow.public());
        assert_eq!(published[1..], root.published_at(noon + DAY)[..2]);
        // The verifier's three are the published ones, today and a day later.
        let ring = Ring::new(root.clone());
        for now in [noon, noon + DAY] {
            for key in root.published_at(now) {
                assert!(ring.find(&key.kid, Timestamp::from_secs(now)).is_some());
            }
        }
        let past = root.key_at(noon - DAY);
        assert!(
            ring.find(past.key_id(), Timestamp::from_secs(noon + DAY))
                .is_none()
        );
        // Another secret, other keys.
        let other = Root::new([8; 32]);
        assert_ne!(other.key_at(noon).public(), today.public());
    }
}
