//! The binary with its database, and callers who speak to it.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    Settings, clock::SystemClock, settings::SettingsReader, store::Directory, tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;

/// A database in a directory of its own, and the provider it belongs to.
pub(crate) struct Place {
    sandbox: Sandbox,
    database: vestibule_testbed::Place,
}

/// The application, until it is dropped.
pub(crate) struct Notes {
    child: Child,
    pub(crate) url: String,
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    url: String,
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    kind: Option<String>,
    pub(crate) body: Value,
}

impl Place {
    /// A provider with its users, tenants and clients, and no account here yet.
    pub(crate) async fn new() -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        Self {
            sandbox,
            database: vestibule_testbed::Place::from_environment().await,
        }
    }

    /// The same with the accounts of Acme and Globex.
    pub(crate) async fn with_accounts() -> (Self, Uuid, Uuid) {
        let place = Self::new().await;
        let acme = place.add_account("Acme", "tenant_acme", "sc_robot01").await;
        let globex = place.add_account("Globex", "tenant_globex", "sc_robot02");
        let globex = globex.await;
        (place, acme, globex)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.sandbox.environment();
        pairs.extend(self.database.settings());
        pairs
    }

    /// An account and its service client, made as `vestibule account create` makes them.
    pub(crate) async fn add_account(&self, name: &str, tenant: &str, client: &str) -> Uuid {
        let settings = Settings::read(SettingsReader::from_pairs(self.environment())).unwrap();
        let (database, clock) = (settings.database, Arc::new(SystemClock));
        let directory = Directory::migrate(&database, clock.clone()).await.unwrap();
        let spaces = TenantSpaces::open(&database, &directory, clock).unwrap();
        spaces.prepare().await.unwrap();
        let account = spaces.create_account(name, tenant).await.unwrap();
        let registered = directory.add_client(account.id, client, "Robot", &[]);
        registered.await.unwrap();
        spaces.close().await;
        directory.close().await;
        account.id
    }

    /// Where the account's data lies.
    pub(crate) fn file(&self, account: Uuid) -> PathBuf {
        let tenants = self.database.path().join("tenants");
        tenants.join(format!("{}.db", account.hyphenated()))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
        command
            .env_clear()
            .envs(self.environment())
            .env("VESTIBULE_LISTEN", "127.0.0.1:0")
            .current_dir(self.database.path())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the application and waits until it listens.
    pub(crate) async fn start(&self) -> Notes {
        let mut child = self.command().spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Beside the runtime, which has the sandbox to run.
        let url = tokio::task::spawn_blocking(move || {
            let mut lines = stderr.lines().map_while(Result::ok);
            let url = lines.find_map(|line| {
                let (_, url) = line.split_once("listening on ")?;
                Some(url.to_owned())
            });
            // What it says later must not stop it.
            std::thread::spawn(move || lines.for_each(drop));
            url
        });
        let url = url.await.unwrap();
        Notes {
            child,
            url: url.unwrap_or_else(|| panic!("notes did not start")),
        }
    }

    pub(crate) fn user(&self, notes: &Notes, id: &str) -> Caller {
        Caller::new(notes, self.sandbox.user_token(id).mint())
    }

    pub(crate) fn machine(&self, notes: &Notes, id: &str) -> Caller {
        Caller::new(notes, self.sandbox.client_token(id).mint())
    }
}

impl Notes {
    /// Ends the application as Ctrl-C does, and waits for it.
    pub(crate) fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Caller {
    fn new(notes: &Notes, token: String) -> Self {
        // A second installation is refused, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: notes.url.clone(),
            token,
        }
    }

    /// The same client with another token, or with none.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Any request, with any body.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method, url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            let body = body.to_owned();
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let response = request.send().await.unwrap();
        let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let (status, kind) = (response.status().as_u16(), header("content-type"));
        let body = response.bytes().await.unwrap();
        Answer {
            status,
            kind,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// Writes a note; gives its id.
    pub(crate) async fn write(&self, text: &str) -> String {
        let body = json!({ "text": text }).to_string();
        let answer = self.ask(Method::POST, "/notes", Some(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["text"], text);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// The texts of all notes, the oldest first.
    pub(crate) async fn texts(&self) -> Vec<String> {
        let answer = self.get("/notes").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let notes = answer.body.as_array().unwrap();
        let text = |note: &Value| note["text"].as_str().unwrap().to_owned();
        notes.iter().map(text).collect()
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.kind.as_deref(), Some("application/problem+json"));
        assert_eq!(self.body["code"], code);
        assert_eq!(self.body["status"], status);
    }
}
