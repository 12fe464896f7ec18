//! The whole pipeline behind one handle, and the one place where its parts are put together.

use std::{sync::Arc, time::Duration};

use sqlx::migrate::Migrator;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    admission::Admission,
    assertion::{AssertionVerifier, CachedAssertions},
    authenticator::Authenticator,
    clock::{SharedClock, SystemClock, Timestamp},
    error::{OutageStatus, Reason, Refusal},
    http::VestibuleLayer,
    lease::{Lease, Leases},
    principal::{LocalFacts, PROVIDER, Principal, Remembered, Resolver},
    provider::{
        Authress, AuthressApi, IssuerKeys, KeySets, PermissionCache, TenantCache, UserCache,
    },
    revocation::Revocations,
    settings::{AcceptedAssertions, DatabaseSettings, SettingProblem, Settings, SettingsError},
    store::{AccountUsers, Danger, Directory, Finding, Level, StoreError, WatchGuard},
    tenancy::{
        Migrated, SessionError, SessionScope, SystemAccess, TenantRepository, TenantService,
        TenantSession, TenantSpaces, activity::ActivityLog, attach_is_impossible,
    },
    token::{CachedVerifier, TokenPolicy, Verifier},
};

/// The entrance: everything from the bearer token to the tenant session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vestibule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: DatabaseSettings,
    clock: SharedClock,
    authenticator: Authenticator,
    authress: Authress,
    directory: Directory,
    spaces: TenantSpaces,
    activity: ActivityLog,
    keys: Arc<KeySets>,
    users: UserCache,
    permissions: PermissionCache,
    outage_status: OutageStatus,
    token_cache_size: usize,
    token_cache_ttl: Duration,
    leases: Leases,
    stopped: CancellationToken,
    _stop_when_dropped: DropGuard,
    changes: WatchGuard,
}

/// How long a reader of the activity waits for its writer.
const SETTLE: Duration = Duration::from_millis(500);

/// Why the entrance could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings are missing or wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database could not be opened, or is not ours.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Accounts would not be kept apart as promised, and nobody allowed it
    /// ([`VestibuleBuilder::allow`]).
    #[error("{}", refusal(.0))]
    Dangerous(Vec<Finding>),
}

fn refusal(findings: &[Finding]) -> String {
    let mut text = "the database does not keep accounts apart as it should:".to_owned();
    for finding in findings {
        text.push_str("\n  ");
        text.push_str(&finding.to_string());
    }
    text
}

/// Whether requests can be served, and what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The database answers.
    pub database: bool,
    /// Every configured issuer has usable keys.
    pub keys: bool,
}

/// Builds a [`Vestibule`] from settings that the program holds itself.
#[derive(Debug)]
pub struct VestibuleBuilder {
    settings: Settings,
    clock: SharedClock,
    allow_other_provider: bool,
    allowed: Vec<Danger>,
}

impl Vestibule {
    /// Opens the entrance with the settings of the process's environment.
    ///
    /// # Errors
    ///
    /// [`StartError::Settings`] names every setting that is wrong and what to do.
    pub async fn from_env() -> Result<Self, StartError> {
        Self::builder(Settings::from_env()?).build().await
    }

    /// Opens it with other settings.
    pub fn builder(settings: Settings) -> VestibuleBuilder {
        VestibuleBuilder {
            settings,
            clock: Arc::new(SystemClock),
            allow_other_provider: false,
            allowed: Vec::new(),
        }
    }

    /// The tower layer that gives handlers their caller and their session. It belongs around the
    /// whole router; see [`http`](crate::http).
    pub fn layer(&self) -> VestibuleLayer {
        VestibuleLayer::new(self.clone())
    }

    /// The workflow step by step, for callers without axum.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Authress itself: its users, tenants and tokens.
    pub fn authress(&self) -> &Authress {
        &self.0.authress
    }

