//! The workflow from the `Authorization` header to a [`Principal`], in the order of the contract.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::HeaderMap;
use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    admission::Admission,
    bearer::BearerToken,
    error::{Reason, Refusal, RefusedCaller},
    http::RequestId,
    principal::{Principal, PrincipalKind, Resolver},
    tenancy::activity::{ActivityEvent, ActivityKind, ActivityLog},
    token::{CacheOutcome, CachedVerifier, TokenClass, TokenDigest, VerifiedToken},
};

/// Decides who calls. Shared by all requests.
#[derive(Debug)]
pub struct Authenticator {
    verifier: CachedVerifier,
    admission: Arc<Admission>,
    resolver: Arc<Resolver>,
    activity: ActivityLog,
    measures: Measures,
}

/// Handles of the metrics that a success touches; looked up once.
#[derive(Debug)]
struct Measures {
    accepted_user: Counter,
    accepted_machine: Counter,
    hit: Histogram,
    miss: Histogram,
}

impl Authenticator {
    pub(crate) fn new(
        verifier: CachedVerifier,
        admission: Arc<Admission>,
        resolver: Arc<Resolver>,
        activity: ActivityLog,
    ) -> Self {
        Self {
            verifier,
            admission,
            resolver,
            activity,
            measures: Measures::new(),
        }
    }

    /// From the request's headers to its principal.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; its reason is [`Reason::MissingToken`] only where there was no
    /// `Authorization` header at all. Answer it with [`Problem`](crate::http::Problem).
    pub async fn validate_token(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        self.authenticate(headers, None, RequestId::generate).await
    }

    /// Verifies a token, or finds that the same token was verified within `TOKEN_CACHE_TTL`.
    ///
    /// # Errors
    ///
    /// The exact reason; [`Reason::code`] is what a caller may be told.
    pub async fn cached_verify_token(
        &self,
        token: &BearerToken<'_>,
    ) -> Result<VerifiedToken, Reason> {
        self.verifier
            .cached_verify_token(token)
            .await
            .map(|verification| verification.token)
    }

    /// A person's token → the local user with account, made on the first visit.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; [`Reason::SubjectMismatch`] for a machine's token.
    pub async fn validate_user_token(&self, token: &VerifiedToken) -> Result<Principal, Refusal> {
        match token.class() {
            TokenClass::User => self.resolver.user(token).await,
            TokenClass::Machine => Err(Reason::SubjectMismatch.into()),
        }
    }

    /// A service client's token → the registered client with account.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; [`Reason::SubjectMismatch`] for a person's token.
    pub async fn validate_machine_token(
        &self,
        token: &VerifiedToken,
    ) -> Result<Principal, Refusal> {
        match token.class() {
            TokenClass::Machine => self.resolver.machine(token).await,
            TokenClass::User => Err(Reason::SubjectMismatch.into()),
        }
    }

    /// [`Authenticator::validate_token`] for a request that has a name already, and came over a
    /// connection from `peer`.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        request_id: impl Fn() -> RequestId,
    ) -> Result<Principal, Refusal> {
        let started = Instant::now();
        let mut class = None;
        let mut outcome = CacheOutcome::Miss;
        let result = async {
            let bearer = BearerToken::from_headers(headers)?.ok_or(Reason::MissingToken)?;
            let source = self.admission.source(peer, headers);
            let verification = self.verifier.verify_from(&bearer, source).await?;
            outcome = verification.outcome;
            let token = verification.token;
            class = Some(token.class());
            let principal = match token.class() {
                TokenClass::User => self.validate_user_token(&token).await?,
                TokenClass::Machine => self.validate_machine_token(&token).await?,
            };
            if token.first_use() {
                self.activity
                    .record(sign_in(&principal, &verification.digest, request_id()));
            }
            Ok(principal)
        }
        .await;
        self.measures.record(&result, class, outcome, started);
        if let Err(refusal) = &result {
            self.note_refusal(refusal, request_id);
        }
        result
    }

    /// Sets the gauges to what is true now.
    pub(crate) fn refresh_gauges(&self) {
        self.verifier.refresh_gauges();
    }

    /// Writes a refusal into the activity of the caller's own account, where it is known.
    pub(crate) fn note_refusal(&self, refusal: &Refusal, request_id: impl Fn() -> RequestId) {
        if let Some(caller) = &refusal.caller {
            self.activity
                .record(refused(caller, refusal.reason, request_id()));
        }
    }
}

fn sign_in(principal: &Principal, digest: &TokenDigest, request_id: RequestId) -> ActivityEvent {
    let mut event = ActivityEvent::new(principal.account().id, ActivityKind::SignIn);
    event.user_id = (principal.kind() == PrincipalKind::User).then(|| principal.user().id);
    event.client_id = Some(principal.token().client_id.to_string());
    event.request_id = Some(request_id.to_string());
    event.token_hash = Some(digest.identity().to_vec());
    event
}

fn refused(caller: &RefusedCaller, reason: Reason, request_id: RequestId) -> ActivityEvent {
    let mut event = ActivityEvent::new(caller.account_id, ActivityKind::Refusal);
    event.user_id = caller.user_id;
    event.client_id = caller.client_id.as_deref().map(str::to_owned);
    event.reason = Some(reason.as_str().to_owned());
    event.request_id = Some(request_id.to_string());
    event
}

impl Measures {
    fn new() -> Self {
        let accepted = |kind: PrincipalKind| {
            counter!("vestibule_authentications_total",
                "outcome" => "accepted", "kind" => kind.as_str(), "reason" => "")
        };
        Self {
            accepted_user: accepted(PrincipalKind::User),
            accepted_machine: accepted(PrincipalKind::Machine),
            hit: histogram!("vestibule_authentication_duration_seconds", "path" => "hit"),
            miss: histogram!("vestibule_authentication_duration_seconds", "path" => "miss"),
        }
    }

    fn record(
        &self,
        result: &Result<Principal, Refusal>,
        class: Option<TokenClass>,
        outcome: CacheOutcome,
        started: Instant,
    ) {
        match result {
            Ok(principal) => match principal.kind() {
                PrincipalKind::User => self.accepted_user.increment(1),
                PrincipalKind::Machine => self.accepted_machine.increment(1),
            },
            Err(refusal) => {
                // Before the signature is proven nobody knows what it would have been.
                let kind = match class {
                    Some(TokenClass::User) => PrincipalKind::User.as_str(),
                    Some(TokenClass::Machine) => PrincipalKind::Machine.as_str(),
                    None => "unknown",
                };
                counter!("vestibule_authentications_total",
                    "outcome" => "refused", "kind" => kind, "reason" => refusal.reason.as_str())
                .increment(1);
            }
        }
        match outcome {
            CacheOutcome::Hit => self.hit.record(started.elapsed()),
            CacheOutcome::Miss => self.miss.record(started.elapsed()),
        }
    }
}
