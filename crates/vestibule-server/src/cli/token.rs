//! `token explain`: why a token is accepted or refused.
//!
//! Reads the token from standard input: an argument would be seen by everybody who may list
//! processes. Shows what the token claims, never the token, its signature, or claims that are
//! not needed for the decision, which may hold e-mail addresses.

use std::io::{self, IsTerminal as _, Read as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value, json};
use vestibule::{
    Vestibule,
    bearer::BearerToken,
    clock::Timestamp,
    error::{Reason, Refusal},
    principal::{PROVIDER, Principal},
    settings::Settings,
    store::Directory,
    token::{TokenClass, VerifiedToken},
};

use super::{
    Global, clock,
    output::{Answer, Failure, note, shown},
    start_failure,
};
use crate::{settings::LogSettings, telemetry::logs};

/// More than any token that is judged, so that "too long" can be told.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Say step by step why a token, read from standard input, is accepted or refused
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Refused: it would be seen by everybody who may list processes
    #[arg(hide = true, trailing_var_arg = true)]
    misplaced: Vec<std::ffi::OsString>,
}

/// The steps of the decision, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Form,
    Header,
    Issuer,
    Key,
    Signature,
    Claims,
    Caller,
}

/// What the decision came to.
enum Verdict {
    Accepted(Box<Principal>),
    /// The token is good; the person is not known here, and asking would make a local user.
    Newcomer,
    Refused(Refusal),
}

/// What a token claims. Nothing of it is proven.
#[derive(Debug, Default, Serialize)]
struct Claimed {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// Names of further claims; their values are nobody's business here.
    further_claims: Vec<String>,
}

pub(crate) async fn run(global: &Global, command: TokenCommand) -> Result<Answer, Failure> {
    let TokenCommand::Explain(arguments) = command;
    if !arguments.misplaced.is_empty() {
        // Not repeated: it is a secret.
        return Err(Failure::Usage(
            "a token is no argument: give it on standard input, such as \
             `vestibule token explain < token.txt`"
                .to_owned(),
        ));
    }
    let mut reader = global.reader();
    let log = LogSettings::read(&mut reader, "warn");
    let settings = Settings::read(reader)?;
    if let Some(log) = log {
        logs::start(&log);
    }
    let text = read_token()?;
    let text = text.as_str();
    let claimed = Claimed::read(text);
    let (reached, verdict) = decide(settings, text).await?;
    Ok(answer(&claimed, reached, &verdict))
}

/// The token on standard input, without a scheme and white space around it.
pub(super) fn read_token() -> Result<String, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        note("paste the token, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    if stdin
        .lock()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .is_err()
    {
        return Err(Failure::Failed("standard input is not text".to_owned()));
    }
    let text = text.trim();
    let token = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => {
            text.get(7..).unwrap_or_default().trim()
        }
        _ => text,
    };
    if token.is_empty() {
        return Err(Failure::Usage(
            "there is no token on standard input".to_owned(),
        ));
    }
    Ok(token.to_owned())
}

/// Asks the library, as for a request, but makes no local user.
async fn decide(settings: Settings, text: &str) -> Result<(Step, Verdict), Failure> {
    let token = match BearerToken::parse(text) {
        Ok(token) => token,
        Err(reason) => return Ok((Step::Form, Verdict::Refused(reason.into()))),
    };
    let directory = Directory::open(&settings.database, clock()).await?;
    let vestibule = Vestibule::builder(settings)
        .build()
        .await
        .map_err(start_failure)?;
    let verified = vestibule.authenticator().cached_verify_token(&token).await;
    let result = match verified {
        Ok(verified) => (
            Step::Caller,
            caller(&vestibule, &directory, &verified).await?,
        ),
        Err(reason) => (Step::of(reason), Verdict::Refused(reason.into())),
    };
    vestibule.shutdown().await;
    Ok(result)
}

async fn caller(
    vestibule: &Vestibule,
    directory: &Directory,
    token: &VerifiedToken,
) -> Result<Verdict, Failure> {
    let authenticator = vestibule.authenticator();
    let principal = match token.class() {
        TokenClass::Machine => authenticator.validate_machine_token(token).await,
        TokenClass::User => {
            if directory
                .find_user(PROVIDER, token.subject())
                .await?
                .is_none()
            {
                return Ok(Verdict::Newcomer);
            }
            authenticator.validate_user_token(token).await
        }
    };
    Ok(match principal {
        Ok(principal) => Verdict::Accepted(Box::new(principal)),
        Err(refusal) => Verdict::Refused(refusal),
    })
}

