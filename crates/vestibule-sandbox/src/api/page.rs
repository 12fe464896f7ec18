//! Lists in pages, with the provider's cursors and links.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::route::Query;
use crate::sandbox::{Shared, encode_segment};

/// How one list is called and cut.
pub(crate) struct Listing {
    /// The path, which links repeat.
    pub(crate) path: &'static str,
    /// The member that holds the items.
    pub(crate) member: &'static str,
    /// The largest page, which is also the usual one.
    pub(crate) limit: usize,
    /// Whether the answer has `links`.
    pub(crate) links: bool,
}

impl Listing {
    /// One page of `all`, in the order of ids. A cursor names the last id that was given out, so
    /// that what is added or removed meanwhile neither repeats nor hides anything else.
    pub(crate) fn page<T>(
        &self,
        shared: &Shared,
        query: &Query,
        all: &BTreeMap<String, T>,
        record: impl Fn(&T) -> Option<Value>,
    ) -> Result<Reply, Reply> {
        let limit = match query.get("limit") {
            None => self.limit,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=self.limit).contains(&limit) => limit,
                _ => {
                    return Err(Reply::bad_request(format!(
                        "limit must be a number from 1 to {}",
                        self.limit
                    )));
                }
            },
        };
        let after = match query.get("cursor") {
            None => None,
            Some(cursor) => Some(
                read_cursor(cursor).ok_or_else(|| Reply::bad_request("The cursor is not ours"))?,
            ),
        };
        let mut found = all
            .iter()
            .filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after))
            .filter_map(|(id, item)| Some((id, record(item)?)));
        let page: Vec<(&String, Value)> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let cursor = page
            .last()
            .filter(|_| more)
            .map(|(id, _)| URL_SAFE_NO_PAD.encode(id));

        let mut body = Map::new();
        let items = page.into_iter().map(|(_, record)| record).collect();
        body.insert(self.member.to_owned(), Value::Array(items));
        let href = |cursor: Option<&str>| {
            let cursor = cursor.map(|cursor| format!("&cursor={}", encode_segment(cursor)));
            let cursor = cursor.unwrap_or_default();
            json!({ "href": format!("{}{}?limit={limit}{cursor}", shared.url, self.path) })
        };
        if self.links {
            let mut links = Map::new();
            links.insert("self".to_owned(), href(query.get("cursor")));
            if let Some(cursor) = &cursor {
                links.insert("next".to_owned(), href(Some(cursor)));
            }
            body.insert("links".to_owned(), Value::Object(links));
        }
        if let Some(cursor) = cursor {
            let next = json!({ "next": { "cursor": cursor } });
            body.insert("pagination".to_owned(), next);
        }
        Ok(Reply::json(Value::Object(body)))
    }
}

fn read_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
