//! Why a token, or a request, was accepted or refused: each step in its order, what was found, what
//! was expected, which setting decides, and what would have to change.

mod claimed;
pub(crate) mod refused;
mod remedies;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vestibule::{
    Vestibule,
    bearer::BearerToken,
    clock::{Clock as _, SystemClock},
    error::{Reason, Refusal},
    principal::Principal,
    settings::ProviderSettings,
    store::Account,
    token::{TokenClass, VerifiedToken},
};

pub(crate) use self::claimed::Claimed;

/// The steps of the decision, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Request,
    Form,
    Header,
    Issuer,
    Key,
    Signature,
    Claims,
    Caller,
    Rights,
}

/// What the decision came to.
enum Verdict {
    Accepted(Box<Principal>),
    /// The token is good; the person is not known here, and his first visit would make him a user
    /// of this account.
    Newcomer(Account),
    Refused(Refusal),
}

/// One step, as it is told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) step: String,
    /// `passed`, `refused`, `not reached`, or `not looked at`: a token alone has no request.
    pub(crate) state: String,
    pub(crate) expected: String,
    pub(crate) found: Option<String>,
    /// The setting that decides, of the step that refused.
    pub(crate) setting: Option<String>,
}

/// The whole explanation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Explanation {
    /// `accepted`, `newcomer` or `refused`.
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
    pub(crate) meaning: Option<String>,
    /// What the caller is told.
    pub(crate) code: Option<String>,
    pub(crate) steps: Vec<Told>,
    /// What would have to change.
    pub(crate) remedy: Option<String>,
    #[serde(flatten)]
    pub(crate) claimed: Claimed,
    pub(crate) principal: Value,
    /// The request, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Value>,
}

/// Explains a token: asks the library, as for a request, but makes no local user.
pub(crate) async fn token(
    vestibule: &Vestibule,
    settings: Option<&ProviderSettings>,
    text: &str,
) -> Explanation {
    let claimed = Claimed::read(text);
    let (reached, verdict) = match BearerToken::parse(text) {
        Ok(token) => {
            let verified = vestibule.authenticator().cached_verify_token(&token).await;
            match verified {
                Ok(verified) => (Step::Caller, caller(vestibule, &verified).await),
                Err(reason) => (Step::of(reason), Verdict::Refused(reason.into())),
            }
        }
        Err(reason) => (Step::of(reason), Verdict::Refused(reason.into())),
    };
    let length = format!("{} bytes", text.len());
    explanation(claimed, Some(length), settings, reached, &verdict, false)
}

/// Explains a request that was refused, by what is kept of it.
pub(crate) fn request(
    refused: &refused::Refused,
    settings: Option<&ProviderSettings>,
) -> Explanation {
    let claimed = refused.claimed.as_deref().cloned().unwrap_or_default();
    let Some(reason) = refused.reason else {
        return of_no_caller(refused, claimed);
    };
    let verdict = Verdict::Refused(Refusal {
        reason,
        caller: refused.caller(),
    });
    let mut explained = explanation(claimed, None, settings, Step::of(reason), &verdict, true);
    explained.request = Some(json!(refused));
    explained
}

