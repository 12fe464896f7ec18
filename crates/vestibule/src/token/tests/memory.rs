//! The cached verifier on a clock that is moved by hand.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::json;

use super::world::{FakeKeys, Mint, NOW, PROVIDER_KEY, World, signing_key};
use crate::{
    bearer::BearerToken,
    clock::{ManualClock, Timestamp},
    error::Reason,
    token::{
        CacheOutcome, CachedVerifier, Facts, KeySetId, TokenClass, TokenDigest, TokenFacts,
        Verification, VerifiedToken, VerifyingKey, proof::Proof,
    },
};

pub(super) const TTL: Duration = Duration::from_secs(300);

pub(super) struct Memory {
    pub(super) keys: Arc<FakeKeys>,
    pub(super) clock: ManualClock,
    pub(super) cached: CachedVerifier,
}

impl Memory {
    pub(super) fn of(size: usize, ttl: Duration) -> Self {
        let World { keys, verifier, .. } = World::new();
        let clock = ManualClock::new(NOW);
        let cached = CachedVerifier::new(verifier, size, ttl, Arc::new(clock.clone()));
        Self {
            keys,
            clock,
            cached,
        }
    }

    pub(super) fn new() -> Self {
        Self::of(100, TTL)
    }

    pub(super) fn verify(&self, token: &str) -> Result<Verification, Reason> {
        let token = BearerToken::parse(token)?;
        self.cached
            .cached_verify_token(&token)
            .now_or_never()
            .expect("the fakes answer at once")
    }

    #[track_caller]
    pub(super) fn outcome(&self, token: &str) -> CacheOutcome {
        self.verify(token).unwrap().outcome
    }

    /// Moves the clock to the first moment at which the token is verified again.
    pub(super) fn to_next_bucket(&self, token: &str) {
        assert_eq!(self.outcome(token), CacheOutcome::Hit);
        for _ in 0..TTL.as_millis() {
            self.clock.advance(Duration::from_millis(1));
            if self.outcome(token) == CacheOutcome::Miss {
                return;
            }
        }
        panic!("never verified again");
    }

    pub(super) fn request(
        &self,
        token: &str,
    ) -> impl Future<Output = Result<Verification, Reason>> + Send + use<> {
        let cached = self.cached.clone();
        let token = token.to_owned();
        async move {
            cached
                .cached_verify_token(&BearerToken::parse(&token)?)
                .await
        }
    }
}

pub(super) fn numbered(number: usize) -> String {
    Mint::user()
        .claim("sub", json!(format!("user_{number}")))
        .mint()
}

/// A token that nobody signed, to fill caches with.
pub(super) fn filler(subject: &str, expires_at: Timestamp) -> VerifiedToken {
    let facts = Facts {
        class: TokenClass::User,
        subject: subject.into(),
        authorized_party: None,
        tenant_candidates: Box::default(),
        issued_at: NOW,
        valid_from: NOW,
        stated: TokenFacts {
            issuer: "https://auth.example.com".into(),
            client_id: "app_web01".into(),
            scopes: Arc::default(),
            expires_at,
        },
    };
    let proof = Proof {
        set: KeySetId::Issuer(Arc::clone(&facts.stated.issuer)),
        kid: "account1".into(),
        key: VerifyingKey::from(&signing_key(PROVIDER_KEY)),
    };
    VerifiedToken::new(digest("any"), facts, proof)
}

pub(super) fn digest(text: &str) -> TokenDigest {
    TokenDigest::of(&BearerToken::parse(text).unwrap())
}
