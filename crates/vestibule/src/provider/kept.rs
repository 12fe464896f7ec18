//! What the provider said last, kept in the directory for the next start of the server.
//!
//! The database is not trusted with it: every fact carries a proof (HMAC-SHA-256, RFC 2104) over
//! its kind, its key, the time of its fetch and its body, made with a key that only the holder of
//! the access key can derive. Who can write to the database can make us forget, or show us again
//! what we kept ourselves and only until its age ends; he cannot plant a key.
//!
//! Writing happens behind the requests' backs. What cannot be written in time is dropped and
//! counted: it costs an outage its cushion, never a request its answer.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::transport::origin;
use crate::{
    clock::Timestamp,
    settings::ProviderSettings,
    store::{Directory, KeptFact, StoreError},
};

/// The largest body that is kept. A key set of a hundred keys has a tenth of it.
const MAX_BODY: usize = 128 << 10;

/// What waits to be written, in bytes of bodies.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// What waits to be written, in facts.
const MAX_WAITING: usize = 10_000;

/// The pause after what was waiting has been written: many answers about one thing become one
/// write.
const WRITE_PAUSE: Duration = Duration::from_millis(250);

/// How often a write is tried again, and the pause before.
const RETRIES: u8 = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long [`KeptFacts::flush`] waits at most.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The key set of an issuer, by the issuer.
    IssuerKeys,
    /// The key set of a service client, by its `client_id`.
    ClientKeys,
    /// A user, by the subject.
    User,
}

/// Where facts are kept.
pub(super) trait FactStore: Send + Sync + fmt::Debug + 'static {
    /// What is kept under this name.
    fn kept_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeptFact>, StoreError>>;

    /// Keeps a fact in place of the one before.
    fn keep_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        fact: &'a KeptFact,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Keeps it no longer.
    fn forget_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Keeps nothing any longer that was fetched before; how much that was.
    fn forget_facts_before(&self, fetched_at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// Facts with proofs, over a store that need not be trusted. Cheap to clone.
#[derive(Clone)]
pub(super) struct KeptFacts(Arc<Inner>);

struct Inner {
    store: Arc<dyn FactStore>,
    proof_key: Zeroizing<[u8; 32]>,
    waiting: Mutex<Waiting>,
    idle: watch::Sender<bool>,
    warned: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    writes: BTreeMap<Name, Write>,
    bytes: usize,
}

type Name = (Kind, Arc<str>);

struct Write {
    /// None: the fact is to be forgotten.
    fact: Option<KeptFact>,
    attempts: u8,
}

/// The one task that writes. Tells that nobody writes any more, however it ends.
struct Writing {
    inner: Arc<Inner>,
    finished: bool,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::IssuerKeys => "issuer_keys",
            Self::ClientKeys => "client_keys",
            Self::User => "user",
        }
    }
}

impl KeptFacts {
    pub(super) fn new(settings: &ProviderSettings, store: Arc<dyn FactStore>) -> Self {
        // Another provider's facts are not ours, even where the same key calls both.
        let context = format!("kept facts of {}", origin(&settings.api_url));
        Self(Arc::new(Inner {
            store,
            proof_key: Zeroizing::new(settings.access_key.derive_key(&context)),
            waiting: Mutex::default(),
            idle: watch::Sender::new(true),
            warned: AtomicBool::new(false),
        }))
    }

    /// What was kept, with the time of its fetch; none where nothing is, or nothing of ours.
    ///
    /// # Errors
    /// The store could not be asked.
    pub(super) async fn load(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Option<(Vec<u8>, Timestamp)>, StoreError> {
        let Some(fact) = self.0.store.kept_fact(kind.as_str(), key).await? else {
            return Ok(None);
        };
        let mac = self.0.mac(kind, key, fact.fetched_at, &fact.body);
        if mac.is_none_or(|mac| mac.verify_slice(&fact.proof).is_err()) {
            if !self.0.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    fact.kind = kind.as_str(),
                    "a kept answer of the provider does not carry our proof and is ignored: \
                     expected after a change of the access key or the API's address, else someone \
                     wrote to the database"
                );
            }
            return Ok(None);
        }
        Ok(Some((fact.body, fact.fetched_at)))
    }

    /// Keeps an answer, soon; the latest of a name wins.
    pub(super) fn keep(&self, kind: Kind, key: &Arc<str>, body: Vec<u8>, fetched_at: Timestamp) {
        let mac = match body.len() {
            ..=MAX_BODY => self.0.mac(kind, key, fetched_at, &body),
            _ => None,
        };
        match mac {
            Some(mac) => self.enqueue(
                (kind, Arc::clone(key)),
                Some(KeptFact {
                    proof: mac.finalize().into_bytes().to_vec(),
                    body,
                    fetched_at,
                }),
            ),
            None => dropped(kind),
        }
    }

    /// Keeps it no longer: the provider says that it is gone.
    pub(super) fn forget(&self, kind: Kind, key: &Arc<str>) {
        self.enqueue((kind, Arc::clone(key)), None);
    }

    /// Forgets what nobody may use any more: people who came once and never again.
    pub(super) async fn forget_before(&self, fetched_at: Timestamp) {
        match self.0.store.forget_facts_before(fetched_at).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "kept answers of the provider came of age"),
            Err(error) => tracing::warn!(%error, "old answers of the provider stay kept"),
        }
    }

    /// Waits until everything is written, for a few seconds at most. For the end of the process.
    pub(super) async fn flush(&self) {
        let mut idle = self.0.idle.subscribe();
        let _ = tokio::time::timeout(FLUSH_PATIENCE, idle.wait_for(|idle| *idle)).await;
    }

    fn enqueue(&self, name: Name, fact: Option<KeptFact>) {
        let kind = name.0;
        let write = Write { fact, attempts: 0 };
        let mut waiting = self.0.waiting();
        if !waiting.put(name, write) {
            drop(waiting);
            dropped(kind);
            return;
        }
        // Under the lock, so that a writer that just found nothing cannot miss this.
        let was_idle = self.0.idle.send_replace(false);
        drop(waiting);
        if was_idle {
            let writing = Writing {
                inner: Arc::clone(&self.0),
                finished: false,
            };
            tokio::spawn(writing.run());
        }
    }
}

