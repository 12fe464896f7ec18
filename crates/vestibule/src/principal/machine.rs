//! A service client: `client_id` → account.
//!
//! Everything in a machine's token is written by the holder of its key, so nothing in it grants
//! anything: its scopes are those registered here, its account is the one it was registered for.

use std::sync::Arc;

use super::{Principal, Proven, Resolved, TokenFacts, resolver::Resolver, settled::Lasting};
use crate::{
    error::{Reason, Refusal},
    token::VerifiedToken,
};

impl Resolver {
    pub(crate) async fn machine(&self, token: &VerifiedToken) -> Result<Resolved, Refusal> {
        let local = self.local.client_unchanged(token.client_id());
        // The verifier asked before it fetched keys; a client that is gone by now was removed
        // while its verified token was still remembered.
        let known = self.local.client(token.client_id()).await?;
        let client = known.ok_or(Reason::UnknownClient)?;
        self.admit(&client.caller, token.client_id(), token.issued_at())?;
        let principal = Principal::new(
            Arc::clone(&client.caller),
            TokenFacts::of(token, &client.scopes),
            Proven::Token(token.clone()),
        );
        // Nobody else is asked about it.
        let until = token.expires_at();
        Ok(Resolved {
            principal,
            lasting: Some(Lasting { until, local }),
        })
    }
}
