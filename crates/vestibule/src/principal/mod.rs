//! 3. [`VerifiedToken`] → [`Principal`]: who calls, and for which account.
//!
//! A verified token says who the *provider* thinks is calling. A principal adds what only we
//! know: the local user or service client, its account, and whether either is suspended.
//! [`Resolver`] is the only place that makes one.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `user.rs` | a person: Authress user → local user, tenant rule, status |
//! | `provisioning.rs` | a person's first visit: tenant → account → new local user |
//! | `machine.rs` | a service client: `client_id` → account |
//! | `asserted.rs` | a caller whom the server has asserted: the directory must know the same |
//! | `lasting.rs` | whether a caller who was let in may stay |
//! | `local.rs` | what the directory said, remembered until it changes |
//! | `settled.rs` | whether what was found out about a token a moment ago still holds |

mod asserted;
mod lasting;
mod local;
mod machine;
mod provisioning;
mod resolver;
mod settled;
mod user;

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

pub(crate) use self::local::LocalFacts;
pub(crate) use self::resolver::Remembered;
pub use self::resolver::{PROVIDER, Resolver};
use self::settled::Grounds;
pub use crate::token::TokenFacts;
use crate::{
    assertion::VerifiedAssertion,
    clock::Timestamp,
    error::{Reason, Refusal, RefusedCaller},
    store::{Account, Status, User},
    tenancy::SessionScope,
    token::VerifiedToken,
};

/// Whether a person or a piece of software is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person, signed in through the provider.
    User,
    /// A service client, which signs its own tokens.
    Machine,
}

impl PrincipalKind {
    /// `user` or `machine`, as on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Machine => "machine",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The caller and its account.
///
/// For a service client the user is made of predefined values: its id is the client's, its
/// Authress user id the `client_id`, its role `service_client`; it has no e-mail.
#[derive(Clone, Debug, Serialize)]
pub struct UserWithAccount {
    /// The local user, or the service client in a user's form.
    pub user: User,
    /// The account that it belongs to.
    pub account: Account,
}

/// An authenticated caller with its account. Cheap to clone.
///
/// Only [`Resolver`] makes one, and only from a [`VerifiedToken`] or a verified assertion
/// ([`assertion`](crate::assertion)). Its JSON form is the answer
/// of `GET /v1/me`.
#[derive(Clone)]
pub struct Principal {
    identified: Arc<Identified>,
    /// The request's session, when the principal was made for a request.
    scope: Option<Arc<SessionScope>>,
}

/// Who somebody is, and what it was found out from.
#[derive(Debug)]
pub(crate) struct Identified {
    caller: Arc<Caller>,
    proven: Proven,
    /// None: it was found out for this once.
    grounds: Option<Grounds>,
}

impl Identified {
    fn token(&self) -> &TokenFacts {
        match &self.proven {
            Proven::Token(token, None) => token.facts(),
            Proven::Token(_, Some(facts)) | Proven::Assertion(_, facts) => facts,
        }
    }

    /// The token, where it was one.
    pub(crate) fn verified_token(&self) -> Option<&VerifiedToken> {
        match &self.proven {
            Proven::Token(token, _) => Some(token),
            Proven::Assertion(..) => None,
        }
    }
}

/// What a principal was made of: for whoever asks again, when the request is over.
#[derive(Clone, Debug)]
pub(crate) enum Proven {
    /// With the facts that count, where they are others than the token states.
    Token(VerifiedToken, Option<Box<TokenFacts>>),
    Assertion(VerifiedAssertion, Box<TokenFacts>),
}

impl Proven {
    /// `iat`.
    fn issued_at(&self) -> Timestamp {
        match self {
            Self::Token(token, _) => token.issued_at(),
            Self::Assertion(assertion, _) => assertion.facts().issued_at,
        }
    }
}

/// What became of a caller who was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// He is who he was.
    Same,
    /// He has another role, or other scopes.
    Changed,
}

