//! Texts that many tokens have in common, each kept once for all that are remembered: the name of a
//! key, of an application, of a tenant, of a connection, and lists of scopes.
//!
//! Only what a key has signed is kept, and of that only so much: whoever sends tokens with ever new
//! texts makes others' texts be kept twice, and nothing worse.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::error::Reason;

/// More than applications, keys and tenants that are in use at the same time.
const TEXTS: usize = 4_096;
const LISTS: usize = 256;
/// A longer list of scopes is nobody else's.
const LONGEST: usize = 512;

#[derive(Debug)]
pub(super) struct Repeated {
    texts: Cache<Arc<str>, Arc<str>>,
    lists: Cache<Box<str>, Arc<[Arc<str>]>>,
}

impl Repeated {
    pub(super) fn new() -> Self {
        Self {
            texts: Cache::new(TEXTS),
            lists: Cache::new(LISTS),
        }
    }

    /// The text, which is not kept.
    pub(super) fn find(&self, text: &str) -> Arc<str> {
        self.texts.get(text).unwrap_or_else(|| text.into())
    }

    /// The text, kept for the next token that says the same.
    pub(super) fn keep(&self, text: &str) -> Arc<str> {
        self.texts.get(text).unwrap_or_else(|| {
            let text: Arc<str> = text.into();
            self.texts.insert(Arc::clone(&text), Arc::clone(&text));
            text
        })
    }

    /// What was read from a text, or else what `read` reads from it.
    pub(super) fn list(
        &self,
        text: &str,
        read: impl FnOnce(&str) -> Result<Arc<[Arc<str>]>, Reason>,
    ) -> Result<Arc<[Arc<str>]>, Reason> {
        if text.len() > LONGEST {
            return read(text);
        }
        if let Some(list) = self.lists.get(text) {
            return Ok(list);
        }
        let list = read(text)?;
        self.lists.insert(text.into(), Arc::clone(&list));
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_one() {
        let repeated = Repeated::new();
        let found = repeated.find("app_web");
        assert!(!Arc::ptr_eq(&found, &repeated.find("app_web")));
        let kept = repeated.keep("app_web");
        assert!(Arc::ptr_eq(&kept, &repeated.keep("app_web")));
        assert!(Arc::ptr_eq(&kept, &repeated.find("app_web")));
        assert_eq!(&*repeated.keep("app_other"), "app_other");
    }

    #[test]
    fn a_list_is_read_once_and_a_refusal_is_not_kept() {
        let repeated = Repeated::new();
        let refuse = |_: &str| Err(Reason::BadClaim);
        assert_eq!(repeated.list("a b", refuse), Err(Reason::BadClaim));
        let list = repeated.list("a b", |_| Ok(["a".into(), "b".into()].into()));
        assert_eq!(repeated.list("a b", refuse), list);
        let longest = "a".repeat(LONGEST);
        let list = repeated.list(&longest, |_| Ok(Arc::default()));
        assert_eq!(repeated.list(&longest, refuse), list);
        let long = "a".repeat(LONGEST + 1);
        assert!(repeated.list(&long, |_| Ok(Arc::default())).is_ok());
        assert_eq!(repeated.list(&long, refuse), Err(Reason::BadClaim));
    }
}
