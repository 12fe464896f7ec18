//! The public API: one endpoint, one file.
//!
//! [`endpoints`] is the one list of what answers; the router is made from it, and a test holds
//! the OpenAPI document against it.

mod activity;
mod answers;
pub(crate) mod authorize;
mod fallback;
mod health;
mod keys;
mod me;
mod openapi;
pub(crate) mod paging;
mod recall;
mod users;

use std::{ops::Deref, sync::Arc};

use axum::{
    Router,
    http::{HeaderValue, Method},
    middleware,
    routing::{MethodRouter, any, get},
};
use vestibule::{Vestibule, assertion::AssertionSigner, settings::Network};

pub(crate) use self::recall::Recall;
use crate::{
    explain::refused::Refusals,
    gateway::{caching::Caching, rules::Rules},
    serve::Draining,
    settings::AccessLog,
    telemetry::access_log,
};

/// What handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ApiState(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) vestibule: Vestibule,
    pub(crate) rules: Rules,
    pub(crate) assertions: Option<AssertionSigner>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) caching: Caching,
    readiness: health::LastLook,
    draining: Draining,
}

/// Said of everything about somebody.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

impl Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What `/v1/authorize` goes by, beside the caller's token.
pub(crate) struct Gateway {
    pub(crate) rules: Rules,
    pub(crate) assertions: Option<AssertionSigner>,
    pub(crate) trusted_proxies: Vec<Network>,
    /// Where refused requests are kept.
    pub(crate) refusals: Refusals,
    pub(crate) draining: Draining,
    /// `VESTIBULE_DECISION_MAX_AGE`, in seconds.
    pub(crate) decision_max_age: u32,
}

/// One path and what answers there.
struct Endpoint {
    path: &'static str,
    /// What the router is expected to answer, for tests and the document.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "held against the document by a test")
    )]
    methods: &'static [Method],
    router: MethodRouter<ApiState>,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const ANY: &[Method] = &[
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

fn endpoints() -> Vec<Endpoint> {
    let read = |path, router| Endpoint {
        path,
        methods: READ,
        router,
    };
    let any_method = |path| Endpoint {
        path,
        methods: ANY,
        router: any(authorize::authorize),
    };
    vec![
        read("/v1/me", get(me::me)),
        any_method("/v1/authorize"),
        any_method("/v1/authorize/"),
        any_method("/v1/authorize/{*path}"),
        read("/v1/users", get(users::list)),
        read("/v1/users/{id}", get(users::show)),
        read("/v1/activity", get(activity::list)),
        read("/.well-known/jwks.json", get(keys::published)),
        read("/healthz", get(health::alive)),
        read("/readyz", get(health::ready)),
        read("/openapi.json", get(openapi::document)),
    ]
}

/// What is served to whom.
pub(crate) struct Routers {
    /// What can be answered at once; asked before either router.
    pub(crate) recall: Recall,
    /// The public API, whole: routes, refusals, limits.
    pub(crate) public: Router,
    /// `/v1/authorize` alone, for questions that have no body.
    pub(crate) authorize: Router,
    pub(crate) draining: Draining,
}

/// Both with one log line per request, and spans of each where `has_spans`.
pub(crate) fn routers(
    vestibule: Vestibule,
    access_log: AccessLog,
    has_spans: bool,
    gateway: Gateway,
) -> Routers {
    let caching = Caching::new(
        gateway.decision_max_age,
        !gateway.rules.is_empty(),
        !gateway.trusted_proxies.is_empty(),
    );
    let layer = vestibule
        .layer()
        .observe(access_log::observer(access_log, gateway.refusals));
    let draining = gateway.draining.clone();
    let state = ApiState(Arc::new(Shared {
        vestibule,
        rules: gateway.rules,
        assertions: gateway.assertions,
        trusted_proxies: gateway.trusted_proxies,
        caching,
        readiness: health::LastLook::default(),
        draining: gateway.draining,
    }));
    let recall = Recall::new(
        state.clone(),
        access_log == AccessLog::Refusals && !has_spans,
    );
    let authorize = Router::new()
        .route("/v1/authorize", any(authorize::authorize))
        .with_state(state.clone())
        .layer(layer.clone());
    let public = endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| {
            router.route(endpoint.path, endpoint.router)
        })
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .with_state(state)
        .layer(middleware::from_fn(fallback::no_large_bodies))
        .layer(layer);
    Routers {
        recall,
        public,
        authorize,
        draining,
    }
}
