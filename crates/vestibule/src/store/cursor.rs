//! Pages: lists are cut at ids, which are opaque to the caller.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Page, PageOf, StoreError};

/// The longest page.
const MAX_LIMIT: u16 = 200;

/// The bounds of a statement that reads one page: everything beyond `beyond`, and one row more
/// than is shown, which tells whether there is a next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) beyond: Uuid,
    limit: usize,
}

/// Bounds for `id > beyond ORDER BY id`.
pub(crate) fn oldest_first(page: &Page) -> Result<Bounds, StoreError> {
    Bounds::of(page, Uuid::nil())
}

/// Bounds for `id < beyond ORDER BY id DESC`.
pub(crate) fn newest_first(page: &Page) -> Result<Bounds, StoreError> {
    Bounds::of(page, Uuid::max())
}

/// The pattern of `LIKE … ESCAPE '!'` for what begins with `text`, in lower case.
pub(crate) fn beginning(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 1);
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

impl Bounds {
    fn of(page: &Page, start: Uuid) -> Result<Self, StoreError> {
        let beyond = match page.cursor.as_deref() {
            None => start,
            Some(cursor) => URL_SAFE_NO_PAD
                .decode(cursor)
                .ok()
                .and_then(|bytes| Uuid::from_slice(&bytes).ok())
                .ok_or(StoreError::BadCursor)?,
        };
        Ok(Self {
            beyond,
            limit: usize::from(page.limit.clamp(1, MAX_LIMIT)),
        })
    }

    /// The number of rows to ask for.
    pub(crate) fn rows(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(0) + 1
    }

    /// The page made of the rows that came.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> Uuid) -> PageOf<T> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let last = if more { items.last() } else { None };
        let next_cursor = last.map(|item| URL_SAFE_NO_PAD.encode(id(item).as_bytes()));
        PageOf { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: u16, cursor: Option<&str>) -> Page {
        Page {
            limit,
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn a_cursor_leads_to_the_next_page_only_where_there_is_one() {
        let ids: Vec<_> = (1..=3).map(Uuid::from_u128).collect();
        let bounds = oldest_first(&page(2, None)).unwrap();
        assert_eq!((bounds.beyond, bounds.rows()), (Uuid::nil(), 3));
        let first = bounds.page(ids.clone(), |id| *id);
        assert_eq!(first.items, ids[..2]);
        let cursor = first.next_cursor.unwrap();
        assert_eq!(
            oldest_first(&page(2, Some(&cursor))).unwrap().beyond,
            ids[1]
        );
        assert_eq!(bounds.page(ids[..2].to_vec(), |id| *id).next_cursor, None);
        assert_eq!(newest_first(&page(1, None)).unwrap().beyond, Uuid::max());
    }

    #[test]
    fn a_pattern_has_no_more_wildcards_than_its_own() {
        assert_eq!(beginning("Ada"), "ada%");
        assert_eq!(beginning("50%_!"), "50!%!_!!%");
        assert_eq!(beginning(""), "%");
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for cursor in ["", "x", "AAAA", "not base64!", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            let refused = oldest_first(&page(1, Some(cursor)));
            assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}");
        }
    }

    #[test]
    fn limits_are_kept_within_bounds() {
        assert_eq!(oldest_first(&page(0, None)).unwrap().rows(), 2);
        assert_eq!(oldest_first(&page(u16::MAX, None)).unwrap().rows(), 201);
    }
}
