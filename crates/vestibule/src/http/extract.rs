//! Extractors: what a handler may ask for.
//!
//! All of them need [`VestibuleLayer`](super::VestibuleLayer) around the handler and answer
//! `internal_error` without it.

use std::{ops::Deref, sync::Arc};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::{Problem, context::RequestContext};
use crate::{
    error::{Code, Reason},
    lease::Lease,
    principal::{Principal, PrincipalKind},
    tenancy::{TenantRepository, TenantService, TenantSession},
};

/// A caller who is a person. Machines are refused with `insufficient_role`.
#[derive(Clone, Debug)]
pub struct User(pub Principal);

/// A caller who is a service client. People are refused with `insufficient_role`.
#[derive(Clone, Debug)]
pub struct Machine(pub Principal);

/// A repository bound to the caller's account, in the request's one transaction.
#[derive(Clone, Debug)]
pub struct Repository<R>(pub R);

/// A service bound to the caller's account, in the request's one transaction.
#[derive(Clone, Debug)]
pub struct Service<S>(pub S);

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        caller(&*context(parts)?, parts).await.cloned()
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        let context = context(parts)?;
        match context.principal(&parts.headers).await {
            Ok(principal) => Ok(Some(principal.clone())),
            // No credentials. Unusable ones are another thing, and never anonymous.
            Err(refusal) if refusal.reason == Reason::MissingToken => Ok(None),
            Err(refusal) => Err(refusal.clone().into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        of_kind(parts, state, PrincipalKind::User).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Machine {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        of_kind(parts, state, PrincipalKind::Machine)
            .await
            .map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TenantSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let context = context(parts)?;
        let principal = caller(&context, parts).await?;
        Ok(context.vestibule.get_tenant_session(principal)?)
    }
}

/// Authenticates as [`Principal`] does, and lets the connection outlive the request.
impl<S: Send + Sync> FromRequestParts<S> for Lease {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let context = context(parts)?;
        let principal = caller(&context, parts).await?;
        Ok(context.vestibule.lease(principal))
    }
}

impl<S: Send + Sync, R: TenantRepository> FromRequestParts<S> for Repository<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        session(parts, state).await.map(R::new).map(Self)
    }
}

impl<S: Send + Sync, T: TenantService> FromRequestParts<S> for Service<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        session(parts, state).await.map(T::new).map(Self)
    }
}

impl Deref for User {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl Deref for Machine {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

fn context(parts: &Parts) -> Result<Arc<RequestContext>, Problem> {
    parts
        .extensions
        .get::<Arc<RequestContext>>()
        .cloned()
        .ok_or_else(|| {
            tracing::error!("an extractor of vestibule was used outside of its layer");
            Problem::new(Code::InternalError)
        })
}

async fn caller<'c>(context: &'c RequestContext, parts: &Parts) -> Result<&'c Principal, Problem> {
    let principal = context.principal(&parts.headers).await;
    principal.map_err(|refusal| refusal.clone().into())
}

async fn of_kind<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    kind: PrincipalKind,
) -> Result<Principal, Problem> {
    let principal = <Principal as FromRequestParts<S>>::from_request_parts(parts, state).await?;
    if principal.kind() == kind {
        Ok(principal)
    } else {
        Err(principal.refusal(Reason::InsufficientRole).into())
    }
}

async fn session<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<TenantSession, Problem> {
    TenantSession::from_request_parts(parts, state).await
}
