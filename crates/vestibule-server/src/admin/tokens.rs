//! Who administrators are, and what they may do.
//!
//! `VESTIBULE_ADMIN_TOKEN` is one token that may do everything. Further ones have names and scopes
//! and stand in the settings file, by their SHA-256: whoever reads the file has no token.

use std::{fmt, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use vestibule::{
    error::Code,
    http::Problem,
    settings::{Secret, SettingsReader},
};

/// Shorter admin tokens can be guessed.
const SHORTEST: usize = 16;
const LONGEST_NAME: usize = 64;

/// What an administrator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// See everything.
    Read,
    /// Stop somebody: suspend and revoke, and nothing that lets anybody in.
    Stop,
    /// Change everything else.
    Write,
}

impl Scope {
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Stop, Self::Write];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Stop => "stop",
            Self::Write => "write",
        }
    }
}

/// An administrator, by the name of his token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Administrator {
    pub(crate) name: Arc<str>,
    pub(crate) scopes: Arc<[Scope]>,
}

impl Administrator {
    /// Whoever has the settings and the database at hand.
    pub(crate) fn at_the_command_line() -> Self {
        Self {
            name: "the command line".into(),
            scopes: Scope::ALL.into(),
        }
    }

    /// What a server does by itself, as it was told before.
    pub(crate) fn the_server() -> Self {
        Self {
            name: "the server".into(),
            scopes: Scope::ALL.into(),
        }
    }

    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    fn of(parts: &Parts, scope: Scope) -> Result<Self, Problem> {
        // The guard puts him there; without a guard nobody is one.
        let Some(administrator) = parts.extensions.get::<Self>() else {
            return Err(Problem::new(Code::MissingToken));
        };
        if administrator.may(scope) {
            Ok(administrator.clone())
        } else {
            Err(Problem::new(Code::InsufficientScope).with_detail(format!(
                "the token {} has no scope {}",
                administrator.name,
                scope.as_str()
            )))
        }
    }
}

/// An administrator who may see.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Administrator);

/// An administrator who may stop somebody.
#[derive(Debug)]
pub(crate) struct Stopper(pub(crate) Administrator);

/// An administrator who may change everything.
#[derive(Debug)]
pub(crate) struct Writer(pub(crate) Administrator);

macro_rules! with_scope {
    ($type:ident, $scope:ident) => {
        impl<S: Sync> FromRequestParts<S> for $type {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                Administrator::of(parts, Scope::$scope).map(Self)
            }
        }
    };
}
with_scope!(Reader, Read);
with_scope!(Stopper, Stop);
with_scope!(Writer, Write);

/// All admin tokens, by their SHA-256. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct AdminTokens(Arc<[([u8; 32], Administrator)]>);

impl fmt::Debug for AdminTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(_, it)| &it.name))
            .finish()
    }
}

/// `[[admin_tokens]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
}

impl AdminTokens {
    /// Reads `VESTIBULE_ADMIN_TOKEN` and `[[admin_tokens]]`; none where something was wrong, which
    /// `reader` then knows.
    pub(crate) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut usable = true;
        if let Some(token) = reader.secret("VESTIBULE_ADMIN_TOKEN") {
            match digest_of_usable(&token) {
                Ok(digest) => tokens.push((
                    digest,
                    Administrator {
                        name: "admin".into(),
                        scopes: Scope::ALL.into(),
                    },
                )),
                Err(problem) => {
                    reader.problem("VESTIBULE_ADMIN_TOKEN", problem);
                    usable = false;
                }
            }
        }
        for written in reader.tables::<Written>("admin_tokens")? {
            match written.checked() {
                Ok((_, one)) if tokens.iter().any(|(_, it)| it.name == one.name) => {
                    reader.problem("admin_tokens", format!("{:?} is there twice", one.name));
                    usable = false;
                }
                Ok(token) => tokens.push(token),
                Err(problem) => {
                    reader.problem("admin_tokens", problem);
                    usable = false;
                }
            }
        }
        usable.then(|| Self(tokens.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a token of this name with these scopes.
    pub(crate) fn has(&self, administrator: &Administrator) -> bool {
        self.0.iter().any(|(_, known)| known == administrator)
    }

    /// Whose token this is. All are compared, in the same time whichever it is.
    pub(crate) fn find(&self, token: &str) -> Option<Administrator> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for (known, administrator) in self.0.iter() {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(administrator);
            }
        }
        found.cloned()
    }
}

