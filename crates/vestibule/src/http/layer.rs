//! Around each request: its context before, the end of its session after.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument as _, Span};

use super::{Problem, RequestFacts, context::RequestContext};
use crate::{error::Code, trace, vestibule::Vestibule};

type Observer = Arc<dyn Fn(&RequestFacts<'_>, &Response) + Send + Sync>;

/// Gives handlers their caller and their session. Made by
/// [`Vestibule::layer`](crate::Vestibule::layer).
#[derive(Clone)]
pub struct VestibuleLayer {
    vestibule: Vestibule,
    observer: Option<Observer>,
}

impl VestibuleLayer {
    pub(crate) const fn new(vestibule: Vestibule) -> Self {
        Self {
            vestibule,
            observer: None,
        }
    }

    /// Calls `observer` for each answered request, before the answer leaves: for access logs.
    /// It runs on the request's own time, so it must be quick.
    #[must_use]
    pub fn observe(
        mut self,
        observer: impl Fn(&RequestFacts<'_>, &Response) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl fmt::Debug for VestibuleLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VestibuleLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for VestibuleLayer {
    type Service = VestibuleService<S>;

    fn layer(&self, inner: S) -> VestibuleService<S> {
        VestibuleService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`VestibuleLayer`] makes of another.
#[derive(Clone, Debug)]
pub struct VestibuleService<S> {
    inner: S,
    layer: VestibuleLayer,
}

impl<S> Service<Request> for VestibuleService<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let outer = request.extensions().get::<Arc<RequestContext>>();
        if outer.is_some_and(|outer| outer.vestibule.is_same(&self.layer.vestibule)) {
            // A layer within a layer: the request has its session, and the outer one ends it.
            let handler = self.inner.call(request);
            return Box::pin(async move { handler.await.map(IntoResponse::into_response) });
        }
        let context = Arc::new(RequestContext::new(
            self.layer.vestibule.clone(),
            request.extensions(),
        ));
        let span = trace::request(&request, || context.is_from_trusted_proxy());
        let observer = self.layer.observer.clone();
        let is_observed = observer.is_some() || !span.is_disabled();
        let observed = is_observed.then(|| Observed {
            observer,
            span: span.clone(),
            began: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            authorization: request.headers().get(AUTHORIZATION).cloned(),
        });
        request.extensions_mut().insert(Arc::clone(&context));
        let handler = self.inner.call(request);
        // Dropped with the future when the client goes away: whatever the handler left running
        // somewhere, its session ends here.
        let guard = context.scope().guard();
        let answering = async move {
            let _guard = guard;
            // A handler's panic is the end of its request, not of the connection: the caller is
            // told, and nothing of what the handler did stays.
            let answer = match AssertUnwindSafe(handler).catch_unwind().await {
                Ok(Ok(answer)) => answer.into_response(),
                Ok(Err(never)) => match never {},
                Err(_) => {
                    tracing::error!(request_id = %context.request_id(), "a handler panicked");
                    Problem::new(Code::InternalError).into_response()
                }
            };
            let response = end(&context, answer).await;
            if let Some(observed) = observed {
                observed.report(&context, &response);
            }
            Ok(response)
        };
        Box::pin(answering.instrument(span))
    }
}

struct Observed {
    observer: Option<Observer>,
    span: Span,
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    authorization: Option<HeaderValue>,
}

impl Observed {
    fn report(&self, context: &RequestContext, response: &Response) {
        let problem = response.extensions().get::<Problem>();
        let facts = RequestFacts {
            context,
            method: &self.method,
            route: self.route.as_ref(),
            authorization: self.authorization.as_ref(),
            refusal: problem.and_then(Problem::refusal),
            span: &self.span,
            began: self.began,
        };
        trace::answered(&self.span, &facts, response.status());
        if let Some(observer) = &self.observer {
            observer(&facts, response);
        }
    }
}

/// Ends the request's session as the status says, and completes the answer.
async fn end(context: &RequestContext, answer: Response) -> Response {
    let mut answer = if answer.status().as_u16() < 400 {
        match context.scope().commit().await {
            Ok(()) => answer,
            // The handler's answer speaks of something that did not happen.
            Err(error) => Problem::from(error).into_response(),
        }
    } else {
        if let Err(error) = context.scope().rollback().await {
            tracing::warn!(%error, "a session could not be rolled back; its connection is closed");
        }
        answer
    };
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        note_refusal(context, &problem);
        let (parts, _) = answer.into_parts();
        let (mut named, body) = problem
            .render(context.outage_status(), context.request_id())
            .into_parts();
        // What the handler said beside the problem itself, such as `Allow`, stays.
        // Its first rendering did not know the configured status: what belongs to one status only
        // must not stay beside another.
        let mut headers = parts.headers;
        for of_the_first in [CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE] {
            headers.remove(of_the_first);
        }
        headers.extend(std::mem::take(&mut named.headers));
        named.headers = headers;
        answer = Response::from_parts(named, body);
    }
    if context.authenticated().is_some() && !answer.headers().contains_key(CACHE_CONTROL) {
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

/// A refusal by the handler itself, such as a missing scope, belongs into the caller's activity
/// like one by the authentication, which has noted its own.
fn note_refusal(context: &RequestContext, problem: &Problem) {
    if let (Some(refusal), Some(Ok(_))) = (problem.refusal(), context.authenticated()) {
        context
            .vestibule
            .authenticator()
            .note_refusal(refusal, || context.request_id());
    }
}
