//! A caller whom the server has asserted: the directory is asked for him by name, and has to know
//! the same one.
//!
//! Authress is not asked: the server did, at most a minute ago. What an assertion says of role and
//! status is not read, so what changed since it was signed counts.

use std::sync::Arc;

use super::{Caller, Principal, PrincipalKind, Proven, TokenFacts, resolver::Resolver};
use crate::{
    assertion::{AssertedFacts, VerifiedAssertion},
    error::{Reason, Refusal},
};

/// A caller and the scopes that count.
pub(super) type Known = (Arc<Caller>, Arc<[Arc<str>]>);

impl Resolver {
    pub(crate) async fn asserted(
        &self,
        assertion: &VerifiedAssertion,
    ) -> Result<Principal, Refusal> {
        let facts = assertion.facts();
        let (caller, scopes) = self.known(facts).await?;
        // The server refused older tokens before it signed this.
        self.admit(&caller, &facts.client_id, facts.issued_at)?;
        let token = TokenFacts {
            issuer: Arc::clone(&facts.issuer),
            client_id: Arc::clone(&facts.client_id),
            scopes,
            expires_at: facts.token_ends,
        };
        let proven = Proven::Assertion(assertion.clone(), Box::new(token));
        Ok(Principal::new(caller, proven, None))
    }

    /// Whom the directory knows under the asserted name, and his scopes.
    pub(super) async fn known(&self, facts: &AssertedFacts) -> Result<Known, Refusal> {
        match facts.kind {
            PrincipalKind::User => {
                let known = self.local.user(&facts.subject).await?;
                let caller = same(known, facts).ok_or(Reason::UnknownUser)?;
                Ok((caller, Arc::clone(&facts.scopes)))
            }
            PrincipalKind::Machine => {
                let known = self.local.client(&facts.subject).await?;
                let client = known.ok_or(Reason::UnknownClient)?;
                let caller = Some(Arc::clone(&client.caller));
                let caller = same(caller, facts).ok_or(Reason::UnknownClient)?;
                Ok((caller, Arc::clone(&client.scopes)))
            }
        }
    }
}

/// The caller, where it is the one that was asserted and not another of the same name.
fn same(known: Option<Arc<Caller>>, facts: &AssertedFacts) -> Option<Arc<Caller>> {
    known.filter(|caller| {
        caller.identity.user.id == facts.id && caller.account_id() == facts.account_id
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::Timestamp,
        principal::UserWithAccount,
        store::{Account, Status, User},
    };

    #[test]
    fn both_the_caller_and_the_account_are_those_that_were_asserted() {
        let (id, account_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let caller = Arc::new(Caller::new(
            PrincipalKind::User,
            UserWithAccount {
                user: User {
                    id,
                    authress_user_id: "user_ada".to_owned(),
                    email: None,
                    name: None,
                    picture: None,
                    role: "member".to_owned(),
                    status: Status::Active,
                    account_id,
                },
                account: Account {
                    id: account_id,
                    name: "Acme".to_owned(),
                    authress_tenant_id: "tenant_acme".to_owned(),
                    status: Status::Active,
                },
            },
        ));
        let asserted = |id, account_id| AssertedFacts {
            kind: PrincipalKind::User,
            id,
            subject: "user_ada".into(),
            account_id,
            issuer: "https://auth.example.com".into(),
            client_id: "app_web".into(),
            scopes: Arc::new([]),
            issued_at: Timestamp::from_secs(1),
            expires_at: Timestamp::from_secs(2),
            token_ends: Timestamp::from_secs(3),
        };
        let is_same = |facts| same(Some(Arc::clone(&caller)), &facts).is_some();
        let other = Uuid::from_u128(3);
        assert!(is_same(asserted(id, account_id)));
        assert!(!is_same(asserted(other, account_id)));
        assert!(!is_same(asserted(id, other)));
        assert!(same(None, &asserted(id, account_id)).is_none());
    }
}
