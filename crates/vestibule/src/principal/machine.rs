//! A service client: `client_id` → account.
//!
//! Everything in a machine's token is written by the holder of its key, so nothing in it grants
//! anything: its scopes are those registered here, its account is the one it was registered for.

use std::sync::Arc;

use super::{Principal, Proven, TokenFacts, resolver::Resolver};
use crate::{
    error::{Reason, Refusal},
    token::VerifiedToken,
};

impl Resolver {
    pub(crate) async fn machine(&self, token: &VerifiedToken) -> Result<Principal, Refusal> {
        // The verifier asked before it fetched keys; a client that is gone by now was removed
        // while its verified token was still remembered.
        let known = self.local.client(token.client_id()).await?;
        let client = known.ok_or(Reason::UnknownClient)?;
        self.admit(&client.caller, token.client_id(), token.issued_at())?;
        Ok(Principal::new(
            Arc::clone(&client.caller),
            TokenFacts::of(token, &client.scopes),
            Proven::Token(token.clone()),
        ))
    }
}
