//! What a request says: its JSON body, its search.

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, RawQuery, Request},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use vestibule::{error::Code, http::Problem};

use super::operations::invalid;

/// Larger than any token or list of scopes.
const LARGEST: usize = 64 * 1024;

/// The longest text that is searched for.
const LONGEST_SEARCH: usize = 256;

/// The body, as JSON; none is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = to_bytes(request.into_body(), LARGEST)
            .await
            .map_err(|_| Problem::new(Code::RequestTooLarge))?;
        let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        let body = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("the body cannot be used: {error}")))?;
        Ok(Self(body))
    }
}

/// `?search=…`: none where it is missing or empty.
pub(super) struct Search(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Search {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, state).await;
        let text = parameter(query.as_deref().unwrap_or_default(), "search")?;
        if text
            .as_ref()
            .is_some_and(|text| text.len() > LONGEST_SEARCH)
        {
            return Err(invalid(format!(
                "what is searched for has at most {LONGEST_SEARCH} bytes"
            )));
        }
        Ok(Self(text.filter(|text| !text.is_empty())))
    }
}

/// The parameter's value; it may be there once.
pub(super) fn parameter(query: &str, wanted: &str) -> Result<Option<String>, Problem> {
    let mut found = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != wanted {
            continue;
        }
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| invalid(format!("`{wanted}` is not UTF-8")))?
            .into_owned();
        if found.replace(value).is_some() {
            return Err(invalid(format!("`{wanted}` is there twice")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_there_once() {
        let read = |query| parameter(query, "search").ok();
        assert_eq!(read("limit=1"), Some(None));
        assert_eq!(read("search="), Some(Some(String::new())));
        assert_eq!(
            read("a=b&search=Zo%C3%AB+B"),
            Some(Some("Zoë B".to_owned()))
        );
        assert_eq!(read("search=a&search=a"), None);
        assert_eq!(read("search=%ff"), None);
    }
}