fn answer(claimed: &Claimed, reached: Step, verdict: &Verdict) -> Answer {
    let (word, refusal) = match verdict {
        Verdict::Accepted(_) => ("accepted", None),
        Verdict::Newcomer => ("newcomer", None),
        Verdict::Refused(refusal) => ("refused", Some(refusal)),
    };
    let steps: Vec<(Step, &str)> = Step::ALL
        .into_iter()
        .map(|step| {
            let state = match (step.cmp(&reached), refusal.is_some()) {
                (std::cmp::Ordering::Less, _) | (std::cmp::Ordering::Equal, false) => "passed",
                (std::cmp::Ordering::Equal, true) => "refused",
                (std::cmp::Ordering::Greater, _) => "not reached",
            };
            (step, state)
        })
        .collect();
    let principal = match verdict {
        Verdict::Accepted(principal) => json!(principal),
        Verdict::Newcomer | Verdict::Refused(_) => Value::Null,
    };
    let document = json!({
        "verdict": word,
        "reason": refusal.map(|refusal| refusal.reason.as_str()),
        "meaning": refusal.map(|refusal| refusal.reason.meaning()),
        "code": refusal.map(|refusal| refusal.code().as_str()),
        "steps": steps.iter().map(|(step, state)| json!({ "step": step.as_str(), "state": state })).collect::<Vec<_>>(),
        "header": claimed.header,
        "claims": claimed.claims,
        "further_claims": claimed.further_claims,
        "principal": principal,
    });
    Answer::new(&document, text(claimed, &steps, verdict))
}

fn text(claimed: &Claimed, steps: &[(Step, &str)], verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    for (title, members) in [("header", &claimed.header), ("claims", &claimed.claims)] {
        lines.push(format!("{title} (as the token has it, not yet proven)"));
        for (name, value) in members {
            let value = match value {
                Value::String(text) => shown(text),
                other => shown(&other.to_string()),
            };
            lines.push(format!("  {name:10} {value}"));
        }
    }
    if !claimed.further_claims.is_empty() {
        let names: Vec<String> = claimed
            .further_claims
            .iter()
            .map(|name| shown(name))
            .collect();
        lines.push(format!("  further    {}", names.join(", ")));
    }
    lines.push("steps".to_owned());
    for (step, state) in steps {
        lines.push(format!(
            "  {:10} {state}: {}",
            step.as_str(),
            step.meaning()
        ));
    }
    lines.push(match verdict {
        Verdict::Accepted(principal) => format!(
            "verdict: accepted; {} {} of account {} ({})",
            principal.kind(),
            principal.user().id,
            principal.account().id,
            shown(&principal.account().name),
        ),
        Verdict::Newcomer => "verdict: the token is good; the person is not known here yet. The \
                              first request asks Authress for the user and the tenant, and makes a \
                              local user"
            .to_owned(),
        Verdict::Refused(refusal) => format!(
            "verdict: refused; {}: {}. The caller is told `{}`",
            refusal.reason,
            refusal.reason.meaning(),
            refusal.code()
        ),
    });
    lines.join("\n")
}