    /// Applies the application's own migrations to every account, each in a transaction of its
    /// own, and keeps them for accounts that are made later. Written as if there were one account.
    ///
    /// On PostgreSQL this takes the owner's login (`DATABASE_ADMIN_URL`). Without it nothing is
    /// changed: it only checks that somebody else has done it.
    ///
    /// # Errors
    ///
    /// A changed or missing migration, or one that failed; the accounts before it are done, and
    /// the next call goes on where this one stopped.
    pub async fn migrate_tenants(&self, migrations: Migrator) -> Result<Migrated, StoreError> {
        let Inner {
            database,
            spaces,
            clock,
            ..
        } = &*self.0;
        let Some(servers) = database.postgres() else {
            return spaces.migrate_tenants(&migrations).await;
        };
        if servers.main.owner.is_none() {
            spaces.require_migrated(&migrations).await?;
            return Ok(Migrated::default());
        }
        let directory = Directory::open_as_owner(database, Arc::clone(clock)).await?;
        let owned = TenantSpaces::open(database, &directory, Arc::clone(clock))?;
        let migrated = owned.migrate_tenants(&migrations).await;
        owned.close().await;
        directory.close().await;
        migrated
    }

    /// The session of the principal's account.
    ///
    /// Within a request it is the request's own, and ends with it. A principal from
    /// [`Authenticator::validate_token`] gets one that the caller ends with
    /// [`TenantSession::commit`].
    ///
    /// # Errors
    ///
    /// [`SessionError::SessionClosed`] where the principal's request is over.
    pub fn get_tenant_session(&self, principal: &Principal) -> Result<TenantSession, SessionError> {
        let account = principal.account().id;
        match principal.scope() {
            Some(scope) => scope.session(account),
            None => self.0.spaces.detached_session(account),
        }
    }

    /// A repository bound to the principal's account.
    ///
    /// # Errors
    ///
    /// As [`Vestibule::get_tenant_session`].
    pub fn get_repository<R: TenantRepository>(
        &self,
        principal: &Principal,
    ) -> Result<R, SessionError> {
        self.get_tenant_session(principal).map(R::new)
    }

    /// A service bound to the principal's account.
    ///
    /// # Errors
    ///
    /// As [`Vestibule::get_tenant_session`].
    pub fn get_service<S: TenantService>(&self, principal: &Principal) -> Result<S, SessionError> {
        self.get_tenant_session(principal).map(S::new)
    }

    /// How long the principal may stay, over a connection that outlives its request. In handlers,
    /// the extractor [`Lease`] is the same.
    pub fn lease(&self, principal: &Principal) -> Lease {
        Lease::new(self, principal)
    }

    /// Ends all leases, those to come too. Called when the application is told to stop, so that a
    /// graceful end does not wait for connections that would stay open.
    pub fn end_leases(&self) {
        self.0.leases.stop();
    }

    /// How many leases are held now.
    pub fn open_leases(&self) -> usize {
        self.0.leases.open()
    }

    /// A session for a job that runs without a request. Ended by [`TenantSession::commit`].
    ///
    /// The account's activity shows `reason` before the session opens.
    ///
    /// # Errors
    ///
    /// Where the account does not exist, the reason is empty, or the note cannot be written.
    pub async fn system_session(
        &self,
        access: &SystemAccess,
        account: Uuid,
        reason: &str,
    ) -> Result<TenantSession, SessionError> {
        self.0.spaces.system_session(access, account, reason).await
    }

    /// The users of the principal's own account, and no others.
    pub fn users_of(&self, principal: &Principal) -> AccountUsers {
        self.0.directory.users_of(principal.account().id)
    }

