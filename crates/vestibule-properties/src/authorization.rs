//! The `Authorization` headers of one request.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use vestibule::{BearerToken, Reason, bearer::MAX_TOKEN_BYTES};

/// One header for each line of `bytes`; no line is no header.
///
/// What is accepted is exactly one header of the form that RFC 6750 §2.1 gives; no header is no
/// token, and not a refusal. The token that comes out is the token that went in.
pub fn authorization(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    if !bytes.is_empty() {
        for line in bytes.split(|byte| *byte == b'\n') {
            // Such a header reaches nobody: the HTTP library refuses it.
            let Ok(value) = HeaderValue::from_bytes(line) else {
                return;
            };
            headers.append(AUTHORIZATION, value);
        }
    }
    let found = BearerToken::from_headers(&headers);
    let values: Vec<&[u8]> = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match values.as_slice() {
        [] => assert_eq!(found, Ok(None), "no header is no token"),
        [value] => one(value, found),
        _ => assert_eq!(found, Err(Reason::MalformedAuthorization), "several"),
    }
}

fn one(value: &[u8], found: Result<Option<BearerToken<'_>>, Reason>) {
    let token = behind_scheme(value);
    match found {
        Ok(None) => panic!("a header was taken for none"),
        Ok(Some(found)) => {
            let token = token.expect("another scheme");
            assert!(is_b64token(token), "no b64token was accepted");
            assert!(token.len() <= MAX_TOKEN_BYTES, "a long token was accepted");
            let alone = BearerToken::parse(std::str::from_utf8(token).unwrap());
            assert_eq!(alone, Ok(found), "another token came out");
            let shown = format!("BearerToken({} bytes)", token.len());
            assert_eq!(format!("{found:?}"), shown, "more than its length is shown");
        }
        Err(Reason::TokenTooLong) => {
            assert!(token.is_some_and(|token| token.len() > MAX_TOKEN_BYTES));
        }
        Err(Reason::MalformedAuthorization) => {
            let fits = token.is_some_and(is_b64token);
            assert!(!fits, "a header of the right form was refused");
        }
        Err(reason) => panic!("refused for {reason}"),
    }
}

/// `"Bearer" 1*SP`, the scheme in any case (RFC 9110 §11.1); then the rest.
fn behind_scheme(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let token = value[space..].iter().position(|byte| *byte != b' ');
    let token = token.map_or(&[][..], |start| &value[space + start..]);
    value[..space]
        .eq_ignore_ascii_case(b"BEARER")
        .then_some(token)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(token: &[u8]) -> bool {
    let end = token.iter().position(|byte| *byte == b'=');
    let (core, padding) = token.split_at(end.unwrap_or(token.len()));
    !core.is_empty()
        && padding.iter().all(|byte| *byte == b'=')
        && core
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}
