//! Answers to callers who were here a moment ago: from memory alone, without the router and all that
//! it brings for requests that have to wait for something.
//!
//! A shortcut, not another way: it asks [`Authenticator::recall`](vestibule::Authenticator::recall)
//! who calls, and has `/v1/me` and `/v1/authorize` make their answers as for anybody. Whatever is not
//! plainly a success goes on to the router, untouched. It is closed where successes have lines in the
//! access log, or spans.

use std::net::SocketAddr;

use axum::{
    body::HttpBody,
    extract::{ConnectInfo, Request},
    http::{Method, header::CACHE_CONTROL, request::Parts},
    response::Response,
};
use futures_util::FutureExt as _;
use vestibule::{Recalled, principal::Principal};

use super::{ApiState, NO_STORE, authorize, me};
use crate::gateway::{self, original::OriginalRequest};

/// Answers what can be answered at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Recall {
    state: ApiState,
    is_open: bool,
}

/// What has an answer here.
#[derive(Clone, Copy)]
enum Asked {
    Me,
    Authorize,
}

impl Recall {
    pub(super) const fn new(state: ApiState, is_open: bool) -> Self {
        Self { state, is_open }
    }

    /// The answer to a request that came over a connection from `peer`.
    ///
    /// # Errors
    /// The request, where the router has to answer it.
    #[expect(
        clippy::result_large_err,
        reason = "moved once; a box would cost more, on the busiest way"
    )]
    pub(crate) fn answer<B: HttpBody>(
        &self,
        request: Request<B>,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Request<B>> {
        let Some((asked, recalled)) = self.recall(&request) else {
            return Err(request);
        };
        let (mut parts, body) = request.into_parts();
        let answer = match asked {
            Asked::Me => me::answer(recalled.principal()).ok(),
            Asked::Authorize => self.authorize(&mut parts, peer, recalled.principal()),
        };
        if answer.is_some() {
            recalled.accept();
        }
        answer
            .map(not_stored)
            .ok_or_else(|| Request::from_parts(parts, body))
    }

    fn recall<B: HttpBody>(&self, request: &Request<B>) -> Option<(Asked, Recalled<'_>)> {
        if !self.is_open || !request.body().is_end_stream() {
            return None;
        }
        let asked = Asked::by(request.method(), request.uri().path())?;
        let authenticator = self.state.vestibule.authenticator();
        let recalled = authenticator.recall(request.headers())?;
        Some((asked, recalled))
    }

    fn authorize(
        &self,
        parts: &mut Parts,
        peer: Option<SocketAddr>,
        principal: &Principal,
    ) -> Option<Response> {
        if let Some(peer) = peer
            && !self.state.rules.is_empty()
        {
            parts.extensions.insert(ConnectInfo(peer));
        }
        // The decision takes it, and the router may need it.
        let original = parts.extensions.get::<OriginalRequest>().cloned();
        // It waits for nothing, unless the provider has to be asked for a permission.
        let decision = gateway::decide(parts, &self.state, Some(principal.clone())).now_or_never();
        let answer = decision
            .and_then(Result::ok)
            .and_then(|decision| authorize::answer(decision, &self.state).ok());
        if let (None, Some(original)) = (&answer, original) {
            parts.extensions.insert(original);
        }
        answer
    }
}

impl Asked {
    fn by(method: &Method, path: &str) -> Option<Self> {
        match path.strip_prefix("/v1/")? {
            "me" if *method == Method::GET => Some(Self::Me),
            path if path.strip_prefix("authorize").is_some_and(is_below) => Some(Self::Authorize),
            _ => None,
        }
    }
}

