//! A caller who was let in some time ago, over a connection that is still open: whether a request
//! of his would be let in now, and whether it would be the same caller's.
//!
//! The same facts in the same order of precedence as for a request, but nobody is made a user: who
//! was removed has to come again.

use std::sync::Arc;

use super::{Principal, PrincipalKind, Proven, Standing, asserted::Known, resolver::Resolver};
use crate::{
    assertion::VerifiedAssertion,
    error::{Reason, Refusal},
    provider::{Dated, Found},
    token::{TokenClass, VerifiedToken},
};

impl Resolver {
    /// Asks the directory; where `whole`, the provider's word on a person too.
    pub(crate) async fn standing(
        &self,
        principal: &Principal,
        whole: bool,
    ) -> Result<Standing, Refusal> {
        let (caller, scopes) = match principal.proven() {
            Proven::Token(token, _) => self.known_by(token, whole).await?,
            Proven::Assertion(assertion, _) => self.known_as(assertion, whole).await?,
        };
        let (user, account) = (principal.user(), principal.account());
        if caller.identity.user.id != user.id || caller.account_id() != account.id {
            return Err(principal.refusal(match principal.kind() {
                PrincipalKind::User => Reason::UnknownUser,
                PrincipalKind::Machine => Reason::UnknownClient,
            }));
        }
        let token = principal.token();
        let issued_at = principal.proven().issued_at();
        self.admit(&caller, &token.client_id, issued_at)?;
        match caller.identity.user.role == user.role && scopes == token.scopes {
            true => Ok(Standing::Same),
            false => Ok(Standing::Changed),
        }
    }

    async fn known_by(&self, token: &VerifiedToken, whole: bool) -> Result<Known, Refusal> {
        if token.class() == TokenClass::Machine {
            let known = self.local.client(token.client_id()).await?;
            let client = known.ok_or(Reason::UnknownClient)?;
            return Ok((Arc::clone(&client.caller), Arc::clone(&client.scopes)));
        }
        if whole {
            self.require_known(token.subject()).await?;
        }
        let known = self.local.user(token.subject()).await?;
        let caller = known.ok_or(Reason::UnknownUser)?;
        self.require_tenant(&caller, token)?;
        Ok((caller, Arc::clone(token.scopes())))
    }

    /// A request with an assertion does not ask the provider, because the server that signed it
    /// has. Nobody has for a connection that is open for hours; but as none was needed to open
    /// it, a provider that does not answer is no reason to end it.
    async fn known_as(&self, assertion: &VerifiedAssertion, whole: bool) -> Result<Known, Refusal> {
        let facts = assertion.facts();
        if whole
            && facts.kind == PrincipalKind::User
            && self.require_known(&facts.subject).await == Err(Reason::UnknownUser)
        {
            return Err(Reason::UnknownUser.into());
        }
        self.known(facts).await
    }

    /// Whether the provider still has this user.
    async fn require_known(&self, subject: &str) -> Result<(), Reason> {
        match self.users.get(subject).await {
            Ok(Dated {
                found: Found::Present(_),
                ..
            }) => Ok(()),
            Ok(Dated {
                found: Found::Gone, ..
            }) => Err(Reason::UnknownUser),
            Err(_) => Err(Reason::ProviderUnavailable),
        }
    }
}