impl Written {
    fn checked(self) -> Result<([u8; 32], Administrator), String> {
        let Self {
            name,
            sha256,
            scopes,
        } = self;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!(
                "a name has 1 to {LONGEST_NAME} characters of A-Z a-z 0-9 - _ ."
            ));
        }
        if scopes.is_empty() {
            return Err(format!(
                "{name} has no scopes: some of read, stop and write"
            ));
        }
        let digest = digest_from(&sha256).ok_or_else(|| {
            format!(
                "the sha256 of {name} is not 64 hexadecimal digits: it is what \
                 `printf %s \"$TOKEN\" | sha256sum` prints, of a token of at least {SHORTEST} characters"
            )
        })?;
        let administrator = Administrator {
            name: name.into(),
            scopes: scopes.into(),
        };
        Ok((digest, administrator))
    }
}

fn digest_of_usable(token: &Secret) -> Result<[u8; 32], String> {
    let text = token.expose();
    if text.bytes().all(|b| b.is_ascii_graphic()) && text.len() >= SHORTEST {
        Ok(Sha256::digest(text.as_bytes()).into())
    } else {
        Err(format!(
            "must be at least {SHORTEST} printable ASCII characters without spaces"
        ))
    }
}

fn digest_from(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` takes a sign, which no digit is.
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_CALL: &str = "on-call-token-of-some-length";

    fn read(file: &str, environment: &[(&str, &str)]) -> Result<AdminTokens, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vestibule.toml");
        std::fs::write(&path, file).unwrap();
        let mut reader = SettingsReader::from_pairs(environment.iter().copied()).with_file(&path);
        let tokens = AdminTokens::read(&mut reader);
        match reader.finish() {
            Ok(()) => Ok(tokens.unwrap()),
            Err(error) => Err(error.problems.into_iter().map(|it| it.problem).collect()),
        }
    }

    fn written(name: &str, token: &str, scopes: &str) -> String {
        let digest: String = Sha256::digest(token.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("[[admin_tokens]]\nname = \"{name}\"\nsha256 = \"{digest}\"\nscopes = {scopes}\n")
    }

    #[test]
    fn each_token_is_somebodys() {
        let file = written("on-call", ON_CALL, r#"["read", "stop"]"#);
        let tokens = read(&file, &[("VESTIBULE_ADMIN_TOKEN", "0123456789abcdef")]).unwrap();
        let admin = tokens.find("0123456789abcdef").unwrap();
        assert!(&*admin.name == "admin" && Scope::ALL.iter().all(|scope| admin.may(*scope)));
        let on_call = tokens.find(ON_CALL).unwrap();
        assert_eq!(&*on_call.name, "on-call");
        assert!(on_call.may(Scope::Read) && on_call.may(Scope::Stop));
        assert!(!on_call.may(Scope::Write));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "on-call"] {
            assert!(tokens.find(wrong).is_none(), "{wrong}");
        }
        let printed = format!("{tokens:?}");
        assert_eq!(printed, r#"["admin", "on-call"]"#);
        assert!(read("", &[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = written("on-call", ON_CALL, r#"["read"]"#);
        for (file, wrong) in [
            (format!("{good}{good}"), "twice"),
            (written("admin", ON_CALL, r#"["read"]"#), "twice"),
            (written("a b", ON_CALL, r#"["read"]"#), "characters"),
            (written("", ON_CALL, r#"["read"]"#), "characters"),
            (written("on-call", ON_CALL, "[]"), "no scopes"),
            (written("on-call", ON_CALL, r#"["all"]"#), "all"),
            (good.replace("sha256 = \"", "sha256 = \"+"), "hexadecimal"),
            (good.replace("name", "title"), "title"),
        ] {
            let environment = [("VESTIBULE_ADMIN_TOKEN", "0123456789abcdef")];
            let problems = read(&file, &environment).unwrap_err();
            assert!(problems.concat().contains(wrong), "{wrong}: {problems:?}");
        }
        for short in ["0123456789abcde", "0123456789abcde é", "0123456789 abcdef"] {
            assert!(
                read("", &[("VESTIBULE_ADMIN_TOKEN", short)]).is_err(),
                "{short}"
            );
        }
    }
}