/// The part of a principal that is the same for all of its tokens.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) kind: PrincipalKind,
    pub(crate) identity: UserWithAccount,
    /// See [`Principal::derived`].
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Principal {
    fn new(caller: Arc<Caller>, proven: Proven, grounds: Option<Grounds>) -> Self {
        Self {
            identified: Arc::new(Identified {
                caller,
                proven,
                grounds,
            }),
            scope: None,
        }
    }

    /// The same principal, whose sessions are those of one request.
    pub(crate) fn within(mut self, scope: Arc<SessionScope>) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The same principal, apart from any request.
    pub(crate) fn alone(mut self) -> Self {
        self.scope = None;
        self
    }

    fn caller(&self) -> &Arc<Caller> {
        &self.identified.caller
    }

    pub(crate) fn proven(&self) -> &Proven {
        &self.identified.proven
    }

    pub(crate) fn scope(&self) -> Option<&Arc<SessionScope>> {
        self.scope.as_ref()
    }

    /// User or machine.
    pub fn kind(&self) -> PrincipalKind {
        self.caller().kind
    }

    /// The user and its account together.
    pub fn user_with_account(&self) -> &UserWithAccount {
        &self.caller().identity
    }

    /// The local user; for a machine, predefined values.
    pub fn user(&self) -> &User {
        &self.caller().identity.user
    }

    /// The account that the caller belongs to.
    pub fn account(&self) -> &Account {
        &self.caller().identity.account
    }

    /// What a program makes of a caller, and of nothing else: the same for all his tokens, such as
    /// a part of an answer that is sent often. Made by the first who asks, and kept as long as the
    /// library remembers what the directory says of him; a change makes him anew.
    ///
    /// One type for all callers: None where another is kept.
    pub fn derived<T: Any + Send + Sync>(
        &self,
        derive: impl FnOnce(PrincipalKind, &UserWithAccount) -> T,
    ) -> Option<&T> {
        let caller = self.caller();
        let derived = caller
            .derived
            .get_or_init(|| Box::new(derive(caller.kind, &caller.identity)));
        derived.downcast_ref()
    }

    /// Facts of the token.
    pub fn token(&self) -> &TokenFacts {
        self.identified.token()
    }

    /// Refuses callers without this role.
    ///
    /// # Errors
    /// `insufficient_role` (403).
    pub fn require_role(&self, role: &str) -> Result<(), Refusal> {
        if self.user().role == role {
            Ok(())
        } else {
            Err(self.refusal(Reason::InsufficientRole))
        }
    }

    /// Refuses callers whose token lacks this scope. A machine has the scopes registered for it
    /// here; those that it wrote into its own token grant nothing.
    ///
    /// # Errors
    /// `insufficient_scope` (403).
    pub fn require_scope(&self, scope: &str) -> Result<(), Refusal> {
        if self
            .token()
            .scopes
            .iter()
            .any(|granted| &**granted == scope)
        {
            Ok(())
        } else {
            Err(self.refusal(Reason::InsufficientScope))
        }
    }

    /// A refusal of this caller, which his account's activity will show.
    pub fn refusal(&self, reason: Reason) -> Refusal {
        Refusal {
            reason,
            caller: Some(self.caller().as_refused(&self.token().client_id)),
        }
    }
}

impl Caller {
    fn new(kind: PrincipalKind, identity: UserWithAccount) -> Self {
        Self {
            kind,
            identity,
            derived: OnceLock::new(),
        }
    }

    pub(crate) fn account_id(&self) -> Uuid {
        self.identity.account.id
    }

    /// The local user's id; none for a machine.
    fn user_id(&self) -> Option<Uuid> {
        (self.kind == PrincipalKind::User).then_some(self.identity.user.id)
    }

    /// The caller as a refusal names it in its own account's activity.
    fn as_refused(&self, client_id: &Arc<str>) -> RefusedCaller {
        RefusedCaller {
            account_id: self.account_id(),
            user_id: self.user_id(),
            client_id: Some(Arc::clone(client_id)),
        }
    }

    /// Suspension, asked again on every request. The account's state outranks the caller's.
    fn admit(&self, client_id: &Arc<str>) -> Result<(), Refusal> {
        let suspended = match (
            self.kind,
            self.identity.account.status,
            self.identity.user.status,
        ) {
            (_, Status::Suspended, _) => Some(Reason::AccountSuspended),
            (PrincipalKind::User, _, Status::Suspended) => Some(Reason::UserSuspended),
            (PrincipalKind::Machine, _, Status::Suspended) => Some(Reason::ClientSuspended),
            (_, Status::Active, Status::Active) => None,
        };
        match suspended {
            None => Ok(()),
            Some(reason) => Err(Refusal {
                reason,
                caller: Some(self.as_refused(client_id)),
            }),
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("kind", &self.kind())
            .field("user", &self.user().id)
            .field("account", &self.account().id)
            .finish_non_exhaustive()
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Principal", 4)?;
        body.serialize_field("kind", &self.kind())?;
        body.serialize_field("user", self.user())?;
        body.serialize_field("account", self.account())?;
        body.serialize_field("token", self.token())?;
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::PrincipalKind;

    /// In logs, headers and JSON alike.
    #[test]
    fn kinds_have_names() {
        for (kind, name) in [
            (PrincipalKind::User, "user"),
            (PrincipalKind::Machine, "machine"),
        ] {
            assert_eq!(kind.as_str(), name);
            assert_eq!(kind.to_string(), name);
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
    }
}
