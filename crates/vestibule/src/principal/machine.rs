//! A service client: `client_id` → account.
//!
//! Everything in a machine's token is written by the holder of its key, so nothing in it grants
//! anything: its scopes are those registered here, its account is the one it was registered for.

use std::sync::Arc;

use super::{Principal, Proven, TokenFacts, resolver::Resolver, settled::Grounds};
use crate::{
    error::{Reason, Refusal},
    token::{VerifiedToken, YoungKey},
};

impl Resolver {
    pub(super) async fn machine(
        &self,
        token: &VerifiedToken,
        key: Option<YoungKey>,
    ) -> Result<Principal, Refusal> {
        let now = self.clock.now();
        let local = self.local.client_unchanged(token.client_id());
        // The verifier asked before it fetched keys; a client that is gone by now was removed
        // while its verified token was still remembered.
        let known = self.local.client(token.client_id()).await?;
        let client = known.ok_or(Reason::UnknownClient)?;
        self.admit(&client.caller, token.client_id(), token.issued_at())?;
        let facts = TokenFacts {
            scopes: Arc::clone(&client.scopes),
            ..token.facts().clone()
        };
        // Nobody else is asked about it.
        let grounds = key.and_then(|key| Grounds::new(token, key, local, now, token.expires_at()));
        Ok(Principal::new(
            Arc::clone(&client.caller),
            Proven::Token(token.clone(), Some(Box::new(facts))),
            grounds,
        ))
    }
}
