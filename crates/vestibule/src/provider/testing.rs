//! Stand-ins for the tests of this module: settings, a provider, a store, and a raw HTTP server.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{
    Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD,
};
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

use super::{
    AuthressTenant, AuthressUser, Found, ProviderError,
    access_key::AccessKey,
    authress::{Asked, KeyDocument, Provider},
    kept::FactStore,
};
use crate::{
    clock::{ManualClock, Timestamp},
    error::OutageStatus,
    settings::{ProviderSettings, Provisioning},
    store::{KeptFact, StoreError},
    token::{KeySet, KeySetId},
};

pub(super) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn clock() -> ManualClock {
    ManualClock::new(START)
}

/// PKCS#8 v1 around 32 fixed bytes; the short ids match no secret scanner.
pub(super) fn access_key(seed: u8) -> AccessKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    AccessKey::parse(&format!("sc_own01.k1.test.{}", STANDARD.encode(der))).unwrap()
}

pub(super) fn settings(api_url: &str) -> ProviderSettings {
    let origin: Arc<str> = api_url.trim_end_matches('/').into();
    ProviderSettings {
        api_url: Url::parse(api_url).unwrap(),
        access_key: access_key(7),
        issuers: vec![Arc::clone(&origin)],
        machine_origins: vec![origin],
        machine_audience: "test.accounts.authress.io".into(),
        tenant_claim: "aud".into(),
        api_audiences: Vec::new(),
        applications: Vec::new(),
        require_tenant: true,
        allow_client_issued_users: false,
        provisioning: Provisioning::Connection,
        token_leeway: Duration::from_secs(30),
        token_max_lifetime: Duration::from_secs(86_400),
        token_cache_size: 100,
        token_cache_ttl: Duration::from_secs(300),
        user_cache_ttl: Duration::from_secs(60),
        user_cache_max_age: Duration::from_secs(3_600),
        jwks_refresh: Duration::from_secs(300),
        jwks_max_age: Duration::from_secs(3_600),
        timeout: Duration::from_secs(5),
        outage_status: OutageStatus::Unauthorized,
        proxy: None,
    }
}

pub(super) fn user(id: &str, name: &str) -> Found<AuthressUser> {
    Found::Present(Arc::new(AuthressUser {
        user_id: id.to_owned(),
        name: Some(name.to_owned()),
        email: None,
        picture: None,
    }))
}

/// A JWKS document with one key for each name.
pub(super) fn jwks(kids: &[&str]) -> Vec<u8> {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| {
            let mut seed = [1; 32];
            for (to, from) in seed.iter_mut().zip(kid.bytes()) {
                *to = from;
            }
            let public = SigningKey::from_bytes(&seed).verifying_key();
            let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
            serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x })
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string().into_bytes()
}

pub(super) fn issuer(name: &str) -> KeySetId {
    KeySetId::Issuer(name.into())
}

pub(super) fn client(id: &str) -> KeySetId {
    KeySetId::Client(id.into())
}

/// A provider whose answers, failures and delays are set by the test.
#[derive(Debug, Default)]
pub(super) struct FakeProvider(Mutex<Script>);

#[derive(Debug, Default)]
struct Script {
    users: HashMap<String, Found<AuthressUser>>,
    tenants: HashMap<String, Found<AuthressTenant>>,
    key_sets: HashMap<KeySetId, Vec<u8>>,
    /// By id or issuer.
    delays: HashMap<String, Duration>,
    failing: Option<ProviderError>,
    delay: Duration,
    panics: bool,
    calls: Vec<String>,
    in_flight: HashMap<String, usize>,
    overlapped: bool,
}

impl FakeProvider {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn set_user(&self, id: &str, found: Found<AuthressUser>) {
        self.0.lock().unwrap().users.insert(id.into(), found);
    }

    pub(super) fn set_tenant(&self, id: &str) {
        let tenant = AuthressTenant {
            tenant_id: id.into(),
            name: None,
            connection_id: None,
        };
        let found = Found::Present(Arc::new(tenant));
        self.0.lock().unwrap().tenants.insert(id.into(), found);
    }

    pub(super) fn set_keys(&self, set: &KeySetId, kids: &[&str]) {
        let mut script = self.0.lock().unwrap();
        script.key_sets.insert(set.clone(), jwks(kids));
    }

    pub(super) fn remove_keys(&self, set: &KeySetId) {
        self.0.lock().unwrap().key_sets.remove(set);
    }

    pub(super) fn fail(&self, error: ProviderError) {
        self.0.lock().unwrap().failing = Some(error);
    }

    pub(super) fn recover(&self) {
        let mut script = self.0.lock().unwrap();
        script.failing = None;
        script.panics = false;
    }

    pub(super) fn panic_next(&self) {
        self.0.lock().unwrap().panics = true;
    }

    pub(super) fn delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    pub(super) fn delay_one(&self, name: &str, delay: Duration) {
        self.0.lock().unwrap().delays.insert(name.into(), delay);
    }

