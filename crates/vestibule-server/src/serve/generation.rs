//! What answers, made from one reading of the settings.
//!
//! New settings make a new generation. Each request is answered by the generation that was current
//! when it came; the old one goes when its last request has its answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use axum::Router;
use vestibule::{Vestibule, assertion::AssertionSigner, clock::SystemClock, settings::Network};

use crate::{
    admin::{
        self, Admin,
        api::{self, Operations},
    },
    console::sessions::Sessions,
    explain::refused::Refusals,
    routes::{self, Gateway, Routers},
    settings::ServerSettings,
    telemetry::metrics::Metrics,
};

/// What answers.
pub(crate) struct Generation {
    pub(crate) routers: Routers,
    pub(crate) admin: Router,
    pub(crate) vestibule: Vestibule,
    pub(crate) trusted_proxies: Vec<Network>,
    operations: Option<Operations>,
    has_administrators: bool,
}

/// What outlives generations.
#[derive(Clone)]
pub(crate) struct Lasting {
    metrics: Metrics,
    refusals: Refusals,
    sessions: Arc<Sessions>,
    pub(super) draining: Draining,
}

/// Whether the server was told to stop and goes on for a while, so that whoever balances sends
/// nobody any more. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

/// The generation that answers now. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Current(Arc<ArcSwap<Generation>>);

impl Draining {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Lasting {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            refusals: Refusals::default(),
            sessions: Arc::default(),
            draining: Draining::default(),
        }
    }
}

impl Generation {
    pub(super) fn new(settings: ServerSettings, vestibule: Vestibule, lasting: &Lasting) -> Self {
        let operations = settings.operations.clone().map(Operations::new);
        let admin = Admin {
            hosts: settings.admin_hosts.clone(),
            tokens: settings.admin_tokens.clone(),
            operations: operations.clone(),
            refusals: lasting.refusals.clone(),
            sessions: Arc::clone(&lasting.sessions),
        };
        Self {
            has_administrators: !settings.admin_tokens.is_empty(),
            admin: admin::router(vestibule.clone(), lasting.metrics.clone(), admin),
            trusted_proxies: settings.trusted_proxies.clone(),
            routers: routers(
                settings,
                vestibule.clone(),
                lasting.refusals.clone(),
                lasting.draining.clone(),
            ),
            vestibule,
            operations,
        }
    }

    /// Writes down what is still to be, and lets everything go.
    pub(super) async fn close(&self) {
        self.close_operations().await;
        self.vestibule.shutdown().await;
    }

    /// Ends the accounts whose time has come, where there is the admin API.
    pub(super) async fn end_due(&self) {
        if let (Some(operations), true) = (&self.operations, self.has_administrators)
            && let Err(problem) = api::end_due(operations).await
        {
            tracing::warn!(
                detail = problem.detail(),
                "accounts that are to end could not be looked at"
            );
        }
    }

    /// What administrators did is written down.
    pub(super) async fn close_operations(&self) {
        if let Some(operations) = &self.operations {
            operations.close().await;
        }
    }
}

pub(super) fn routers(
    settings: ServerSettings,
    vestibule: Vestibule,
    refusals: Refusals,
    draining: Draining,
) -> Routers {
    let gateway = Gateway {
        rules: settings.rules,
        assertions: settings
            .assertions
            .map(|settings| AssertionSigner::new(settings, Arc::new(SystemClock))),
        trusted_proxies: settings.trusted_proxies,
        decision_max_age: settings.decision_max_age,
        refusals,
        draining,
    };
    let has_spans = settings.traces.is_some();
    routes::routers(vestibule, settings.access_log, has_spans, gateway)
}

impl Current {
    pub(super) fn new(generation: Generation) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(generation)))
    }

    /// The generation that answers a request which has just come.
    pub(crate) fn load(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// From now on `generation` answers; the one that did.
    pub(super) fn replace(&self, generation: Generation) -> Arc<Generation> {
        self.0.swap(Arc::new(generation))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}
