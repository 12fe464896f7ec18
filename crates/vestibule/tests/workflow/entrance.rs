//! One process of the application, and the actors who come to it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
};
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::Value;
use tower::ServiceExt as _;
use vestibule::{Principal, Reason, Recalled, Vestibule};

use crate::{answer::Answer, routes};

/// The library with an application behind it.
#[derive(Clone)]
pub struct Entrance {
    pub vestibule: Vestibule,
    router: Router,
}

/// Somebody who sends requests, always with the same headers.
#[derive(Clone)]
pub struct Actor {
    entrance: Entrance,
    headers: HeaderMap,
    /// The other end of the connection.
    peer: Option<SocketAddr>,
}

/// What the layer told its observer about one request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub request_id: String,
    pub reason: Option<Reason>,
}

impl Entrance {
    pub fn new(vestibule: Vestibule) -> Self {
        Self {
            vestibule,
            router: routes::router(),
        }
    }

    pub fn anonymous(&self) -> Actor {
        Actor {
            entrance: self.clone(),
            headers: HeaderMap::new(),
            peer: None,
        }
    }

    pub fn bearer(&self, token: impl AsRef<str>) -> Actor {
        self.anonymous()
            .authorization(&format!("Bearer {}", token.as_ref()))
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let seen = Arc::new(Mutex::new(None));
        let observed = Arc::clone(&seen);
        let layer = self.vestibule.layer().observe(move |facts, _| {
            *observed.lock().unwrap() = Some(Seen {
                request_id: facts.request_id().to_string(),
                reason: facts.reason(),
            });
        });
        let router = self.router.clone().layer(layer);
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let seen = seen.lock().unwrap().take().expect("an observed request");
        Answer::new(parts, body, seen)
    }
}

impl Actor {
    /// One more `Authorization` header.
    pub fn authorization(self, value: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), value.as_bytes())
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = http::HeaderName::try_from(name).unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(name, value);
        self
    }

    /// The same, over a connection from this address.
    pub fn from(mut self, peer: &str) -> Self {
        self.peer = Some(peer.parse().unwrap());
        self
    }

    /// Who this is, where that is known without waiting.
    pub fn recall(&self) -> Option<Principal> {
        let authenticator = self.entrance.vestibule.authenticator();
        authenticator.recall(&self.headers).map(Recalled::accept)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.clone()
            .header(CONTENT_TYPE.as_str(), "application/json")
            .send(Method::POST, path, Body::from(body.to_string()))
            .await
    }

    pub async fn send(&self, method: Method, path: &str, body: Body) -> Answer {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = self.headers.clone();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        self.entrance.answer(request).await
    }

    /// Who the application says that this is.
    pub async fn me(&self) -> Answer {
        self.get("/me").await
    }
}