    /// Refuses a principal who lacks this permission at Authress. Asked there through a cache: what
    /// was taken away ends here within a minute, what was granted works within ten seconds.
    ///
    /// # Errors
    ///
    /// `insufficient_scope` (403) where he lacks it; `provider_unavailable` where Authress could
    /// not be asked and nothing usable is remembered.
    pub async fn require_permission(
        &self,
        principal: &Principal,
        resource_uri: &str,
        permission: &str,
    ) -> Result<(), Refusal> {
        let subject = &principal.user().authress_user_id;
        match self
            .0
            .permissions
            .has(subject, resource_uri, permission)
            .await
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(principal.refusal(Reason::PermissionLacking)),
            Err(_) => Err(principal.refusal(Reason::ProviderUnavailable)),
        }
    }

    /// Whether requests can be served.
    pub async fn readiness(&self) -> Readiness {
        Readiness {
            database: self.0.directory.ping().await.is_ok(),
            keys: self.0.keys.ready(),
        }
    }

    /// What is held of each issuer's keys.
    pub fn issuers(&self) -> Vec<IssuerKeys> {
        self.0.keys.issuers()
    }

    /// How many verified tokens are remembered at most (`TOKEN_CACHE_SIZE`).
    pub fn token_cache_size(&self) -> usize {
        self.0.token_cache_size
    }

    /// How many verified tokens are remembered.
    pub fn cached_tokens(&self) -> usize {
        self.0.authenticator.cached_tokens()
    }

    /// Waits until what happened so far can be read in the activity of its accounts, for a
    /// moment at most: a caller who looks right after signing in finds himself.
    ///
    /// Not while a session of the account is open, whose end the writer waits for.
    pub async fn settle_activity(&self) {
        // Where the writer is busy, the reader sees a little less.
        let _ = tokio::time::timeout(SETTLE, self.0.activity.flush()).await;
    }

    /// Sets the gauges to what is true now: `vestibule_token_cache_entries`. To be called before
    /// metrics are read; nothing else sets them.
    pub fn refresh_gauges(&self) {
        self.0.authenticator.refresh_gauges();
    }

    /// Stops background work and writes what is still to be kept. Sessions in use end first.
    pub async fn shutdown(&self) {
        self.0.stopped.cancel();
        self.0.leases.stop();
        self.0.activity.flush().await;
        self.0.keys.flush().await;
        self.0.users.flush().await;
        self.0.spaces.close().await;
        self.0.changes.end().await;
        self.0.directory.close().await;
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn new_scope(&self) -> Arc<SessionScope> {
        SessionScope::new(&self.0.spaces)
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.0.leases
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether nothing that is remembered of the directory may be believed any more.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.directory.is_stale()
    }

    pub(crate) fn token_cache_ttl(&self) -> Duration {
        self.0.token_cache_ttl
    }

    pub(crate) fn outage_status(&self) -> OutageStatus {
        self.0.outage_status
    }
}

impl VestibuleBuilder {
    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Accepts the assertion that `vestibule` signs for the application `audience`, in place of a
    /// bearer token: for an application behind a proxy that asks `vestibule` about each request.
    /// As `VESTIBULE_ACCEPT_ASSERTIONS`; `issuer` is the server's `VESTIBULE_ASSERTION_ISSUER`.
    ///
    /// Server and application need the same `AUTHRESS_ACCESS_KEY`, which the keys come from, and
    /// the same database, which knows the callers. The proxy must take the `Authorization` header
    /// away: a request with both is refused.
    #[must_use]
    pub fn accept_assertions(
        mut self,
        audience: impl Into<Arc<str>>,
        issuer: impl Into<Arc<str>>,
    ) -> Self {
        self.settings.assertions = Some(AcceptedAssertions {
            audience: audience.into(),
            issuer: issuer.into(),
        });
        self
    }

    /// Opens a database that belongs to another provider: its users' subjects then mean whoever
    /// has them at this one.
    #[must_use]
    pub fn allow_other_provider(mut self) -> Self {
        self.allow_other_provider = true;
        self
    }

    /// Starts in spite of this danger of a database on PostgreSQL. May be called again for others.
    #[must_use]
    pub fn allow(mut self, danger: Danger) -> Self {
        self.allowed.push(danger);
        self
    }

