//! What the files in `tests/vectors` say. `docs/vectors.md` explains each word.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// A file: one theme.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "for readers of the file")]
    about: String,
    /// Of the server, beside those that all have.
    #[serde(default)]
    settings: Settings,
    vectors: Vec<Vector>,
}

/// Settings by name; an empty one is as good as missing.
pub(crate) type Settings = BTreeMap<String, String>;

/// One request, and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) base: Base,
    #[serde(default)]
    pub(crate) changes: Vec<Step>,
    pub(crate) status: u16,
    /// The code on the wire; empty where the request is accepted.
    #[serde(default)]
    pub(crate) code: String,
    /// The exact reason in the server's own log; empty where the request is accepted.
    #[serde(default)]
    pub(crate) reason: String,
    /// Whether no key is needed to say so, where the reason alone does not tell.
    pub(crate) before_key: Option<bool>,
    pub(crate) because: String,
}

/// A token that is right in everything, of a kind that may be accepted or not.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Base {
    None,
    User,
    Machine,
    LoginCode,
    IdToken,
    OauthToken,
    OwnClient,
    UnregisteredClient,
    UnknownClient,
}

/// One step of the recipe. Steps act in their order, but what touches the written token comes
/// after all that touches its members, and transport comes last.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    // Members.
    SetHeader(String, Value),
    RemoveHeader(String),
    DoubleHeader(String, Value),
    RawHeader(String),
    SetClaim(String, Value),
    /// A claim of seconds from now.
    SetTime(String, i64),
    RemoveClaim(String),
    DoubleClaim(String, Value),
    RawClaims(String),
    /// Claims of so many bytes of padding that the token is the longest up to this length.
    FillTo(usize),
    /// As `FillTo`, and one more step of padding.
    FillPast(usize),
    // Who signs; `kid` stays.
    SignWith(Signer),
    /// Sets `kid` to that of this signer's key.
    KidOf(Signer),
    // The written token.
    Replace(usize, String),
    Append(usize, String),
    Prepend(usize, String),
    /// Sets an unused bit in the last character of a part (RFC 4648 §3.5).
    UnusedBit(usize),
    /// Writes a part in the alphabet of plain base64, with its padding.
    PlainBase64(usize),
    Signature(SignatureForm),
    /// The whole token, with `{header}`, `{claims}` and `{signature}`.
    Token(String),
    // Transport.
    Authorization(Vec<String>),
    OtherHeader(String, String),
    Query(String),
    Body(String),
}

#[derive(Debug, Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signer {
    Account,
    Stranger,
    /// A service client.
    Client(String),
    /// The key of this name that a set publishes in a form that makes it unusable.
    Unusable(String),
}

#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignatureForm {
    Empty,
    /// The first byte turned over by one bit.
    Tampered,
    /// A bit of S turned over.
    TamperedScalar,
    Short,
    Long,
    Twice,
    Zeros,
    Ones,
    /// R is the neutral element and S is zero.
    Neutral,
    /// S plus the order of the group: the same equation in a second form.
    SecondForm,
    /// R and S in each other's place.
    Swapped,
    /// In hexadecimal digits.
    Hexadecimal,
    /// HMAC-SHA-256 with the public key's bytes as its secret.
    HmacOfPublicKey,
    /// HMAC-SHA-256 with the JSON of the public key as its secret.
    HmacOfJwk,
    /// HMAC-SHA-256 with an empty secret.
    HmacOfNothing,
    /// Over the claims alone.
    OverClaims,
    /// Over the decoded header and claims.
    OverDecoded,
    /// Over header and claims with nothing between them.
    WithoutDot,
    /// That of another good token of the same key.
    OfOther,
}

/// Vectors that one server can be asked, whatever their file.
pub(crate) struct Group {
    pub(crate) settings: Settings,
    pub(crate) vectors: Vec<Vector>,
}

/// The files, by name.
fn files() -> Vec<(String, File)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let file: File = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let theme = path.file_stem().unwrap().to_str().unwrap();
        (theme.to_owned(), file)
    };
    paths.iter().map(|path| read(path)).collect()
}

/// The vectors by the settings that they need, those without any first. Their names begin with the
/// name of their file.
pub(crate) fn groups() -> Vec<Group> {
    let mut groups: BTreeMap<Settings, Vec<Vector>> = BTreeMap::new();
    for (theme, file) in files() {
        let vectors = file.vectors.into_iter().map(|vector| Vector {
            name: format!("{theme}/{}", vector.name),
            ..vector
        });
        groups.entry(file.settings).or_default().extend(vectors);
    }
    let group = |(settings, vectors)| Group { settings, vectors };
    groups.into_iter().map(group).collect()
}

/// All of them.
pub(crate) fn vectors() -> Vec<Vector> {
    groups()
        .into_iter()
        .flat_map(|group| group.vectors)
        .collect()
}

/// The keys by which vectors sign though a set says that they are for something else.
pub(crate) fn unusable_keys() -> Vec<String> {
    let all = vectors().into_iter().flat_map(|vector| vector.changes);
    all.filter_map(|step| match step {
        Step::SignWith(Signer::Unusable(kid)) | Step::KidOf(Signer::Unusable(kid)) => Some(kid),
        _ => None,
    })
    .collect()
}

impl Vector {
    pub(crate) fn is_accepted(&self) -> bool {
        self.status == 200
    }

    /// Whether the server must be able to say so without any key.
    pub(crate) fn needs_no_key(&self) -> bool {
        self.before_key.unwrap_or(matches!(
            self.reason.as_str(),
            "missing_token"
                | "malformed_authorization"
                | "token_too_long"
                | "not_three_parts"
                | "bad_base64"
                | "bad_json"
                | "duplicate_member"
                | "access_key_shaped"
                | "unsupported_algorithm"
                | "critical_header"
                | "embedded_key"
                | "bad_key_id"
                | "wrong_type"
                | "missing_issuer"
                | "unknown_issuer"
                | "unregistered_client"
        ))
    }
}
