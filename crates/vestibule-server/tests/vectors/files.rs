//! The files themselves: that nothing is missing from them.

use std::{collections::BTreeSet, path::Path};

use vestibule::error::{Code, Reason};

use crate::vector::{Base, groups, vectors};

/// Every reason that a request can cause before it is asked whose it is.
const BEFORE_THE_PRINCIPAL: &[Reason] = &[
    Reason::MissingToken,
    Reason::MalformedAuthorization,
    Reason::TokenTooLong,
    Reason::NotThreeParts,
    Reason::BadBase64,
    Reason::BadJson,
    Reason::DuplicateMember,
    Reason::AccessKeyShaped,
    Reason::UnsupportedAlgorithm,
    Reason::CriticalHeader,
    Reason::EmbeddedKey,
    Reason::BadKeyId,
    Reason::WrongType,
    Reason::MissingIssuer,
    Reason::UnknownIssuer,
    Reason::UnknownKey,
    Reason::BadSignature,
    Reason::MissingClaim,
    Reason::BadClaim,
    Reason::WrongAudience,
    Reason::SubjectMismatch,
    Reason::ClientIdMismatch,
    Reason::NotAnApplication,
    Reason::ClientIssuedUser,
    Reason::OwnClient,
    Reason::UnregisteredClient,
    Reason::NotYetValid,
    Reason::LifetimeTooLong,
    Reason::Expired,
];

#[test]
fn names_are_unique_and_there_are_enough() {
    let vectors = vectors();
    let names: BTreeSet<_> = vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), vectors.len(), "a name occurs twice");
    assert!(vectors.len() >= 200, "{}", vectors.len());
    let accepted = vectors.iter().filter(|vector| vector.is_accepted()).count();
    assert!(accepted >= 20, "{accepted} accepted");
}

#[test]
fn the_pages_say_how_many_there_are() {
    let count = vectors().len();
    for (page, said) in [
        ("docs/vectors.md", format!("{count} of them")),
        ("SECURITY.md", format!("{count} requests as data")),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(page);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&said), "{page} does not say: {said}");
    }
}

/// Or what is refused could be refused for another reason than the setting.
#[test]
fn something_is_accepted_with_all_settings() {
    for group in groups() {
        let accepted = |base| {
            let mut vectors = group.vectors.iter();
            vectors.any(|vector| vector.is_accepted() && vector.base == base)
        };
        assert!(accepted(Base::User), "{:?}", group.settings);
        assert!(accepted(Base::Machine), "{:?}", group.settings);
    }
}

#[test]
fn every_reason_occurs() {
    let vectors = vectors();
    for reason in BEFORE_THE_PRINCIPAL {
        let occurs = vectors
            .iter()
            .any(|vector| vector.reason == reason.as_str());
        assert!(occurs, "no vector for {reason}");
    }
}

#[test]
fn what_is_expected_fits_together() {
    for vector in vectors() {
        let name = &vector.name;
        assert!(!vector.because.is_empty(), "{name}");
        if vector.is_accepted() {
            assert_eq!(
                (vector.code.as_str(), vector.reason.as_str()),
                ("", ""),
                "{name}"
            );
            continue;
        }
        let reason = Reason::ALL
            .iter()
            .find(|known| known.as_str() == vector.reason);
        let code = reason
            .unwrap_or_else(|| panic!("{name}: no such reason"))
            .code();
        assert_eq!(
            (vector.code.as_str(), vector.status),
            (code.as_str(), code.status().as_u16()),
            "{name}"
        );
        let silent = [
            Code::InvalidToken,
            Code::MissingToken,
            Code::MalformedAuthorization,
        ];
        assert!(
            !vector.needs_no_key() || silent.contains(&code),
            "{name} says too much"
        );
    }
}
