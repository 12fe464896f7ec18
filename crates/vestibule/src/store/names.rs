//! The forms that names, ids, roles and scopes can have. Everything else is refused with the text
//! of what to write.

use super::{Profile, StoreError};

const MAX_SUBJECT_BYTES: usize = 512;
const MAX_EMAIL_CHARS: usize = 320;
const MAX_PICTURE_CHARS: usize = 2_048;
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

/// Whether an account can have this name and be this tenant.
///
/// # Errors
/// [`StoreError::Invalid`], which says what to write and repeats neither.
pub fn check_account(name: &str, tenant_id: &str) -> Result<(), StoreError> {
    check_name(name)?;
    check_tenant(tenant_id)
}

/// Whether this can be the id of a tenant.
///
/// # Errors
/// As [`check_account`].
pub fn check_tenant(tenant_id: &str) -> Result<(), StoreError> {
    check_id("a tenant id", tenant_id)
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

/// Whether a token can name somebody so: what the check of a claim lets through.
pub(super) fn check_subject(subject: &str) -> Result<(), StoreError> {
    let fits = (1..=MAX_SUBJECT_BYTES).contains(&subject.len());
    require(fits && !subject.chars().any(char::is_control), || {
        "a user's id at the provider is 1 to 512 bytes without control characters".to_owned()
    })
}

/// What the provider could have said.
pub(super) fn check_profile(profile: &Profile) -> Result<(), StoreError> {
    for (what, text, most) in [
        ("an e-mail", &profile.email, MAX_EMAIL_CHARS),
        ("a name", &profile.name, MAX_NAME_CHARS),
        ("a picture's address", &profile.picture, MAX_PICTURE_CHARS),
    ] {
        let fits = text.as_deref().is_none_or(|text| is_plain_text(text, most));
        require(fits, || {
            format!("{what} is 1 to {most} characters without control characters")
        })?;
    }
    Ok(())
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
    fn subjects() {
        for subject in ["user_ada", "google-oauth2|1", "a b", "é", &"s".repeat(512)] {
            assert!(check_subject(subject).is_ok(), "{subject}");
        }
        for subject in ["", "a\0", "a\n", &"s".repeat(513)] {
            assert!(check_subject(subject).is_err(), "{subject:?}");
        }
    }

    #[test]
    fn profiles() {
        assert!(check_profile(&Profile::default()).is_ok());
        let of = |email: &str, name: &str, picture: &str| Profile {
            email: Some(email.to_owned()),
            name: Some(name.to_owned()),
            picture: Some(picture.to_owned()),
        };
        let long = |most| "é".repeat(most);
        assert!(check_profile(&of(&long(320), &long(256), &long(2_048))).is_ok());
        for (email, name, picture) in [
            (long(321), long(1), long(1)),
            (long(1), long(257), long(1)),
            (long(1), long(1), long(2_049)),
            ("a\0".to_owned(), long(1), long(1)),
            (String::new(), long(1), long(1)),
        ] {
            let refused = check_profile(&of(&email, &name, &picture));
            assert!(refused.is_err(), "{email:?} {name:?} {picture:?}");
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