async fn caller(vestibule: &Vestibule, token: &VerifiedToken) -> Verdict {
    let authenticator = vestibule.authenticator();
    let principal = match token.class() {
        TokenClass::Machine => authenticator.validate_machine_token(token).await,
        TokenClass::User => match authenticator.first_visit(token).await {
            Ok(Some(account)) => return Verdict::Newcomer(account),
            Ok(None) => authenticator.validate_user_token(token).await,
            Err(refusal) => return Verdict::Refused(refusal),
        },
    };
    match principal {
        Ok(principal) => Verdict::Accepted(Box::new(principal)),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// An answer of 400 or more that is no matter of who called.
fn of_no_caller(refused: &refused::Refused, claimed: Claimed) -> Explanation {
    Explanation {
        verdict: "refused".to_owned(),
        reason: None,
        meaning: Some(
            "it is no matter of who called: the path, the method, the body, or a failure of the \
             server; the log has more under the request's id"
                .to_owned(),
        ),
        code: refused.code.map(|code| code.as_str().to_owned()),
        steps: Vec::new(),
        remedy: None,
        claimed,
        principal: Value::Null,
        request: Some(json!(refused)),
    }
}

fn explanation(
    claimed: Claimed,
    length: Option<String>,
    settings: Option<&ProviderSettings>,
    reached: Step,
    verdict: &Verdict,
    of_request: bool,
) -> Explanation {
    let (word, refusal) = match verdict {
        Verdict::Accepted(_) => ("accepted", None),
        Verdict::Newcomer(_) => ("newcomer", None),
        Verdict::Refused(refusal) => ("refused", Some(refusal)),
    };
    let reason = refusal.map(|refusal| refusal.reason);
    let remedy = reason.and_then(remedies::of);
    let last = if refusal.is_some() {
        reached
    } else {
        Step::Caller
    };
    let steps = Step::ALL.into_iter().map(|step| {
        let refuses = reason.is_some() && step == reached;
        let state = match step.cmp(&last) {
            _ if refuses => "refused",
            _ if !of_request && step.is_of_request() => "not looked at",
            std::cmp::Ordering::Greater => "not reached",
            _ => "passed",
        };
        let found = match (step, &length) {
            (Step::Form, Some(length)) => Some(length.clone()),
            (Step::Caller, _) => found_caller(verdict),
            _ => step.found(&claimed, reason.filter(|_| refuses)),
        };
        Told {
            step: step.as_str().to_owned(),
            state: state.to_owned(),
            expected: step.expected(settings, reason.filter(|_| refuses)),
            found: found.filter(|_| state != "not looked at"),
            setting: remedy
                .filter(|_| refuses)
                .and_then(|remedy| remedy.setting)
                .map(str::to_owned),
        }
    });
    Explanation {
        verdict: word.to_owned(),
        reason: reason.map(|reason| reason.as_str().to_owned()),
        meaning: reason.map(|reason| reason.meaning().to_owned()),
        code: refusal.map(|refusal| Refusal::code(refusal).as_str().to_owned()),
        steps: steps.collect(),
        remedy: remedy.map(|remedy| remedy.text.to_owned()),
        claimed,
        principal: match verdict {
            Verdict::Accepted(principal) => json!(principal),
            Verdict::Newcomer(account) => json!({ "account": account }),
            Verdict::Refused(_) => Value::Null,
        },
        request: None,
    }
}

fn found_caller(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Accepted(principal) => Some(format!(
            "{} {} of account {}",
            principal.kind(),
            principal.user().id,
            principal.account().id
        )),
        Verdict::Newcomer(account) => Some(format!(
            "nobody yet; the first visit makes a user of account {}",
            account.id
        )),
        Verdict::Refused(refusal) => {
            let caller = refusal.caller.as_ref()?;
            Some(match (caller.user_id, &caller.client_id) {
                (Some(user), _) => format!("user {user} of account {}", caller.account_id),
                (None, Some(client)) => {
                    format!("service client {client} of account {}", caller.account_id)
                }
                (None, None) => format!("somebody of account {}", caller.account_id),
            })
        }
    }
}

impl Step {
    const ALL: [Self; 9] = [
        Self::Request,
        Self::Form,
        Self::Header,
        Self::Issuer,
        Self::Key,
        Self::Signature,
        Self::Claims,
        Self::Caller,
        Self::Rights,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Form => "form",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Caller => "caller",
            Self::Rights => "rights",
        }
    }

    /// Whether a token alone does not decide it.
    const fn is_of_request(self) -> bool {
        matches!(self, Self::Request | Self::Rights)
    }

    /// What a step wants; of the one that refused, as exactly as the settings say.
    fn expected(self, settings: Option<&ProviderSettings>, refused: Option<Reason>) -> String {
        if let (Some(settings), Some(reason)) = (settings, refused)
            && let Some(exact) = exactly(settings, reason)
        {
            return exact;
        }
        match self {
            Self::Request => "one credential, and room to look at it",
            Self::Form => "one token of a readable form and length",
            Self::Header => "EdDSA, a key id, and nothing that weakens the check",
            Self::Issuer => "an accepted issuer, or a service client registered here",
            Self::Key => "the issuer has a key with this id",
            Self::Signature => "the key made the signature",
            Self::Claims => "audience, subject, client and times fit",
            Self::Caller => "the caller and its account are known, active and not cut off",
            Self::Rights => "role, scopes, rule and permission allow it",
        }
        .to_owned()
    }

    /// What the token has of it; of the step that refused, what decided.
    fn found(self, claimed: &Claimed, refused: Option<Reason>) -> Option<String> {
        let names: &[&str] = match self {
            Self::Claims if refused.is_some_and(|reason| !deciding(reason).is_empty()) => {
                refused.map_or(&[], deciding)
            }
            Self::Header => &["alg", "typ"],
            Self::Issuer => &["iss"],
            Self::Key => &["kid"],
            Self::Claims => &["aud", "sub", "client_id", "iat", "nbf", "exp"],
            Self::Rights => &["scope"],
            Self::Request | Self::Form | Self::Signature | Self::Caller => &[],
        };
        let found: Vec<String> = names
            .iter()
            .filter_map(|name| Some(format!("{name} {}", claimed.text(name)?)))
            .collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    /// Where a request is refused for this reason.
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::MissingToken
            | Reason::MalformedAuthorization
            | Reason::TwoCredentials
            | Reason::MalformedAssertion
            | Reason::SourceOverLimit
            | Reason::VerifierBusy => Self::Request,
            Reason::TokenTooLong
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
            | Reason::UnregisteredClient => Self::Issuer,
            Reason::UnknownKey => Self::Key,
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
            Reason::InsufficientRole
            | Reason::InsufficientScope
            | Reason::NoRule
            | Reason::PermissionLacking => Self::Rights,
            // Also the provider and the database, where they were needed for a key.
            _ => Self::Caller,
        }
    }
}

