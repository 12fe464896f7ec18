//! A JWK set (RFC 7517 §5, RFC 8037) → the keys in it that can verify EdDSA signatures.
//!
//! Sets are shared with other purposes and other algorithms, so what does not fit is skipped
//! (RFC 7517 §5: keys that are not understood are ignored). What fits must fit wholly: one key
//! taken for another purpose is worse than one missing.

use std::{collections::HashMap, fmt, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{VerifyingKey, header::is_key_id};

/// The most keys of one set; Authress has at most 5 per service client. More would let a
/// provider fill our memory; further keys are not used.
const MAX_KEYS: usize = 100;

/// The usable keys of one set, by `kid`. Cheap to look into; never changes. The default is empty.
#[derive(Default)]
pub struct KeySet {
    /// None: several different keys have the name, so it names none of them.
    keys: HashMap<Box<str>, Option<VerifyingKey>>,
}

/// The document is not a JWK set. Whoever fetched it keeps what it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with a list of keys")]
pub struct KeySetError;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

/// A key that cannot be read, a member given twice included, takes none of the others with it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Key(Object<Jwk>),
    Other(IgnoredAny),
}

/// A value with named members, and nothing else: serde would also take a list of their values. A
/// document like `[[]]` would then be a set that withdraws all keys.
struct Object<T>(T);

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    d: Option<IgnoredAny>,
}

impl KeySet {
    /// Reads a JWK set. One without a usable key is read too, and is then [empty](Self::is_empty).
    ///
    /// Usable is a key with `kty` OKP, `crv` Ed25519, an `x` of 32 bytes that is a point of large
    /// order, a `kid` that a token could name, and, where given, `alg` EdDSA, `use` sig and
    /// `key_ops` with verify. A key that shows its private part (`d`) is nobody's any more.
    ///
    /// Two different usable keys of one `kid` are both unusable: which of them a token means
    /// depends on who looks.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] where the document is no key set.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        // RFC 8259 §8.1: JSON is UTF-8, also in what is not looked at.
        let document = std::str::from_utf8(document).map_err(|_| KeySetError)?;
        let Object(document): Object<Document> =
            serde_json::from_str(document).map_err(|_| KeySetError)?;
        let mut keys: HashMap<Box<str>, Option<VerifyingKey>> = HashMap::new();
        for entry in document.keys {
            let Entry::Key(Object(jwk)) = entry else {
                continue;
            };
            let Some(key) = jwk.usable() else { continue };
            if let Some(known) = keys.get_mut(&*jwk.kid) {
                if known.as_ref() != Some(&key) {
                    *known = None;
                }
            } else if keys.len() < MAX_KEYS {
                keys.insert(jwk.kid.into(), Some(key));
            }
        }
        Ok(Self { keys })
    }

    /// The key named `kid`.
    pub fn get(&self, kid: &str) -> Option<VerifyingKey> {
        self.keys.get(kid)?.clone()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.values().flatten().count()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.len())
    }
}

impl<'t, T: Deserialize<'t>> Deserialize<'t> for Object<T> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'t, T: Deserialize<'t>> Visitor<'t> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl Jwk {
    fn usable(&self) -> Option<VerifyingKey> {
        let fits = self.kty == "OKP"
            && self.crv == "Ed25519"
            && is_key_id(&self.kid)
            && self.alg.as_deref().is_none_or(|alg| alg == "EdDSA")
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self
                .key_ops
                .as_deref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"))
            && self.d.is_none();
        if !fits {
            return None;
        }
        let x: [u8; 32] = URL_SAFE_NO_PAD.decode(&self.x).ok()?.try_into().ok()?;
        VerifyingKey::from_bytes(&x)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn public(seed: u8) -> VerifyingKey {
        VerifyingKey::from(&SigningKey::from_bytes(&[seed; 32]))
    }

    fn jwk(kid: &str, seed: u8) -> Value {
        let x = URL_SAFE_NO_PAD.encode(public(seed).as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x })
    }

