//! A sandbox, a database, and whoever asks.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use vestibule_sandbox::Sandbox;

use crate::support::{Place, Running};

/// Acme with Ada, Alan and a robot, Globex with Grace and a robot; both are accounts here.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) place: Place,
    pub(crate) http: reqwest::Client,
    pub(crate) acme: String,
    pub(crate) globex: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl World {
    /// With these settings beside those of the sandbox.
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        Self::beside(Sandbox::builder().start().await.unwrap(), settings)
    }

    pub(crate) fn beside(sandbox: Sandbox, settings: &[(&str, &str)]) -> Self {
        sandbox.add_demo_world();
        let mut place = Place::new().with_sandbox(&sandbox);
        let acme = place.account("Acme", "tenant_acme");
        let globex = place.account("Globex", "tenant_globex");
        for (client, account) in [("sc_robot01", &acme), ("sc_robot02", &globex)] {
            let add = ["client", "add", "--client-id", client, "--account", account];
            place.json(&[&add[..], &["--name", "Robot"]].concat());
        }
        for (name, value) in settings {
            place.set(name, value);
        }
        Self {
            sandbox,
            place,
            http: http(),
            acme,
            globex,
        }
    }

    pub(crate) fn user(&self, id: &str) -> String {
        self.sandbox.user_token(id).mint()
    }

    pub(crate) fn robot(&self, id: &str) -> String {
        self.sandbox.client_token(id).mint()
    }

    pub(crate) async fn get(&self, server: &Running, path: &str, token: &str) -> Answer {
        let url = format!("{}{path}", server.public);
        Answer::of(self.http.get(url).bearer_auth(token)).await
    }

    pub(crate) async fn me(&self, server: &Running, token: &str) -> Answer {
        self.get(server, "/v1/me", token).await
    }

    /// Asks until it is let in; how long that took is bounded.
    pub(crate) async fn is_let_in(&self, server: &Running, token: &str, within: Duration) {
        eventually(within, "is let in", async || {
            self.me(server, token).await.status == 200
        })
        .await;
    }
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn code(&self) -> &str {
        self.header("x-vestibule-code").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn expect_ok(self) -> Self {
        self.expect(200, "")
    }

    /// Refused because the provider was needed and could not be asked.
    #[track_caller]
    pub(crate) fn expect_undecided(self) -> Self {
        self.expect(401, "provider_unavailable")
    }
}

pub(crate) fn http() -> reqwest::Client {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Looks again and again until it is so.
pub(crate) async fn eventually(within: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// The database itself, behind the servers' backs.
pub(crate) async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Sends these bytes and reads to the end of the connection.
pub(crate) fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}