impl Claimed {
    /// What can be read of the token; nothing where it cannot be.
    fn read(token: &str) -> Self {
        const HEADER: &[&str] = &["alg", "typ", "kid"];
        const TEXTS: &[&str] = &["iss", "sub", "client_id", "azp", "aud", "scope"];
        const TIMES: &[&str] = &["iat", "nbf", "exp"];
        let mut parts = token.split('.').map(object);
        let mut claimed = Self::default();
        if let Some(Some(mut header)) = parts.next() {
            for &name in HEADER {
                if let Some(value) = header.remove(name) {
                    claimed.header.insert(name.to_owned(), value);
                }
            }
            claimed
                .further_claims
                .extend(header.keys().map(|name| format!("header.{name}")));
        }
        if let Some(Some(mut claims)) = parts.next() {
            for &name in TEXTS {
                if let Some(value) = claims.remove(name) {
                    claimed.claims.insert(name.to_owned(), value);
                }
            }
            for &name in TIMES {
                if let Some(value) = claims.remove(name) {
                    let time = value
                        .as_i64()
                        .map(|secs| Timestamp::from_secs(secs).to_rfc3339());
                    claimed
                        .claims
                        .insert(name.to_owned(), time.map_or(value, Value::from));
                }
            }
            claimed.further_claims.extend(claims.keys().cloned());
        }
        claimed
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Step {
    const ALL: [Self; 7] = [
        Self::Form,
        Self::Header,
        Self::Issuer,
        Self::Key,
        Self::Signature,
        Self::Claims,
        Self::Caller,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Caller => "caller",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Form => "one token of a readable form and length",
            Self::Header => "EdDSA, a key id, and nothing that weakens the check",
            Self::Issuer => "an accepted issuer, or a service client registered here",
            Self::Key => "the issuer has a key with this id",
            Self::Signature => "the key made the signature",
            Self::Claims => "audience, subject, client and times fit",
            Self::Caller => "the caller and its account are known and active",
        }
    }

    /// Where a token is refused for this reason.
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::MissingToken
            | Reason::MalformedAuthorization
            | Reason::TokenTooLong
            | Reason::NotThreeParts
            | Reason::BadBase64
            | Reason::BadJson
            | Reason::DuplicateMember
            | Reason::AccessKeyShaped => Self::Form,
            Reason::UnsupportedAlgorithm
            | Reason::CriticalHeader
            | Reason::EmbeddedKey
            | Reason::BadKeyId
            | Reason::WrongType => Self::Header,
            Reason::MissingIssuer
            | Reason::UnknownIssuer
            | Reason::OwnClient
            | Reason::UnregisteredClient
            | Reason::StorageUnavailable => Self::Issuer,
            Reason::UnknownKey | Reason::ProviderUnavailable => Self::Key,
            Reason::BadSignature => Self::Signature,
            Reason::MissingClaim
            | Reason::BadClaim
            | Reason::WrongAudience
            | Reason::SubjectMismatch
            | Reason::ClientIdMismatch
            | Reason::NotAnApplication
            | Reason::ClientIssuedUser
            | Reason::NotYetValid
            | Reason::LifetimeTooLong
            | Reason::Expired => Self::Claims,
            _ => Self::Caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims))
    }

    #[test]
    fn shows_what_decides_and_no_more() {
        let token = token(
            &json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k1", "x5c": ["secret-header"] }),
            &json!({
                "iss": "https://auth.acme.example", "sub": "user_ada", "aud": ["tenant_acme"],
                "exp": 0, "email": "ada@acme.example",
            }),
        );
        let claimed = Claimed::read(&token);
        assert_eq!(claimed.header["kid"], "k1");
        assert_eq!(claimed.claims["exp"], "1970-01-01T00:00:00Z");
        assert_eq!(claimed.claims["aud"], json!(["tenant_acme"]));
        assert_eq!(claimed.further_claims, ["header.x5c", "email"]);
        let verdict = Verdict::Refused(Reason::BadSignature.into());
        let answer = answer(&claimed, Step::of(Reason::BadSignature), &verdict);
        let all = format!("{answer:?}");
        for secret in [
            "ada@acme.example",
            "secret-header",
            "c2lnbmF0dXJl",
            token.as_str(),
        ] {
            assert!(!all.contains(secret), "{secret}");
        }
        assert!(
            all.contains("bad_signature") && all.contains("invalid_token"),
            "{all}"
        );
    }

    #[test]
    fn steps_before_the_refusal_have_passed() {
        let verdict = Verdict::Refused(Reason::Expired.into());
        let answer = answer(&Claimed::default(), Step::of(Reason::Expired), &verdict);
        let all = format!("{answer:?}");
        assert!(
            all.contains("signature  passed") && all.contains("claims     refused"),
            "{all}"
        );
        assert!(all.contains("caller     not reached"), "{all}");
    }

    #[test]
    fn anything_can_be_read() {
        for text in ["", ".", "a.b.c", "....", "e30.e30.", "W10.W10.x"] {
            let claimed = Claimed::read(text);
            assert!(
                claimed.header.is_empty() && claimed.claims.is_empty(),
                "{text}"
            );
        }
    }
}