    fn parse(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn finds_each_key_by_its_name() {
        let set = parse(&[jwk("k1", 1), jwk("k2", 2)]);
        assert_eq!(set.get("k1"), Some(public(1)));
        assert_eq!(set.get("k2"), Some(public(2)));
        assert!(set.get("K1").is_none() && set.get("").is_none());
        assert_eq!((set.len(), set.is_empty()), (2, false));
    }

    #[test]
    fn optional_members_may_be_missing_and_unknown_ones_be_there() {
        for (member, value) in [
            ("alg", None),
            ("use", None),
            ("alg", Some(json!(null))),
            ("key_ops", Some(json!(["verify"]))),
            ("key_ops", Some(json!(["sign", "verify"]))),
            ("x5t", Some(json!("abc"))),
            ("other", Some(json!({ "a": [1] }))),
        ] {
            let mut key = jwk("k1", 1);
            match value {
                Some(value) => key[member] = value,
                None => drop(key.as_object_mut().unwrap().remove(member)),
            }
            assert!(parse(&[key]).get("k1").is_some(), "{member}");
        }
    }

    #[test]
    fn what_does_not_fit_is_skipped_and_takes_no_other_key_with_it() {
        let x = URL_SAFE_NO_PAD.encode(public(1).as_bytes());
        for (member, value) in [
            ("kty", json!("RSA")),
            ("kty", json!("okp")),
            ("kty", json!("EC")),
            ("crv", json!("X25519")),
            ("crv", json!("Ed448")),
            ("crv", json!("ed25519")),
            ("crv", json!(null)),
            ("alg", json!("RS256")),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("ES256")),
            ("alg", json!("eddsa")),
            ("alg", json!(1)),
            ("use", json!("enc")),
            ("use", json!("")),
            ("key_ops", json!([])),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!("verify")),
            ("d", json!("AAAA")),
            ("kid", json!("")),
            ("kid", json!("k 1")),
            ("kid", json!("k".repeat(65))),
            ("kid", json!(1)),
            ("x", json!("")),
            ("x", json!(format!("{x}="))),
            ("x", json!(format!("{x}A"))),
            ("x", json!(&x[1..])),
            ("x", json!(x.replace(&x[..1], "*"))),
            ("x", json!([1, 2])),
        ] {
            let mut key = jwk("k1", 1);
            key[member] = value.clone();
            let set = parse(&[key, jwk("good", 2)]);
            assert_eq!(set.len(), 1, "{member} {value}");
            assert!(set.get("good").is_some(), "{member} {value}");
        }
        // The last has the values of a key in the order in which we happen to read them.
        let values = jwk("k1", 1);
        let values = ["kty", "crv", "kid", "x", "alg", "use", "key_ops", "d"]
            .map(|name| values.get(name).cloned().unwrap_or_default());
        for other in [
            json!(null),
            json!(1),
            json!("k1"),
            json!([]),
            json!({}),
            json!(values),
        ] {
            assert_eq!(parse(&[other, jwk("good", 2)]).len(), 1);
        }
    }

    #[test]
    fn a_key_with_a_member_given_twice_is_skipped() {
        let twice = jwk("k1", 1).to_string().replacen('{', r#"{"kid":"k1","#, 1);
        let document = format!(r#"{{"keys":[{twice},{}]}}"#, jwk("good", 2));
        let set = KeySet::parse(document.as_bytes()).unwrap();
        assert_eq!(set.len(), 1);
        assert!(set.get("good").is_some());
    }

    #[test]
    fn points_that_everybody_can_sign_for_are_skipped() {
        let mut order_two = [0xff; 32];
        order_two[0] = 0xec;
        order_two[31] = 0x7f;
        let mut identity = [0; 32];
        identity[0] = 1;
        // y = p + 1: the identity again, written in the other way.
        let mut identity_again = [0xff; 32];
        identity_again[0] = 0xee;
        identity_again[31] = 0x7f;
        let order_eight: [u8; 32] = [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ];
        for point in [[0; 32], order_two, identity, identity_again, order_eight] {
            let mut key = jwk("k1", 1);
            key["x"] = json!(URL_SAFE_NO_PAD.encode(point));
            assert!(parse(&[key]).is_empty(), "{point:x?}");
        }
    }

    #[test]
    fn one_name_for_two_keys_names_neither() {
        let set = parse(&[jwk("k1", 1), jwk("k1", 2), jwk("k1", 1), jwk("k2", 3)]);
        assert!(set.get("k1").is_none());
        assert_eq!(set.len(), 1);
        // The same key twice is one key; an unusable one beside it takes nothing away.
        let mut other = jwk("k1", 2);
        other["kty"] = json!("EC");
        let set = parse(&[jwk("k1", 1), other, jwk("k1", 1)]);
        assert_eq!(set.get("k1"), Some(public(1)));
    }

    #[test]
    fn at_most_a_hundred_keys() {
        let keys: Vec<_> = (0..=u8::MAX).map(|i| jwk(&format!("k{i}"), i)).collect();
        let set = parse(&keys);
        assert_eq!(set.len(), MAX_KEYS);
        assert!(set.get("k0").is_some() && set.get("k255").is_none());
        // A second meaning of a name counts, however late it comes.
        let mut keys = keys;
        keys.push(jwk("k0", 77));
        assert!(parse(&keys).get("k0").is_none());
    }

    #[test]
    fn other_documents_are_no_key_sets() {
        let twice = r#"{"keys":[],"keys":[]}"#;
        let deep = format!("{{\"keys\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        for document in [
            "",
            "null",
            "[]",
            "[[]]",
            "{}",
            r#"{"keys":{}}"#,
            "<html>",
            twice,
            &deep,
        ] {
            assert!(
                KeySet::parse(document.as_bytes()).is_err(),
                "{document:.40}"
            );
        }
        assert!(KeySet::parse(b"{\"keys\":[],\"other\":\"\xff\"}").is_err());
        let empty = KeySet::parse(br#"{"keys":[],"other":1}"#).unwrap();
        assert!(empty.is_empty());
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::parse(&bytes);
            let _ = KeySet::parse(&[br#"{"keys":["#, &bytes[..], b"]}"].concat());
        }
    }
}