    /// How many calls were made so far.
    pub(super) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    /// Whether two calls about one thing were ever under way together.
    pub(super) fn overlapped(&self) -> bool {
        self.0.lock().unwrap().overlapped
    }

    async fn answer<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Script) -> Result<Found<T>, ProviderError>,
    ) -> Result<Found<T>, ProviderError> {
        let delay = {
            let mut script = self.0.lock().unwrap();
            script.calls.push(name.to_owned());
            let count = script.in_flight.entry(name.to_owned()).or_default();
            *count += 1;
            let overlaps = *count > 1;
            script.overlapped |= overlaps;
            let own = script.delays.get(name).copied();
            own.unwrap_or(script.delay)
        };
        tokio::time::sleep(delay).await;
        let mut script = self.0.lock().unwrap();
        *script.in_flight.get_mut(name).unwrap() -= 1;
        if script.panics {
            drop(script);
            panic!("as told");
        }
        match &script.failing {
            Some(error) => Err(error.clone()),
            None => read(&script),
        }
    }
}

impl Provider for FakeProvider {
    fn user<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressUser>> {
        let found = |script: &Script| Ok(script.users.get(id).cloned().unwrap_or(Found::Gone));
        Box::pin(self.answer(id, found))
    }

    fn tenant<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressTenant>> {
        let found = |script: &Script| Ok(script.tenants.get(id).cloned().unwrap_or(Found::Gone));
        Box::pin(self.answer(id, found))
    }

    fn key_set<'a>(&'a self, set: &'a KeySetId) -> Asked<'a, Found<KeyDocument>> {
        let (KeySetId::Issuer(name) | KeySetId::Client(name)) = set;
        Box::pin(self.answer(name, move |script| {
            let Some(body) = script.key_sets.get(set) else {
                return match set {
                    KeySetId::Client(_) => Ok(Found::Gone),
                    KeySetId::Issuer(_) => Err(ProviderError::Status(404)),
                };
            };
            Ok(Found::Present(Arc::new(KeyDocument {
                body: body.clone().into(),
                keys: Arc::new(KeySet::parse(body).unwrap()),
            })))
        }))
    }
}

/// A store in memory that a test can break and tamper with.
#[derive(Debug, Default)]
pub(super) struct FakeStore {
    pub(super) facts: Mutex<HashMap<(String, String), KeptFact>>,
    pub(super) writes: Mutex<usize>,
    pub(super) broken: Mutex<bool>,
    pub(super) delay: Mutex<Duration>,
}

impl FakeStore {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn len(&self) -> usize {
        self.facts.lock().unwrap().len()
    }

    async fn reach(&self) -> Result<(), StoreError> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        match *self.broken.lock().unwrap() {
            true => Err(StoreError::Unavailable("as told".into())),
            false => Ok(()),
        }
    }
}

impl FactStore for FakeStore {
    fn kept_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeptFact>, StoreError>> {
        Box::pin(async move {
            self.reach().await?;
            let facts = self.facts.lock().unwrap();
            Ok(facts.get(&(kind.into(), key.into())).cloned())
        })
    }

    fn keep_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        fact: &'a KeptFact,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.reach().await?;
            *self.writes.lock().unwrap() += 1;
            let mut facts = self.facts.lock().unwrap();
            facts.insert((kind.into(), key.into()), fact.clone());
            Ok(())
        })
    }

    fn forget_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.reach().await?;
            *self.writes.lock().unwrap() += 1;
            let mut facts = self.facts.lock().unwrap();
            facts.remove(&(kind.into(), key.into()));
            Ok(())
        })
    }

    fn forget_facts_before(&self, fetched_at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            self.reach().await?;
            let mut facts = self.facts.lock().unwrap();
            let before = facts.len();
            facts.retain(|_, fact| fact.fetched_at >= fetched_at);
            Ok((before - facts.len()) as u64)
        })
    }
}

/// The header that tells the number of a request's connection, from 1.
pub(super) const CONNECTION: &str = "test-connection";

/// What the raw server does with a request.
pub(super) enum Reply {
    /// These bytes, as they are, and the connection stays open.
    Raw(Vec<u8>),
    /// These bytes, and the connection ends.
    Cut(Vec<u8>),
    /// Nothing, ever.
    Hang,
}

impl Reply {
    pub(super) fn json(status: u16, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut raw = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        raw.extend_from_slice(body);
        Self::Raw(raw)
    }
}

/// A server on loopback that shows what was really sent, and may send anything back.
pub(super) struct TestServer {
    pub(super) origin: String,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TestServer {
    /// `answer` is given the head of each request, and the number of its connection as a header.
    pub(super) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(serve(stream, number, seen, answer));
            }
        });
        Self {
            origin,
            heads,
            connections,
            task,
        }
    }

    /// How many connections were made so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    number: usize,
    seen: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Reply>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        seen.lock().unwrap().push(head.clone());
        match answer(&format!("{head}{CONNECTION}: {number}\r\n")) {
            Reply::Raw(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Cut(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}
