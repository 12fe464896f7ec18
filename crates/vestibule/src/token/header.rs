//! The JOSE header (RFC 7515 §4): which key is said to have signed, and what kind of token it is
//! said to be. Nothing in it can bring a key or choose an algorithm.

use super::{
    TokenClass,
    json::{Json, Members, read_object},
};
use crate::error::Reason;

/// The longest `kid`. Authress' own are about 22 characters.
const MAX_KID_BYTES: usize = 64;

/// A header without anything that must be refused.
#[derive(Debug)]
pub(crate) struct Header {
    kid: String,
    typ: Option<String>,
}

#[derive(Default)]
struct HeaderMembers {
    alg: Option<Json>,
    kid: Option<Json>,
    typ: Option<Json>,
    crit: Option<Json>,
    embedded_key: Option<Json>,
}

impl Members for HeaderMembers {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Json>> {
        match name {
            "alg" => Some(&mut self.alg),
            "kid" => Some(&mut self.kid),
            "typ" => Some(&mut self.typ),
            "crit" => Some(&mut self.crit),
            "jwk" | "jku" | "x5u" | "x5c" => Some(&mut self.embedded_key),
            // Ignored, as RFC 7515 §4 wants: `x5t` only names a certificate; `cty` says what the
            // claims contain, and those are read as claims or refused. `b64` (RFC 7797) means
            // something only where `crit` lists it, and then `crit` is refused; without it the
            // payload is what RFC 7515 says it is, for the signature and for us alike.
            _ => None,
        }
    }
}

impl Header {
    /// Reads the text of a header. Any value of `crit` and of the members that bring a key is
    /// refused, `null` too: whoever wrote it meant something that we would not do.
    pub(crate) fn read(text: &str) -> Result<Self, Reason> {
        let mut members = HeaderMembers::default();
        read_object(text, &mut members)?;
        if members.crit.is_some() {
            return Err(Reason::CriticalHeader);
        }
        if members.embedded_key.is_some() {
            return Err(Reason::EmbeddedKey);
        }
        // One algorithm, by its exact name: there is nothing to be confused about (RFC 8725 §3.1).
        if members.alg != Some(Json::Text("EdDSA".to_owned())) {
            return Err(Reason::UnsupportedAlgorithm);
        }
        let kid = match members.kid {
            Some(Json::Text(kid)) if is_key_id(&kid) => kid,
            _ => return Err(Reason::BadKeyId),
        };
        let typ = match members.typ {
            Some(Json::Text(typ)) => Some(typ),
            Some(_) => return Err(Reason::WrongType),
            None => None,
        };
        Ok(Self { kid, typ })
    }

    /// `kid`: which key of the issuer's set.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// `typ`, as it was written.
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Requires the explicit type of an access token (RFC 8725 §3.11, RFC 9068 §4), so that an
    /// identity token or a login code of the same issuer does not pass. Machines may also say
    /// `JWT`: Authress' Python SDK writes that, and a service client issues nothing else under
    /// it.
    pub(super) fn require_type(&self, class: TokenClass) -> Result<(), Reason> {
        let typ = self.typ.as_deref().ok_or(Reason::WrongType)?;
        let fits = is_media_type(typ, "at+jwt")
            || (class == TokenClass::Machine && is_media_type(typ, "jwt"));
        if fits { Ok(()) } else { Err(Reason::WrongType) }
    }
}

/// Whether a `kid` may be asked for: it reaches key sets, logs and caches before anything is
/// proven.
pub(super) fn is_key_id(text: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// RFC 7515 §4.1.9: a `typ` without a slash stands for `application/` and itself, and media
/// types have no case (RFC 2045 §5.1). Parameters are refused: none is defined for these types.
fn is_media_type(typ: &str, subtype: &str) -> bool {
    match typ.split_once('/') {
        None => typ.eq_ignore_ascii_case(subtype),
        Some((kind, rest)) => {
            kind.eq_ignore_ascii_case("application") && rest.eq_ignore_ascii_case(subtype)
        }
    }
}
