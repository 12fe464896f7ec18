//! A provider, its clients and their keys, in memory; and a mint for every token that could be.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::{
    bearer::BearerToken,
    changes::ChangeCount,
    clock::Timestamp,
    error::{OutageStatus, Reason},
    provider::access_key::AccessKey,
    settings::{ProviderSettings, Provisioning},
    token::{
        KeySetId, KeySource, RegisteredClients, TokenPolicy, VerifiedToken, Verifier, VerifyingKey,
        YoungKey,
    },
};

pub(super) const ISSUER: &str = "https://auth.example.com";
pub(super) const SECOND_ISSUER: &str = "https://login.example.com";
pub(super) const ORIGIN: &str = "https://auth.example.com";
pub(super) const SECOND_ORIGIN: &str = "https://test.api.authress.io";
pub(super) const AUDIENCE: &str = "test.accounts.authress.io";
pub(super) const ROBOT: &str = "sc_robot01";
pub(super) const OTHER_ROBOT: &str = "sc_robot02";
pub(super) const OWN: &str = "sc_own01";

/// Seeds of the keys.
pub(super) const PROVIDER_KEY: u8 = 1;
pub(super) const ROBOT_KEY: u8 = 2;
pub(super) const OTHER_ROBOT_KEY: u8 = 3;
pub(super) const SECOND_ISSUER_KEY: u8 = 4;
pub(super) const STRANGERS_KEY: u8 = 9;

pub(super) const NOW_SECS: i64 = 1_793_000_000;
pub(super) const NOW: Timestamp = Timestamp::from_secs(NOW_SECS);

pub(super) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The short ids match no scanner for leaked keys.
pub(super) fn access_key(client_id: &str) -> AccessKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([7; 32]);
    AccessKey::parse(&format!("{client_id}.k1.test.{}", STANDARD.encode(der))).unwrap()
}

