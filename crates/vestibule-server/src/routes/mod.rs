//! The public API: one endpoint, one file.
//!
//! [`endpoints`] is the one list of what answers; the router is made from it, and a test holds
//! the OpenAPI document against it.

mod activity;
pub(crate) mod authorize;
mod fallback;
mod health;
mod keys;
mod me;
mod openapi;
mod paging;
mod users;

use std::sync::Arc;

use axum::{
    Router,
    http::Method,
    middleware,
    routing::{MethodRouter, any, get},
};
use vestibule::{Vestibule, assertion::AssertionSigner, settings::Network};

use crate::{
    gateway::{caching::Caching, rules::Rules},
    settings::AccessLog,
    telemetry::access_log,
};

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct ApiState {
    pub(crate) vestibule: Vestibule,
    pub(crate) rules: Arc<Rules>,
    pub(crate) assertions: Option<Arc<AssertionSigner>>,
    pub(crate) trusted_proxies: Arc<[Network]>,
    pub(crate) caching: Caching,
    readiness: Arc<health::LastLook>,
}

/// What `/v1/authorize` goes by, beside the caller's token.
pub(crate) struct Gateway {
    pub(crate) rules: Rules,
    pub(crate) assertions: Option<AssertionSigner>,
    pub(crate) trusted_proxies: Vec<Network>,
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
    /// The public API, whole: routes, refusals, limits.
    pub(crate) public: Router,
    /// `/v1/authorize` alone, for questions that have no body.
    pub(crate) authorize: Router,
}

/// Both with one log line per request.
pub(crate) fn routers(vestibule: Vestibule, access_log: AccessLog, gateway: Gateway) -> Routers {
    let caching = Caching::new(
        gateway.decision_max_age,
        !gateway.rules.is_empty(),
        !gateway.trusted_proxies.is_empty(),
    );
    let layer = vestibule.layer().observe(access_log::observer(access_log));
    let state = ApiState {
        vestibule,
        rules: Arc::new(gateway.rules),
        assertions: gateway.assertions.map(Arc::new),
        trusted_proxies: gateway.trusted_proxies.into(),
        caching,
        readiness: Arc::default(),
    };
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
    Routers { public, authorize }
}
