//! The workflow from the `Authorization` header to a [`Principal`], in the order of the contract.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use metrics::{Counter, Histogram, counter, histogram};
// Read twice for each request: as the processor counts, without asking the system.
use quanta::Instant;
use tracing::Instrument as _;

use crate::{
    admission::{Admission, Source},
    assertion::{AssertionToken, CachedAssertions},
    bearer::BearerToken,
    clock::{SharedClock, Timestamp},
    credential::Credential,
    error::{Reason, Refusal, RefusedCaller},
    http::RequestId,
    principal::{Principal, PrincipalKind, Proven, Resolver, Standing},
    store::Account,
    tenancy::activity::{ActivityEvent, ActivityKind, ActivityLog},
    token::{CacheOutcome, CachedVerifier, TokenClass, TokenDigest, VerifiedToken},
    trace,
};

/// Decides who calls. Shared by all requests.
#[derive(Debug)]
pub struct Authenticator {
    verifier: CachedVerifier,
    /// None: assertions are not looked at.
    assertions: Option<CachedAssertions>,
    admission: Arc<Admission>,
    resolver: Arc<Resolver>,
    activity: ActivityLog,
    clock: SharedClock,
    measures: Measures,
}

/// A caller who was [recalled](Authenticator::recall). Who needs more than that to answer drops it and
/// has the request authenticated; only what is accepted is counted.
#[derive(Debug)]
#[must_use = "it counts once it is accepted"]
pub struct Recalled<'a> {
    authenticator: &'a Authenticator,
    principal: Principal,
    started: Instant,
}

/// What was found out on the way, for the metrics.
struct Seen {
    /// None before the signature is proven: nobody knows what it would have been.
    kind: Option<PrincipalKind>,
    outcome: CacheOutcome,
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
        assertions: Option<CachedAssertions>,
        admission: Arc<Admission>,
        resolver: Arc<Resolver>,
        activity: ActivityLog,
        clock: SharedClock,
    ) -> Self {
        Self {
            verifier,
            assertions,
            admission,
            resolver,
            activity,
            clock,
            measures: Measures::new(),
        }
    }

    /// From the request's headers to its principal: by its bearer token or, where they are
    /// accepted ([`AcceptedAssertions`](crate::settings::AcceptedAssertions)), by the assertion of
    /// a proxy; never by both.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; its reason is [`Reason::MissingToken`] only where there was no
    /// `Authorization` header at all, and no assertion. Answer it with [`Problem`](crate::http::Problem).
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
            TokenClass::User => self.resolver.principal(token).await,
            TokenClass::Machine => Err(Reason::SubjectMismatch.into()),
        }
    }

    /// What a person's first visit with this token would come to: the account that he would belong
    /// to. Makes no local user; none where there is one.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that the visit would meet.
    pub async fn first_visit(&self, token: &VerifiedToken) -> Result<Option<Account>, Refusal> {
        match token.class() {
            TokenClass::User => self.resolver.first_visit(token).await,
            TokenClass::Machine => Ok(None),
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
            TokenClass::Machine => self.resolver.principal(token).await,
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
        let span = trace::authenticate();
        let mut seen = Seen::default();
        let source = || self.admission.source(peer, headers);
        let deciding = async {
            match Credential::from_headers(headers, self.assertions.is_some()) {
                Ok(Credential::Bearer(token)) => {
                    self.by_bearer(token, source, &request_id, &mut seen).await
                }
                Ok(Credential::Assertion(token)) => {
                    self.by_assertion(token, source(), &mut seen).await
                }
                Err(reason) => Err(reason.into()),
            }
        };
        let result = deciding.instrument(span.clone()).await;
        let reason = result.as_ref().err().map(|refusal| refusal.reason.as_str());
        trace::authenticated(&span, seen.outcome.as_str(), seen.kind, reason);
        self.measures.record(&result, &seen, started);
        if let Err(refusal) = &result {
            self.note_refusal(refusal, request_id);
        }
        result
    }

    /// The caller of a request whose token was good a moment ago, where nothing that it rests on has
    /// changed since, and nobody has to be asked or waited for. None says nothing: ask
    /// [`Authenticator::validate_token`].
    pub fn recall(&self, headers: &HeaderMap) -> Option<Recalled<'_>> {
        let started = Instant::now();
        let Ok(Credential::Bearer(token)) =
            Credential::from_headers(headers, self.assertions.is_some())
        else {
            return None;
        };
        let principal = self.recalled(&TokenDigest::of(&token), self.clock.now())?;
        Some(Recalled {
            authenticator: self,
            principal,
            started,
        })
    }

    fn recalled(&self, digest: &TokenDigest, now: Timestamp) -> Option<Principal> {
        let settled = self.verifier.settled(digest, now)?;
        self.resolver.recall(settled, now)
    }

    /// What a request of this principal would meet now, but for the time. Where `whole`, the
    /// provider's facts are looked at too: the token's key and, for a person, the user.
    ///
    /// What is asked of each request and can change while a token lives belongs here as well.
    pub(crate) async fn standing(
        &self,
        principal: &Principal,
        whole: bool,
    ) -> Result<Standing, Refusal> {
        if let Proven::Token(token, _) = principal.proven() {
            self.verifier.require_uncut(token)?;
            if whole {
                self.verifier.require_key(token).await?;
            }
        }
        self.resolver.standing(principal, whole).await
    }

    async fn by_bearer(
        &self,
        token: BearerToken<'_>,
        source: impl Fn() -> Option<Source>,
        request_id: impl Fn() -> RequestId,
        seen: &mut Seen,
    ) -> Result<Principal, Refusal> {
        let digest = TokenDigest::of(&token);
        let now = self.clock.now();
        if let Some(principal) = self.recalled(&digest, now) {
            self.verifier.count_hit();
            seen.outcome = CacheOutcome::Hit;
            seen.kind = Some(principal.kind());
            return Ok(principal);
        }
        let verification = self.verifier.verify_from(&token, digest, source()).await?;
        let token = verification.token;
        seen.outcome = verification.outcome;
        seen.kind = Some(match token.class() {
            TokenClass::User => PrincipalKind::User,
            TokenClass::Machine => PrincipalKind::Machine,
        });
        let key = self.verifier.young_key(&token);
        let principal = self.resolver.resolve(&token, key).await?;
        self.verifier.settle(&principal);
        if token.first_use() {
            self.activity
                .record(sign_in(&principal, &verification.digest, request_id()));
        }
        Ok(principal)
    }

    /// No sign-in is noted: the server that made the assertion has noted the token's.
    async fn by_assertion(
        &self,
        token: AssertionToken<'_>,
        source: Option<Source>,
        seen: &mut Seen,
    ) -> Result<Principal, Refusal> {
        let verifier = self.assertions.as_ref().ok_or(Reason::Internal)?;
        let (assertion, outcome) = verifier.verify_from(token, source).await?;
        seen.outcome = outcome;
        seen.kind = Some(assertion.facts().kind);
        self.resolver.asserted(&assertion).await
    }

    /// How many verified tokens are remembered.
    pub(crate) fn cached_tokens(&self) -> usize {
        self.verifier.len()
    }

    /// Whether it is a proxy whose word about a request counts.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.admission.trusts(peer)
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

