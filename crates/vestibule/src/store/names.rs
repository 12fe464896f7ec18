//! The forms that names, ids, roles and scopes can have. Everything else is refused with the text
//! of what to write.

use super::StoreError;

const MAX_NAME_CHARS: usize = 256;
const MAX_ID_BYTES: usize = 128;
const MAX_ROLE_BYTES: usize = 64;
const MAX_SCOPES: usize = 100;

/// Text for people: 1 to `max` characters, none of them a control character. Marks of direction
/// are part of names in some scripts, so whoever shows a name escapes them.
pub(crate) fn is_plain_text(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
}

pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    require(is_plain_text(name, MAX_NAME_CHARS), || {
        "a name is 1 to 256 characters without control characters".to_owned()
    })
}

/// An id given by the provider, which is also part of URLs and header values.
pub(super) fn check_id(what: &str, id: &str) -> Result<(), StoreError> {
    let fits = (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
        && id != "."
        && id != "..";
    require(fits, || {
        format!("{what} is 1 to 128 characters of A-Z a-z 0-9 - _ . :")
    })
}

pub(super) fn check_role(role: &str) -> Result<(), StoreError> {
    let fits = role.len() <= MAX_ROLE_BYTES
        && role.starts_with(|c: char| c.is_ascii_lowercase())
        && role
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    require(fits, || {
        "a role begins with a-z and has at most 64 characters of a-z 0-9 _ -".to_owned()
    })
}

/// Scopes, in the order given and each once.
pub(super) fn checked_scopes(scopes: &[String]) -> Result<Vec<String>, StoreError> {
    let mut checked: Vec<String> = Vec::with_capacity(scopes.len());
    for scope in scopes {
        require(is_scope(scope), || {
            "a scope is 1 to 128 characters of printable ASCII without space, \" and \\ \
             (RFC 6749 §3.3)"
                .to_owned()
        })?;
        if !checked.contains(scope) {
            checked.push(scope.clone());
        }
    }
    require(checked.len() <= MAX_SCOPES, || {
        "a service client has at most 100 scopes".to_owned()
    })?;
    Ok(checked)
}

/// scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
fn is_scope(scope: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&scope.len())
        && scope
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

fn require(fits: bool, otherwise: impl FnOnce() -> String) -> Result<(), StoreError> {
    if fits {
        Ok(())
    } else {
        Err(StoreError::Invalid(otherwise()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["A", "Acme & Sons", "Ünïcode 名前", &"n".repeat(256)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", " ", "a\nb", "a\0b", "a\u{7f}", &"n".repeat(257)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn ids() {
        for id in ["tenant_acme", "a.b:c-d", "...", &"t".repeat(128)] {
            assert!(check_id("an id", id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a b", "a/b", "ä", "a\n", &"t".repeat(129)] {
            assert!(check_id("an id", id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn roles() {
        for role in ["a", "member", "read-only_2", &"r".repeat(64)] {
            assert!(check_role(role).is_ok(), "{role}");
        }
        for role in ["", "Admin", "1a", "_a", "a b", "ä", &"r".repeat(65)] {
            assert!(check_role(role).is_err(), "{role:?}");
        }
    }

    #[test]
    fn scopes() {
        let given = ["notes:read", "!#[]~", "notes:read"].map(str::to_owned);
        assert_eq!(checked_scopes(&given).unwrap(), ["notes:read", "!#[]~"]);
        for scope in ["", "a b", "a\"", "a\\", "ä", "a\n", &"s".repeat(129)] {
            assert!(checked_scopes(&[scope.to_owned()]).is_err(), "{scope:?}");
        }
        let many: Vec<_> = (0..101).map(|n| format!("s{n}")).collect();
        assert!(checked_scopes(&many).is_err());
        assert!(checked_scopes(&many[..100]).is_ok());
    }
}
