//! A caller who was let in some time ago, over a connection that is still open: whether a request
//! of his would be let in now, and whether it would be the same caller's.
//!
//! The same facts in the same order of precedence as for a request, but nobody is made a user: who
//! was removed has to come again.

use std::sync::Arc;

use super::{Principal, PrincipalKind, Proven, Standing, asserted::Known, resolver::Resolver};
use crate::{
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
            Proven::Token(token) => self.known_by(token, whole).await?,
            Proven::Assertion(assertion) => self.known(assertion.facts()).await?,
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
            match self.users.get(token.subject()).await {
                Ok(Dated {
                    found: Found::Present(_),
                    ..
                }) => {}
                Ok(Dated {
                    found: Found::Gone, ..
                }) => return Err(Reason::UnknownUser.into()),
                Err(_) => return Err(Reason::ProviderUnavailable.into()),
            }
        }
        let known = self.local.user(token.subject()).await?;
        let caller = known.ok_or(Reason::UnknownUser)?;
        self.require_tenant(&caller, token)?;
        Ok((caller, Arc::clone(token.scopes())))
    }
}