fn is_below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// As the layer completes every answer about somebody.
fn not_stored(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use axum::{
        Router,
        body::{Body, to_bytes},
        http::{
            Version,
            header::{AUTHORIZATION, CONTENT_LENGTH},
        },
    };
    use serde::Deserialize;
    use tower::Service as _;
    use vestibule::{
        Settings, Vestibule, clock::SystemClock, settings::SettingsReader, store::Directory,
        tenancy::TenantSpaces,
    };
    use vestibule_sandbox::Sandbox;

    use super::*;
    use crate::{
        gateway::rules::{Rules, WrittenRule},
        routes::{Gateway, Routers, routers},
        settings::AccessLog,
    };

    const PEER: &str = "192.0.2.1:50000";
    const RULES: &str = r#"
        [[rules]]
        path = "/open"
        callers = "public"
        [[rules]]
        path = "/people"
        callers = "user"
        roles = ["member"]
        audience = "orders"
        [[rules]]
        path = "/asked"
        callers = "user"
        permission = "read"
        resource = "/asked"
    "#;

    struct World {
        recall: Recall,
        router: Router,
        directory: Directory,
        sandbox: Sandbox,
        _files: tempfile::TempDir,
    }

    impl World {
        async fn open(rules: &str, decision_max_age: u32, access_log: AccessLog) -> Self {
            Self::open_with(rules, decision_max_age, access_log, false).await
        }

        async fn open_with(
            rules: &str,
            decision_max_age: u32,
            access_log: AccessLog,
            has_spans: bool,
        ) -> Self {
            let sandbox = Sandbox::builder().start().await.unwrap();
            sandbox.add_demo_world();
            let files = tempfile::tempdir().unwrap();
            let mut pairs = sandbox.environment();
            let database = format!("sqlite:{}", files.path().join("vestibule.db").display());
            pairs.push(("DATABASE_URL", database));
            let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
            let clock = Arc::new(SystemClock);
            let directory = Directory::migrate(&settings.database, clock.clone())
                .await
                .unwrap();
            let spaces = TenantSpaces::open(&settings.database, &directory, clock).unwrap();
            let account = spaces.create_account("Acme", "tenant_acme").await.unwrap();
            let robot = directory
                .add_client(account.id, "sc_robot01", "robot", &[])
                .await;
            robot.unwrap();
            let vestibule = Vestibule::builder(settings).build().await.unwrap();
            let gateway = Gateway {
                refusals: Default::default(),
                draining: Default::default(),
                rules: read(rules),
                assertions: None,
                trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()],
                decision_max_age,
            };
            let Routers { recall, public, .. } = routers(vestibule, access_log, has_spans, gateway);
            Self {
                recall,
                router: public,
                directory,
                sandbox,
                _files: files,
            }
        }

        fn recalled(&self, request: Request) -> Option<Response> {
            self.recall
                .answer(request, Some(PEER.parse().unwrap()))
                .ok()
        }

        async fn routed(&self, mut request: Request) -> Response {
            let peer: SocketAddr = PEER.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().call(request).await.unwrap()
        }

        /// Until the second visit: the first one makes the local user.
        async fn visit(&self, token: &str) {
            for _ in 0..2 {
                let answer = self.routed(asked(Method::GET, "/v1/me", token)).await;
                assert_eq!(answer.status(), 200);
            }
        }
    }

    fn read(rules: &str) -> Rules {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            rules: Vec<WrittenRule>,
        }
        let File { rules } = toml::from_str(rules).unwrap();
        Rules::new(rules, &["orders".to_owned()]).unwrap()
    }

    fn asked(method: Method, path: &str, token: &str) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request
    }

    async fn whole(answer: Response) -> (u16, Version, Vec<(String, String)>, String) {
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let headers = parts
            .headers
            .iter()
            // The server writes it, whoever made the answer.
            .filter(|(name, _)| *name != CONTENT_LENGTH)
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let body = String::from_utf8(body.to_vec()).unwrap();
        (
            parts.status.as_u16(),
            parts.version,
            headers.collect(),
            body,
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_answers_are_the_routers() {
        for (rules, max_age) in [("", 0), ("", 5), (RULES, 0)] {
            let world = World::open(rules, max_age, AccessLog::Refusals).await;
            let tokens = [
                world
                    .sandbox
                    .user_token("user_ada")
                    .scope("openid a,b 50%")
                    .mint(),
                world.sandbox.client_token("sc_robot01").mint(),
            ];
            for token in &tokens {
                world.visit(token).await;
            }
            let [ada, robot] = &tokens;
            let mut recalled = 0;
            for token in [ada, robot, &format!("{ada}x"), "nonsense"] {
                for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
                    for path in [
                        "/v1/me",
                        "/v1/me?a=b",
                        "/v1/me/",
                        "/v1/authorize",
                        "/v1/authorize/people?a=b",
                        "/v1/authorize/open",
                        "/v1/authorize/nowhere",
                        "/v1/authorized",
                        "/v1/users",
                    ] {
                        let ask = || asked(method.clone(), path, token);
                        let Some(answer) = world.recalled(ask()) else {
                            continue;
                        };
                        recalled += 1;
                        let routed = world.routed(ask()).await;
                        assert_eq!(whole(answer).await, whole(routed).await, "{method} {path}");
                    }
                }
            }
            // Both may ask who they are in two ways. Without rules they may go everywhere, by four
            // methods; with them, Ada to the people's place and both to the open one.
            let gone_to = if rules.is_empty() { 4 + 4 } else { 2 + 1 };
            assert_eq!(recalled, 2 * 2 + 4 * gone_to);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers_only_while_nothing_has_changed() {
        let world = World::open("", 0, AccessLog::Refusals).await;
        let token = world.sandbox.user_token("user_ada").mint();
        let ask = || asked(Method::GET, "/v1/me", &token);
        assert!(world.recalled(ask()).is_none(), "nobody has asked yet");
        world.visit(&token).await;
        assert!(world.recalled(ask()).is_some());

        let mut with_body = ask();
        *with_body.body_mut() = Body::from("a body");
        assert!(world.recalled(with_body).is_none());
        let mut twice = ask();
        twice
            .headers_mut()
            .append(AUTHORIZATION, "Bearer x".parse().unwrap());
        assert!(world.recalled(twice).is_none());

        for change in 0..5 {
            world.visit(&token).await;
            let answer = whole(world.recalled(ask()).unwrap()).await;
            let me: serde_json::Value = serde_json::from_str(&answer.3).unwrap();
            let id = |what: &str| me[what]["id"].as_str().unwrap().parse().unwrap();
            let (user, account) = (id("user"), id("account"));
            let directory = &world.directory;
            match change {
                0 => drop(directory.set_user_role(user, "owner").await.unwrap()),
                1 => drop(
                    directory
                        .rename_account(account, "Another name")
                        .await
                        .unwrap(),
                ),
                2 => drop(directory.suspend_user(user).await.unwrap()),
                3 => drop(directory.suspend_account(account).await.unwrap()),
                _ => directory.remove_user(user).await.unwrap(),
            }
            let told = Instant::now();
            while world.recalled(ask()).is_some() {
                assert!(told.elapsed() < Duration::from_secs(1), "change {change}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            match change {
                2 => drop(directory.resume_user(user).await.unwrap()),
                3 => drop(directory.resume_account(account).await.unwrap()),
                _ => {}
            }
            // Heard of by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A door that describes the request itself, as Envoy's does: the router must still know it.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_it_leaves_to_the_router_is_whole() {
        let world = World::open(RULES, 0, AccessLog::Refusals).await;
        world.sandbox.allow("user_ada", "/asked", "read");
        let ada = world.sandbox.user_token("user_ada").mint();
        let robot = world.sandbox.client_token("sc_robot01").mint();
        world.visit(&ada).await;
        world.visit(&robot).await;
        for (token, target, status) in [(&ada, "/asked", 200), (&robot, "/people", 403)] {
            let mut request = asked(Method::GET, "/v1/authorize", token);
            request.extensions_mut().insert(OriginalRequest {
                method: "GET".to_owned(),
                host: "app.example".to_owned(),
                target: target.to_owned(),
            });
            let peer = Some(PEER.parse().unwrap());
            let request = world.recall.answer(request, peer).unwrap_err();
            let answer = world.routed(request).await;
            assert_eq!(answer.status(), status, "{target}");
            if status == 403 {
                assert_eq!(answer.headers()["x-vestibule-code"], "insufficient_role");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_closed_where_each_request_has_a_line_or_spans() {
        for (log, has_spans) in [
            (AccessLog::All, false),
            (AccessLog::Share(0.5), false),
            (AccessLog::Refusals, true),
        ] {
            let world = World::open_with("", 0, log, has_spans).await;
            let token = world.sandbox.user_token("user_ada").mint();
            world.visit(&token).await;
            assert!(
                world
                    .recalled(asked(Method::GET, "/v1/me", &token))
                    .is_none()
            );
        }
    }
}
