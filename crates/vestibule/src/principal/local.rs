//! What the directory said about callers, remembered until the directory changes.
//!
//! Entries have no age: the store announces every change within a second, and an entry that was
//! read while a change arrived is not kept.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;

use super::{Caller, PrincipalKind, UserWithAccount};
use crate::{
    error::Reason,
    store::{Account, Change, Directory, ServiceClient, StoreError, User},
    token::RegisteredClients,
};

/// Callers kept in memory. Past it the least used are read again from the database.
const CAPACITY: usize = 100_000;

/// The role of every service client.
pub(crate) const SERVICE_CLIENT_ROLE: &str = "service_client";

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    User(Arc<str>),
    Client(Arc<str>),
}

/// A service client as a caller, with the scopes registered for it.
#[derive(Debug)]
pub(crate) struct KnownClient {
    pub(crate) caller: Arc<Caller>,
    pub(crate) scopes: Arc<[Arc<str>]>,
}

#[derive(Clone)]
enum Fact {
    User(Option<Arc<Caller>>),
    Client(Option<Arc<KnownClient>>),
}

/// The directory's facts about callers, through a bounded memory.
#[derive(Debug)]
pub(crate) struct LocalFacts {
    directory: Directory,
    provider: Arc<str>,
    facts: Cache<Key, Fact>,
    /// Counts announced changes, so that a read that crossed one is not kept.
    generation: AtomicU64,
}

impl LocalFacts {
    pub(crate) fn new(directory: Directory, provider: Arc<str>) -> Self {
        Self {
            directory,
            provider,
            facts: Cache::new(CAPACITY),
            generation: AtomicU64::new(0),
        }
    }

    /// The local user with this Authress user id.
    pub(crate) async fn user(&self, subject: &str) -> Result<Option<Arc<Caller>>, StoreError> {
        let key = Key::User(subject.into());
        if let Some(Fact::User(known)) = self.facts.get(&key) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.directory.find_user(&self.provider, subject).await?;
        let known = found.map(|(user, account)| Arc::new(Caller::user(user, account)));
        self.keep(key, Fact::User(known.clone()), generation);
        Ok(known)
    }

    /// The service client registered under this `client_id`.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Arc<KnownClient>>, StoreError> {
        let key = Key::Client(id.into());
        if let Some(Fact::Client(known)) = self.facts.get(&key) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.directory.find_client(id).await?;
        let known = found.map(|(client, account)| Arc::new(KnownClient::new(client, account)));
        self.keep(key, Fact::Client(known.clone()), generation);
        Ok(known)
    }

    /// Forgets what a change may have made wrong.
    pub(crate) fn on_change(&self, change: &Change) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        match change {
            Change::User { subject, .. } => {
                self.facts.remove(&Key::User(subject.as_str().into()));
            }
            Change::Client(client_id) => {
                self.facts.remove(&Key::Client(client_id.as_str().into()));
            }
            // An account is part of many entries; changes of accounts are rare.
            Change::Account(_) | Change::Everything => self.facts.clear(),
        }
    }

    fn keep(&self, key: Key, fact: Fact, read_at: u64) {
        self.facts.insert(key.clone(), fact);
        // Checked after the insert: a change announced in between has either removed this entry
        // or is seen here.
        if self.generation.load(Ordering::Acquire) != read_at {
            self.facts.remove(&key);
        }
    }
}

impl RegisteredClients for LocalFacts {
    fn is_registered<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, Reason>> {
        Box::pin(async move {
            match self.client(client_id).await {
                Ok(known) => Ok(known.is_some()),
                Err(_) => Err(Reason::StorageUnavailable),
            }
        })
    }
}

impl Caller {
    fn user(user: User, account: Account) -> Self {
        Self {
            kind: PrincipalKind::User,
            identity: UserWithAccount { user, account },
        }
    }
}

impl KnownClient {
    fn new(client: ServiceClient, account: Account) -> Self {
        let scopes = client
            .scopes
            .iter()
            .map(|scope| Arc::from(scope.as_str()))
            .collect();
        let user = User {
            id: client.id,
            authress_user_id: client.client_id,
            email: None,
            name: Some(client.name),
            picture: None,
            role: SERVICE_CLIENT_ROLE.to_owned(),
            status: client.status,
            account_id: client.account_id,
        };
        let identity = UserWithAccount { user, account };
        Self {
            caller: Arc::new(Caller {
                kind: PrincipalKind::Machine,
                identity,
            }),
            scopes,
        }
    }
}
