//! Whether a request that a proxy asks about may go on, and as whose.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts as _},
    http::{
        Method,
        header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
        request::Parts,
    },
};
use vestibule::{
    error::{Code, Reason},
    http::Problem,
    principal::{Principal, PrincipalKind},
    settings::Network,
};

use super::{
    original::OriginalRequest,
    rules::{Callers, Permission, Rule},
};
use crate::routes::ApiState;

/// Who a request that may go on belongs to.
pub(crate) enum Decision {
    /// Nobody was asked who he is.
    Nobody,
    /// This caller; and the application that an assertion is for, where the rule names one.
    Caller(Principal, Option<Arc<str>>),
}

/// Decides about the request of `parts`, sent by `known` where that is known already.
///
/// # Errors
/// The refusal. Where there are rules, a request that meets none is refused, and one whose path
/// has two meanings is `invalid_request`, whoever sent it.
pub(crate) async fn decide(
    parts: &mut Parts,
    state: &ApiState,
    known: Option<Principal>,
) -> Result<Decision, Problem> {
    if state.rules.is_empty() {
        let principal = principal(parts, known).await?;
        return Ok(Decision::Caller(principal, None));
    }
    let Some(original) = original(parts, &state.trusted_proxies)? else {
        return Err(no_rule(parts, known, None).await);
    };
    let found = state
        .rules
        .find(&original.method, &original.host, &original.target)
        .map_err(|unjudgeable| {
            tracing::debug!(%unjudgeable, "a request that no rule can judge");
            Problem::new(Code::InvalidRequest)
        })?;
    let Some(rule) = found else {
        return Err(no_rule(parts, known, Some(&original)).await);
    };
    if rule.callers == Callers::Public || (rule.preflight && is_preflight(parts, &original)) {
        return Ok(Decision::Nobody);
    }
    let principal = principal(parts, known).await?;
    meets(rule, &principal)?;
    if let Some(permission) = &rule.permission {
        let resource = resource(permission, &principal, &original);
        state
            .vestibule
            .require_permission(&principal, &resource, &permission.name)
            .await?;
    }
    Ok(Decision::Caller(principal, rule.audience.clone()))
}

async fn principal(parts: &mut Parts, known: Option<Principal>) -> Result<Principal, Problem> {
    match known {
        Some(principal) => Ok(principal),
        None => Principal::from_request_parts(parts, &()).await,
    }
}

fn original(
    parts: &mut Parts,
    trusted_proxies: &[Network],
) -> Result<Option<OriginalRequest>, Problem> {
    // A door that knows it has said so.
    if let Some(original) = parts.extensions.remove::<OriginalRequest>() {
        return Ok(Some(original));
    }
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let trusted =
        peer.is_some_and(|ConnectInfo(peer)| Network::any_contains(trusted_proxies, peer.ip()));
    OriginalRequest::of(&parts.method, &parts.uri, &parts.headers, trusted)
        .map_err(|_| Problem::new(Code::InvalidRequest))
}

/// Deny by default; a stranger first hears that he is one.
async fn no_rule(
    parts: &mut Parts,
    known: Option<Principal>,
    original: Option<&OriginalRequest>,
) -> Problem {
    if original.is_none() {
        tracing::warn!(
            "there are rules, but the proxy does not say what was asked for, or is not one of \
             VESTIBULE_TRUSTED_PROXIES"
        );
    }
    match principal(parts, known).await {
        Ok(principal) => principal.refusal(Reason::NoRule).into(),
        Err(problem) => problem,
    }
}

/// A browser's question before a request of another site (Fetch, "CORS-preflight request").
fn is_preflight(parts: &Parts, original: &OriginalRequest) -> bool {
    let has = |name| parts.headers.contains_key(name);
    original.method == Method::OPTIONS.as_str() && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD)
}

fn meets(rule: &Rule, principal: &Principal) -> Result<(), Problem> {
    let kind_fits = match rule.callers {
        Callers::User => principal.kind() == PrincipalKind::User,
        Callers::Machine => principal.kind() == PrincipalKind::Machine,
        Callers::Either | Callers::Public => true,
    };
    let role = &principal.user().role;
    if !kind_fits || !(rule.roles.is_empty() || rule.roles.contains(role)) {
        return Err(principal.refusal(Reason::InsufficientRole).into());
    }
    for scope in &rule.scopes {
        principal.require_scope(scope)?;
    }
    Ok(())
}

fn resource(permission: &Permission, principal: &Principal, original: &OriginalRequest) -> String {
    let account = principal.account();
    let path = original.target.split('?').next().unwrap_or_default();
    permission
        .resource
        .replace("{account_id}", &account.id.to_string())
        .replace("{tenant_id}", &account.authress_tenant_id)
        // Last: what a caller can choose must not be looked through for placeholders.
        .replace("{path}", path)
}