/// The claims that decide; none where it may be any.
const fn deciding(reason: Reason) -> &'static [&'static str] {
    match reason {
        Reason::WrongAudience => &["aud"],
        Reason::SubjectMismatch => &["sub", "client_id", "iss"],
        Reason::ClientIdMismatch => &["client_id", "iss"],
        Reason::NotAnApplication | Reason::ClientIssuedUser => &["client_id"],
        Reason::NotYetValid => &["nbf", "iat"],
        Reason::LifetimeTooLong => &["iat", "exp"],
        Reason::Expired => &["exp"],
        _ => &[],
    }
}

/// What the settings want, in their own values.
fn exactly(settings: &ProviderSettings, reason: Reason) -> Option<String> {
    let now = SystemClock.now().to_rfc3339();
    let leeway = settings.token_leeway.as_secs();
    Some(match reason {
        Reason::UnknownIssuer => format!("iss is one of {}", settings.issuers.join(", ")),
        Reason::WrongAudience => {
            let users = match settings.api_audiences.is_empty() {
                true => "any".to_owned(),
                false => format!("one of {}", settings.api_audiences.join(", ")),
            };
            format!(
                "aud of a machine is {}; of a user {users}",
                settings.machine_audience
            )
        }
        Reason::Expired => format!("exp is later than {leeway} s before {now}"),
        Reason::NotYetValid => format!("nbf and iat are not later than {leeway} s after {now}"),
        Reason::LifetimeTooLong => format!(
            "exp is at most {} s after iat",
            settings.token_max_lifetime.as_secs()
        ),
        Reason::NoTenant | Reason::SeveralTenants => {
            format!("{} names one tenant", settings.tenant_claim)
        }
        _ => return None,
    })
}
