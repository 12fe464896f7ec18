//! Assertions: whose are accepted as a credential, and what both halves of them have to agree on.

use std::sync::Arc;

use super::{ProviderSettings, SettingsReader};

/// The longest name of an application or an issuer. Longer ones would crowd the header.
const LONGEST: usize = 256;

/// What [`is_plain`] demands, for messages.
pub(crate) const PLAIN: &str = "names or addresses without spaces, of at most 256 characters";

const ACCEPT: &str = "VESTIBULE_ACCEPT_ASSERTIONS";
const ISSUER: &str = "VESTIBULE_ASSERTION_ISSUER";

/// `VESTIBULE_ACCEPT_ASSERTIONS`: this application stands behind a proxy that asks `vestibule`,
/// and takes the assertion that the proxy hands on for a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedAssertions {
    /// The required `aud`: the name that this application has in
    /// `VESTIBULE_ASSERTION_AUDIENCES`, or in the rules, of the server.
    pub audience: Arc<str>,
    /// The required `iss`: `VESTIBULE_ASSERTION_ISSUER`, which the server has too.
    pub issuer: Arc<str>,
}

impl AcceptedAssertions {
    /// Reads the section: none within where assertions are not accepted, none at all where
    /// something was wrong, which `reader` then knows.
    pub fn read(
        reader: &mut SettingsReader,
        provider: Option<&ProviderSettings>,
    ) -> Option<Option<Self>> {
        let Some(audience) = reader.text(ACCEPT) else {
            return Some(None);
        };
        let audience = reader.noted(ACCEPT, one_name(&audience))?;
        let accepted = Self {
            audience,
            issuer: issuer(reader)?,
        };
        let problem = accepted.problem(&provider?.issuers);
        if let Some(problem) = problem {
            reader.problem(ACCEPT, problem);
            return None;
        }
        Some(Some(accepted))
    }

    /// What is wrong with it, where `issuers` are those of access tokens.
    pub(crate) fn problem(&self, issuers: &[Arc<str>]) -> Option<String> {
        if let Err(problem) = one_name(&self.audience) {
            return Some(problem);
        }
        if self.audience == self.issuer {
            return Some(format!("must differ from {ISSUER}"));
        }
        // Each kind of token has an issuer of its own (RFC 8725 §3.12).
        issuers
            .contains(&self.issuer)
            .then(|| format!("{ISSUER} must not be one of AUTHRESS_ISSUERS"))
    }
}

/// A comma would look like a list, of which only one could ever be meant.
fn one_name(text: &str) -> Result<Arc<str>, String> {
    match is_plain(text) && !text.contains(',') {
        true => Ok(text.into()),
        false => Err("must be one name: the audience of this application".to_owned()),
    }
}

/// `VESTIBULE_ASSERTION_ISSUER`.
pub(crate) fn issuer(reader: &mut SettingsReader) -> Option<Arc<str>> {
    reader.parsed(ISSUER, "vestibule".into(), |text| match is_plain(text) {
        true => Ok(text.into()),
        false => Err(format!("must be one of: {PLAIN}")),
    })
}

/// Whether a text may be the name of an application or an issuer.
pub(crate) fn is_plain(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::access_key::test_key;

    const ORIGIN: &str = "https://auth.example.com";

    fn read(pairs: &[(&str, &str)]) -> Result<Option<AcceptedAssertions>, Vec<String>> {
        let key = test_key(7);
        let whole = [("AUTHRESS_API_URL", ORIGIN), ("AUTHRESS_ACCESS_KEY", &key)];
        let mut reader = SettingsReader::from_pairs(whole.iter().chain(pairs).copied());
        let provider = ProviderSettings::read(&mut reader);
        let accepted = AcceptedAssertions::read(&mut reader, provider.as_ref());
        match reader.finish() {
            Ok(()) => Ok(accepted.unwrap()),
            Err(error) => Err(error
                .problems
                .into_iter()
                .map(|problem| format!("{}: {}", problem.name, problem.problem))
                .collect()),
        }
    }

    #[test]
    fn off_unless_an_audience_is_named() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ACCEPT, " ")]), Ok(None));
        let accepted = read(&[(ACCEPT, "orders")]).unwrap().unwrap();
        assert_eq!(
            (&*accepted.audience, &*accepted.issuer),
            ("orders", "vestibule")
        );
        let named = read(&[(ACCEPT, "orders"), (ISSUER, "https://entrance.example")]);
        assert_eq!(&*named.unwrap().unwrap().issuer, "https://entrance.example");
    }

    #[test]
    fn what_could_be_mistaken_is_refused() {
        let long = "a".repeat(257);
        for (audience, issuer, problem) in [
            (
                "orders,billing",
                "vestibule",
                "VESTIBULE_ACCEPT_ASSERTIONS: must be one name",
            ),
            (
                "my orders",
                "vestibule",
                "VESTIBULE_ACCEPT_ASSERTIONS: must be one name",
            ),
            (
                &long,
                "vestibule",
                "VESTIBULE_ACCEPT_ASSERTIONS: must be one name",
            ),
            (
                "orders",
                "orders",
                "VESTIBULE_ACCEPT_ASSERTIONS: must differ",
            ),
            (
                "orders",
                ORIGIN,
                "VESTIBULE_ACCEPT_ASSERTIONS: VESTIBULE_ASSERTION_ISSUER must not",
            ),
            ("orders", "a b", "VESTIBULE_ASSERTION_ISSUER: must be"),
        ] {
            let problems = read(&[(ACCEPT, audience), (ISSUER, issuer)]).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(problem), "{problems:?}");
        }
    }
}