impl Recalled<'_> {
    /// The caller.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Counts it as an accepted request, in the metrics.
    pub fn accept(self) -> Principal {
        let Authenticator {
            verifier, measures, ..
        } = self.authenticator;
        verifier.count_hit();
        measures.accept(self.principal.kind());
        measures.hit.record(self.started.elapsed());
        self.principal
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

impl Default for Seen {
    fn default() -> Self {
        Self {
            kind: None,
            outcome: CacheOutcome::Miss,
        }
    }
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
            hit: histogram!("vestibule_authentication_duration_seconds", "path" => CacheOutcome::Hit.as_str()),
            miss: histogram!("vestibule_authentication_duration_seconds", "path" => CacheOutcome::Miss.as_str()),
        }
    }

    fn accept(&self, kind: PrincipalKind) {
        match kind {
            PrincipalKind::User => self.accepted_user.increment(1),
            PrincipalKind::Machine => self.accepted_machine.increment(1),
        }
    }

    fn record(&self, result: &Result<Principal, Refusal>, seen: &Seen, started: Instant) {
        match result {
            Ok(principal) => self.accept(principal.kind()),
            Err(refusal) => {
                let kind = seen.kind.map_or("unknown", PrincipalKind::as_str);
                counter!("vestibule_authentications_total",
                    "outcome" => "refused", "kind" => kind, "reason" => refusal.reason.as_str())
                .increment(1);
            }
        }
        match seen.outcome {
            CacheOutcome::Hit => self.hit.record(started.elapsed()),
            CacheOutcome::Miss => self.miss.record(started.elapsed()),
        }
    }
}