    /// Opens the database, starts what runs in the background, and loads keys.
    ///
    /// On PostgreSQL it first looks at what the application's login may do, on every cluster that
    /// answers, and starts on no danger that was not allowed.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. A provider that does not answer is none: see
    /// [`Vestibule::readiness`].
    pub async fn build(self) -> Result<Vestibule, StartError> {
        let Self {
            settings,
            clock,
            allow_other_provider,
            allowed,
        } = self;
        let Settings {
            provider: settings,
            database,
            admission,
            assertions,
        } = settings;
        let problem = assertions
            .as_ref()
            .and_then(|it| it.problem(&settings.issuers));
        if let Some(problem) = problem {
            return Err(SettingsError {
                problems: vec![SettingProblem {
                    name: "VESTIBULE_ACCEPT_ASSERTIONS".to_owned(),
                    problem,
                }],
            }
            .into());
        }
        let admission = Arc::new(Admission::new(&admission));
        // Before anything is made: it may find a setting that cannot be used.
        let api = Arc::new(AuthressApi::new(&settings, Arc::clone(&clock))?);
        let directory = Directory::open(&database, Arc::clone(&clock)).await?;
        let spaces = TenantSpaces::open(&database, &directory, Arc::clone(&clock))?;
        // Before anything is written.
        refuse_dangers(spaces.audit_login().await?, &allowed)?;
        directory
            .bind_provider(&settings.origin(), allow_other_provider)
            .await?;
        if database.sqlite().is_some() && !attach_is_impossible().await {
            tracing::warn!(
                "this build of SQLite can open a second file (ATTACH, VACUUM INTO): build with \
                 LIBSQLITE3_FLAGS=-DSQLITE_MAX_ATTACHED=0, or one account's SQL can reach another's file"
            );
        }
        let activity = ActivityLog::start_with_rounds(spaces.clone());

        let keys = KeySets::new(
            &settings,
            Arc::clone(&api),
            directory.clone(),
            Arc::clone(&clock),
        );
        let users = UserCache::new(
            &settings,
            Arc::clone(&api),
            directory.clone(),
            Arc::clone(&clock),
        );
        let permissions = PermissionCache::new(&settings, Arc::clone(&api), Arc::clone(&clock));
        let tenants = TenantCache::new(&settings, Arc::clone(&api), Arc::clone(&clock));

        let local = Arc::new(LocalFacts::new(directory.clone(), PROVIDER.into()));
        let verifier = Verifier::new(
            TokenPolicy::new(&settings),
            Arc::clone(&keys) as _,
            Arc::clone(&local) as _,
        );
        let revocations = Arc::new(Revocations::default());
        let verifier = CachedVerifier::behind(
            Arc::clone(&admission),
            Arc::clone(&revocations),
            verifier,
            settings.token_cache_size,
            settings.token_cache_ttl,
            Arc::clone(&clock),
        );
        let assertions = assertions.map(|accepted| {
            let (admission, clock) = (Arc::clone(&admission), Arc::clone(&clock));
            let verifier = AssertionVerifier::new(accepted, &settings);
            CachedAssertions::new(verifier, settings.token_cache_size, admission, clock)
        });
        let resolver = Arc::new(Resolver::new(
            &settings,
            directory.clone(),
            Remembered {
                local,
                users: users.clone(),
                tenants,
            },
            Arc::clone(&revocations),
            activity.clone(),
            Arc::clone(&clock),
        ));
        let leases = Leases::new();
        let changes = {
            let (resolver, spaces) = (Arc::clone(&resolver), spaces.clone());
            let revocations = Arc::clone(&revocations);
            let leases = leases.clone();
            directory
                .watch(move |change| {
                    revocations.on_change(change);
                    resolver.on_change(change);
                    spaces.on_change(change);
                    // Last: whoever is woken finds what was remembered forgotten.
                    leases.on_change(change);
                })
                .await?
        };
        // After the watch began: nothing is missed in between.
        revocations.load(&directory).await?;
        let stopped = CancellationToken::new();
        tokio::spawn(revocations.keep_complete(
            directory.clone(),
            Arc::clone(&clock),
            settings.token_max_lifetime + 2 * settings.token_leeway,
            stopped.child_token(),
        ));
        keys.warm_up().await;
        Ok(Vestibule(Arc::new(Inner {
            authenticator: Authenticator::new(
                verifier.clone(),
                assertions,
                admission,
                resolver,
                activity.clone(),
                Arc::clone(&clock),
            ),
            authress: Authress::new(api, verifier, Arc::clone(&clock)),
            database,
            clock,
            directory,
            spaces,
            activity,
            keys,
            users,
            permissions,
            outage_status: settings.outage_status,
            token_cache_size: settings.token_cache_size,
            token_cache_ttl: settings.token_cache_ttl,
            leases,
            _stop_when_dropped: stopped.clone().drop_guard(),
            stopped,
            changes,
        })))
    }

    /// As [`VestibuleBuilder::build`], and the capability for sessions without a request: the
    /// only one there will be. Hand it to jobs, never to handlers.
    ///
    /// # Errors
    ///
    /// As [`VestibuleBuilder::build`].
    pub async fn build_with_system_access(self) -> Result<(Vestibule, SystemAccess), StartError> {
        Ok((self.build().await?, SystemAccess::grant()))
    }
}

/// Says what was allowed, and refuses what was not.
fn refuse_dangers(findings: Vec<Finding>, allowed: &[Danger]) -> Result<(), StartError> {
    let (dangers, others): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .partition(|finding| {
            finding
                .danger
                .is_some_and(|danger| !allowed.contains(&danger))
        });
    for finding in others {
        tracing::warn!(finding = finding.name, "{}", finding.message);
    }
    if dangers.is_empty() {
        Ok(())
    } else {
        Err(StartError::Dangerous(dangers))
    }
}