impl fmt::Debug for KeptFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptFacts").field(&self.0.store).finish()
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each part is preceded by its length, so that no two facts have the same text.
    fn mac(
        &self,
        kind: Kind,
        key: &str,
        fetched_at: Timestamp,
        body: &[u8],
    ) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.proof_key.as_slice()).ok()?;
        let fetched_at = fetched_at.as_millis().to_be_bytes();
        for part in [kind.as_str().as_bytes(), key.as_bytes(), &fetched_at, body] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(mac)
    }

    async fn write(&self, (kind, key): &Name, write: &Write) -> Result<(), StoreError> {
        match &write.fact {
            Some(fact) => self.store.keep_fact(kind.as_str(), key, fact).await,
            None => self.store.forget_fact(kind.as_str(), key).await,
        }
    }
}

impl Waiting {
    /// Whether there was room.
    fn put(&mut self, name: Name, write: Write) -> bool {
        let before = self.writes.get(&name).map_or(0, Write::bytes);
        let bytes = self.bytes - before + write.bytes();
        // To forget matters more than to keep, and takes less room.
        let room = match write.fact {
            Some(_) => MAX_WAITING,
            None => 2 * MAX_WAITING,
        };
        let is_new = !self.writes.contains_key(&name);
        if (is_new && self.writes.len() >= room) || bytes > MAX_WAITING_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.writes.insert(name, write);
        true
    }

    /// After a failed write; what came meanwhile is newer.
    fn put_back(&mut self, name: Name, write: Write) {
        if !self.writes.contains_key(&name) {
            self.put(name, write);
        }
    }

    fn take(&mut self) -> Option<(Name, Write)> {
        let (name, write) = self.writes.pop_first()?;
        self.bytes -= write.bytes();
        Some((name, write))
    }
}

impl Write {
    fn bytes(&self) -> usize {
        self.fact.as_ref().map_or(0, |fact| fact.body.len())
    }
}

impl Writing {
    async fn run(mut self) {
        loop {
            while self.write_next().await {}
            tokio::time::sleep(WRITE_PAUSE).await;
            let inner = Arc::clone(&self.inner);
            let waiting = inner.waiting();
            if waiting.writes.is_empty() {
                // Under the lock: from here on the next fact begins a new task.
                self.finished = true;
                inner.idle.send_replace(true);
                return;
            }
        }
    }

    async fn write_next(&self) -> bool {
        let next = self.inner.waiting().take();
        let Some((name, mut write)) = next else {
            return false;
        };
        let Err(error) = self.inner.write(&name, &write).await else {
            return true;
        };
        write.attempts += 1;
        if write.attempts > RETRIES {
            dropped(name.0);
            tracing::warn!(%error, fact.kind = name.0.as_str(), "an answer of the provider could not be kept");
            return true;
        }
        self.inner.waiting().put_back(name, write);
        tokio::time::sleep(RETRY_PAUSE).await;
        true
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished {
            self.inner.idle.send_replace(true);
        }
    }
}

impl FactStore for Directory {
    fn kept_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeptFact>, StoreError>> {
        Box::pin(self.kept_fact(kind, key))
    }

    fn keep_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        fact: &'a KeptFact,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.keep_fact(kind, key, fact))
    }

    fn forget_fact<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.forget_fact(kind, key))
    }

    fn forget_facts_before(&self, fetched_at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.forget_facts_before(fetched_at))
    }
}

fn dropped(kind: Kind) {
    metrics::counter!("vestibule_kept_facts_dropped_total", "kind" => kind.as_str()).increment(1);
}

#[cfg(test)]
mod tests;
