//! `?limit=1..200&cursor=…`: which part of a list is wanted.

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use vestibule::{error::Code, http::Problem, store::Page};

/// Items of a page where the caller does not say: one screen, one small answer.
const USUAL_LIMIT: u16 = 50;
const LARGEST_LIMIT: u16 = 200;

/// The longest cursor that is looked at; ours are far shorter.
const CURSOR_BYTES: usize = 256;

/// The page that the query asks for.
///
/// Put it behind the extractor of the caller: who may not come in learns nothing of queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paging(pub(crate) Page);

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, state).await;
        read(query.as_deref().unwrap_or_default()).ok_or_else(|| Problem::new(Code::InvalidRequest))
    }
}

/// Reads the query; none where `limit` or `cursor` is wrong or occurs twice. Other parameters are
/// none of ours.
fn read(query: &str) -> Option<Paging> {
    let mut limit = None;
    let mut cursor = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "limit" => &mut limit,
            "cursor" => &mut cursor,
            _ => continue,
        };
        let value = percent_decode_str(value).decode_utf8().ok()?.into_owned();
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let limit = match limit {
        None => USUAL_LIMIT,
        // `u16::from_str` takes a sign, which no limit has.
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LARGEST_LIMIT).contains(limit))?,
        Some(_) => return None,
    };
    if cursor
        .as_ref()
        .is_some_and(|cursor| cursor.is_empty() || cursor.len() > CURSOR_BYTES)
    {
        return None;
    }
    Some(Paging(Page { limit, cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: u16, cursor: Option<&str>) -> Option<Paging> {
        Some(Paging(Page {
            limit,
            cursor: cursor.map(str::to_owned),
        }))
    }

    #[test]
    fn what_is_accepted() {
        assert_eq!(read(""), page(50, None));
        assert_eq!(read("limit=1"), page(1, None));
        assert_eq!(read("limit=200&cursor=a%2Bb"), page(200, Some("a+b")));
        assert_eq!(read("other=1&&limit=7&other=2"), page(7, None));
        assert_eq!(read("limit=%31"), page(1, None));
    }

    #[test]
    fn what_is_not() {
        for query in [
            "limit=0",
            "limit=201",
            "limit=70000",
            "limit=",
            "limit",
            "limit=+1",
            "limit=-1",
            "limit=1.0",
            "limit=x",
            "limit=1&limit=1",
            "cursor=",
            "cursor=a&cursor=a",
            "cursor=%ff",
        ] {
            assert_eq!(read(query), None, "{query}");
        }
        assert_eq!(read(&format!("cursor={}", "a".repeat(257))), None);
    }
}