pub(super) fn settings() -> ProviderSettings {
    ProviderSettings {
        api_url: ORIGIN.parse().unwrap(),
        access_key: access_key(OWN),
        issuers: vec![ISSUER.into(), SECOND_ISSUER.into()],
        machine_origins: vec![ORIGIN.into(), SECOND_ORIGIN.into()],
        machine_audience: AUDIENCE.into(),
        tenant_claim: "aud".to_owned(),
        api_audiences: Vec::new(),
        applications: Vec::new(),
        require_tenant: true,
        allow_client_issued_users: false,
        provisioning: Provisioning::Connection,
        token_leeway: Duration::from_secs(30),
        token_max_lifetime: Duration::from_secs(86_400),
        token_cache_size: 10_000,
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

/// Key sets that count how often they are asked.
#[derive(Debug)]
pub(super) struct FakeKeys {
    keys: Mutex<HashMap<(KeySetId, &'static str), VerifyingKey>>,
    asked: AtomicUsize,
    pub(super) down: AtomicBool,
    pub(super) panics: AtomicBool,
    /// While closed (no permits), nobody gets an answer.
    pub(super) gate: Semaphore,
}

impl FakeKeys {
    fn new() -> Self {
        let key = |seed| VerifyingKey::from(&signing_key(seed));
        let issuer = |issuer: &str| KeySetId::Issuer(issuer.into());
        let client = |id: &str| KeySetId::Client(id.into());
        let keys = HashMap::from([
            ((issuer(ISSUER), "account1"), key(PROVIDER_KEY)),
            ((issuer(SECOND_ISSUER), "second1"), key(SECOND_ISSUER_KEY)),
            ((client(ROBOT), "robot1"), key(ROBOT_KEY)),
            // Names of others' keys, in this client's own set.
            ((client(ROBOT), "account1"), key(ROBOT_KEY)),
            ((client(OTHER_ROBOT), "robot1"), key(OTHER_ROBOT_KEY)),
            ((client(OWN), "k1"), key(7)),
        ]);
        Self {
            keys: Mutex::new(keys),
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn find(&self, set: &KeySetId, kid: &str) -> Option<VerifyingKey> {
        let keys = self.keys.lock().unwrap();
        let found = keys
            .iter()
            .find(|((one, name), _)| one == set && *name == kid);
        found.map(|(_, key)| key.clone())
    }

    /// Puts a key of this seed under the name, in place of what was there; none: takes it away.
    pub(super) fn set(&self, set: &KeySetId, kid: &'static str, seed: Option<u8>) {
        let place = (set.clone(), kid);
        let mut keys = self.keys.lock().unwrap();
        match seed {
            Some(seed) => {
                let key = VerifyingKey::from(&signing_key(seed));
                keys.insert(place, key);
            }
            None => drop(keys.remove(&place)),
        }
    }

    pub(super) fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn open(&self) {
        self.gate
            .add_permits(Semaphore::MAX_PERMITS - self.gate.available_permits());
    }
}

impl KeySource for FakeKeys {
    fn key<'a>(
        &'a self,
        set: &'a KeySetId,
        kid: &'a str,
    ) -> BoxFuture<'a, Result<VerifyingKey, Reason>> {
        async move {
            self.asked.fetch_add(1, SeqCst);
            let _permit = self.gate.acquire().await.unwrap();
            assert!(!self.panics.load(SeqCst), "a panic on purpose");
            if self.down.load(SeqCst) {
                return Err(Reason::ProviderUnavailable);
            }
            self.find(set, kid).ok_or(Reason::UnknownKey)
        }
        .boxed()
    }

    /// As of a set that is held and young, unless the provider is down or slow.
    fn young_key(&self, set: &KeySetId, kid: &str) -> Option<YoungKey> {
        let held = !self.down.load(SeqCst) && self.gate.available_permits() > 0;
        held.then(|| self.find(set, kid))
            .flatten()
            .map(|key| YoungKey {
                key,
                until: Timestamp::from_secs(i64::MAX),
                unchanged: ChangeCount::default().unchanged(),
            })
    }
}

#[derive(Debug)]
pub(super) struct FakeClients {
    pub(super) registered: Mutex<HashSet<&'static str>>,
    pub(super) down: AtomicBool,
    pub(super) asked_for: Mutex<Vec<String>>,
}

impl RegisteredClients for FakeClients {
    fn is_registered<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, Reason>> {
        async move {
            self.asked_for.lock().unwrap().push(client_id.to_owned());
            if self.down.load(SeqCst) {
                return Err(Reason::StorageUnavailable);
            }
            Ok(self.registered.lock().unwrap().contains(client_id))
        }
        .boxed()
    }
}

pub(super) struct World {
    pub(super) keys: Arc<FakeKeys>,
    pub(super) clients: Arc<FakeClients>,
    pub(super) verifier: Verifier,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let keys = Arc::new(FakeKeys::new());
        let clients = Arc::new(FakeClients {
            registered: Mutex::new(HashSet::from([ROBOT, OTHER_ROBOT, OWN])),
            down: AtomicBool::new(false),
            asked_for: Mutex::default(),
        });
        let verifier = Verifier::new(
            TokenPolicy::new(&settings),
            Arc::clone(&keys) as _,
            Arc::clone(&clients) as _,
        );
        Self {
            keys,
            clients,
            verifier,
        }
    }

    pub(super) fn verify_text(&self, token: &str) -> Result<VerifiedToken, Reason> {
        self.verify_at(token, NOW)
    }

    pub(super) fn verify_at(&self, token: &str, now: Timestamp) -> Result<VerifiedToken, Reason> {
        let token = BearerToken::parse(token)?;
        self.verifier
            .verify(&token, now)
            .now_or_never()
            .expect("the fakes answer at once")
    }

    #[track_caller]
    pub(super) fn accepts(&self, token: &Mint) -> VerifiedToken {
        self.verify_text(&token.mint())
            .unwrap_or_else(|reason| panic!("refused for {reason}: {token:?}"))
    }

    #[track_caller]
    pub(super) fn refuses(&self, token: &Mint, expected: Reason) {
        let found = self.verify_text(&token.mint()).map(drop);
        assert_eq!(found, Err(expected), "{token:?}");
    }

    /// Refuses without a call to the provider.
    #[track_caller]
    pub(super) fn refuses_unasked(&self, token: &Mint, expected: Reason) {
        let before = self.keys.asked();
        self.refuses(token, expected);
        assert_eq!(self.keys.asked(), before, "asked for a key: {token:?}");
    }
}

/// Makes tokens; starts from an accepted one.
#[derive(Clone, Debug)]
pub(super) struct Mint {
    pub(super) header: String,
    pub(super) claims: String,
    seed: u8,
}

impl Mint {
    pub(super) fn user() -> Self {
        Self {
            header: json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "account1" }).to_string(),
            claims: json!({
                "iss": ISSUER, "sub": "user_ada", "client_id": "app_web01", "azp": "con_acme",
                "aud": ["tenant_acme"], "scope": "openid profile",
                "iat": NOW_SECS - 60, "exp": NOW_SECS + 3_600,
            })
            .to_string(),
            seed: PROVIDER_KEY,
        }
    }

    pub(super) fn machine() -> Self {
        Self {
            header: json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "robot1" }).to_string(),
            claims: json!({
                "iss": format!("{ORIGIN}/v1/clients/{ROBOT}"), "sub": ROBOT, "client_id": ROBOT,
                "aud": AUDIENCE, "scope": "openid", "iat": NOW_SECS - 60, "exp": NOW_SECS + 3_600,
            })
            .to_string(),
            seed: ROBOT_KEY,
        }
    }

    pub(super) fn header(mut self, name: &str, value: Value) -> Self {
        edit(&mut self.header, |members| {
            drop(members.insert(name.to_owned(), value))
        });
        self
    }

    pub(super) fn without_header(mut self, name: &str) -> Self {
        edit(&mut self.header, |members| drop(members.remove(name)));
        self
    }

    pub(super) fn claim(mut self, name: &str, value: Value) -> Self {
        edit(&mut self.claims, |members| {
            drop(members.insert(name.to_owned(), value))
        });
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        edit(&mut self.claims, |members| drop(members.remove(name)));
        self
    }

    pub(super) fn signed_by(mut self, seed: u8) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn signing_input(&self) -> String {
        let header = URL_SAFE_NO_PAD.encode(&self.header);
        let claims = URL_SAFE_NO_PAD.encode(&self.claims);
        format!("{header}.{claims}")
    }

    pub(super) fn signature(&self) -> [u8; 64] {
        signing_key(self.seed)
            .sign(self.signing_input().as_bytes())
            .to_bytes()
    }

    pub(super) fn with_signature(&self, signature: &[u8]) -> String {
        format!(
            "{}.{}",
            self.signing_input(),
            URL_SAFE_NO_PAD.encode(signature)
        )
    }

    pub(super) fn mint(&self) -> String {
        self.with_signature(&self.signature())
    }
}

fn edit(object: &mut String, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut members: Map<String, Value> = serde_json::from_str(object).unwrap();
    change(&mut members);
    *object = serde_json::to_string(&members).unwrap();
}
