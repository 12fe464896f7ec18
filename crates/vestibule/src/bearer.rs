//! The bearer token of a request: exactly one `Authorization: Bearer <token>` header
//! (RFC 6750 §2.1), and nothing else. No cookie, no query string, no body.

use std::fmt;

use http::{HeaderMap, header::AUTHORIZATION};

use crate::error::Reason;

/// The longest token that is judged; a longer one costs nothing but this comparison.
pub const MAX_TOKEN_BYTES: usize = 8_192;

const SCHEME: &[u8] = b"bearer";

/// A token as the request carried it: of a possible form, and unproven.
///
/// `Debug` shows its length only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BearerToken<'a>(&'a str);

impl<'a> BearerToken<'a> {
    /// Reads the request's token; none where there is no `Authorization` header.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedAuthorization`] for several headers, another scheme, no token or bytes
    /// that no token has; [`Reason::TokenTooLong`] for more than [`MAX_TOKEN_BYTES`].
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Option<Self>, Reason> {
        let mut values = headers.get_all(AUTHORIZATION).into_iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        // Two headers: which one an upstream proxy judged cannot be known.
        if values.next().is_some() {
            return Err(Reason::MalformedAuthorization);
        }
        let (scheme, rest) = value
            .as_bytes()
            .split_at_checked(SCHEME.len())
            .ok_or(Reason::MalformedAuthorization)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(Reason::MalformedAuthorization);
        }
        // `"Bearer" 1*SP b64token`: at least one space, and nothing but spaces.
        let token = skip_spaces(rest);
        if token.len() == rest.len() {
            return Err(Reason::MalformedAuthorization);
        }
        Self::from_bytes(token).map(Some)
    }

    /// Takes a token that came by itself, without a scheme.
    ///
    /// # Errors
    ///
    /// As [`BearerToken::from_headers`].
    pub fn parse(token: &'a str) -> Result<Self, Reason> {
        Self::from_bytes(token.as_bytes())
    }

    fn from_bytes(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TokenTooLong);
        }
        // b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
        let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
        let characters = token.len().saturating_sub(padding);
        if characters == 0
            // All of them in any case: without a way out in between, many are judged at once.
            || !token
                .iter()
                .take(characters)
                .fold(true, |good, byte| good & is_token_byte(*byte))
        {
            return Err(Reason::MalformedAuthorization);
        }
        std::str::from_utf8(token)
            .map(Self)
            .map_err(|_| Reason::MalformedAuthorization)
    }

    /// The token itself.
    pub(crate) const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({} bytes)", self.0.len())
    }
}

fn skip_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn is_token_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    let dash_to_slash = byte.wrapping_sub(b'-') < 3;
    letter | digit | dash_to_slash | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn one(value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    fn read(value: &[u8]) -> Result<Option<String>, Reason> {
        BearerToken::from_headers(&one(value)).map(|token| token.map(|t| t.as_str().to_owned()))
    }

    #[test]
    fn no_header_is_no_token() {
        assert_eq!(BearerToken::from_headers(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_tokens_bytes_are_those_of_rfc_6750() {
        let named = b"-._~+/";
        for byte in u8::MIN..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || named.contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn the_scheme_has_no_case() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(
                read(format!("{scheme} a.b.c").as_bytes()),
                Ok(Some("a.b.c".to_owned()))
            );
        }
        assert_eq!(read(b"Bearer   a.b.c"), Ok(Some("a.b.c".to_owned())));
        assert_eq!(
            read(b"Bearer a-._~+/9Z=="),
            Ok(Some("a-._~+/9Z==".to_owned()))
        );
    }

    #[test]
    fn everything_else_is_malformed() {
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer    ",
            b" Bearer a",
            b"Bearera",
            b"Bearer\ta",
            b"Bearer \ta",
            b"Bearer a b",
            b"Bearer a ",
            b"Bearer a,b",
            b"Bearer a, Bearer b",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer \"a\"",
            b"Bearer a\xff",
            b"Basic dXNlcjpwYXNz",
            b"Bearer: a",
            b"Token a",
            b"a.b.c",
        ] {
            assert_eq!(
                read(value),
                Err(Reason::MalformedAuthorization),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn two_headers_are_refused_even_if_equal() {
        let mut headers = one(b"Bearer a");
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(
            BearerToken::from_headers(&headers),
            Err(Reason::MalformedAuthorization)
        );
    }

    #[test]
    fn length_is_judged_before_characters() {
        let longest = "a".repeat(MAX_TOKEN_BYTES);
        assert_eq!(
            read(format!("Bearer {longest}").as_bytes()),
            Ok(Some(longest))
        );
        let longer = "\u{e4}".repeat(MAX_TOKEN_BYTES / 2 + 1);
        assert_eq!(
            read(format!("Bearer {longer}").as_bytes()),
            Err(Reason::TokenTooLong)
        );
        assert_eq!(BearerToken::parse(&longer), Err(Reason::TokenTooLong));
    }

    #[test]
    fn debug_hides_the_token() {
        let token = BearerToken::parse("secret.secret.secret").unwrap();
        assert_eq!(format!("{token:?}"), "BearerToken(20 bytes)");
    }

    #[test]
    fn a_token_alone_has_no_scheme() {
        assert_eq!(BearerToken::parse("a.b.c").map(|t| t.as_str()), Ok("a.b.c"));
        assert_eq!(
            BearerToken::parse("Bearer a.b.c"),
            Err(Reason::MalformedAuthorization)
        );
        assert_eq!(BearerToken::parse(""), Err(Reason::MalformedAuthorization));
    }

    proptest! {
        /// Whatever the bytes, the answer is the grammar's: written here a second time, as a
        /// search for the only two halves that can make up an acceptable value.
        #[test]
        fn accepts_exactly_one_form(value in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            "[bB][eE][aA][rR][eE][rR][ \t]{0,3}[a-zA-Z0-9._~+/=, -]{0,20}".prop_map(String::into_bytes),
        ]) {
            let Ok(header) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header);
            let expected = std::str::from_utf8(&value).ok().and_then(|text| {
                let (scheme, rest) = text.split_once(' ')?;
                let token = rest.trim_start_matches(' ');
                let core = token.trim_end_matches('=');
                let fits = scheme.eq_ignore_ascii_case("bearer")
                    && !core.is_empty()
                    && core.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
                fits.then_some(token)
            });
            match (BearerToken::from_headers(&headers), expected) {
                (Ok(Some(token)), Some(expected)) => prop_assert_eq!(token.as_str(), expected),
                (Err(reason), None) => prop_assert_eq!(reason, Reason::MalformedAuthorization),
                (found, expected) => prop_assert!(false, "{found:?} against {expected:?}"),
            }
        }

        /// No text makes it panic, and whatever is accepted is the text itself.
        #[test]
        fn parse_never_panics(text in any::<String>()) {
            if let Ok(token) = BearerToken::parse(&text) {
                prop_assert_eq!(token.as_str(), text.as_str());
            }
        }
    }
}
