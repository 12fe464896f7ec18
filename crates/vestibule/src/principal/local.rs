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

/// Users kept in memory. Past it the least used are read again from the database.
const USERS: usize = 100_000;

/// Service clients kept in memory, unknown ones included: anyone can invent their ids, so they
/// have a memory of their own.
const CLIENTS: usize = 10_000;

/// The role of every service client.
pub(crate) const SERVICE_CLIENT_ROLE: &str = "service_client";

/// A service client as a caller, with the scopes registered for it.
#[derive(Debug)]
pub(crate) struct KnownClient {
    pub(crate) caller: Arc<Caller>,
    pub(crate) scopes: Arc<[Arc<str>]>,
}

/// The directory's facts about callers, through a bounded memory.
#[derive(Debug)]
pub(crate) struct LocalFacts {
    directory: Directory,
    provider: Arc<str>,
    users: Cache<Arc<str>, Option<Arc<Caller>>>,
    clients: Cache<Arc<str>, Option<Arc<KnownClient>>>,
    /// Counts announced changes, so that a read that crossed one is not kept.
    generation: AtomicU64,
}

impl LocalFacts {
    pub(crate) fn new(directory: Directory, provider: Arc<str>) -> Self {
        Self {
            directory,
            provider,
            users: Cache::new(USERS),
            clients: Cache::new(CLIENTS),
            generation: AtomicU64::new(0),
        }
    }

    /// The local user with this Authress user id.
    pub(crate) async fn user(&self, subject: &str) -> Result<Option<Arc<Caller>>, StoreError> {
        if let Some(known) = self.users.get(subject) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.directory.find_user(&self.provider, subject).await?;
        let known = found.map(|(user, account)| Arc::new(Caller::user(user, account)));
        self.keep(&self.users, subject, known.clone(), generation);
        Ok(known)
    }

    /// The service client registered under this `client_id`.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Arc<KnownClient>>, StoreError> {
        if let Some(known) = self.clients.get(id) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let found = self.directory.find_client(id).await?;
        let known = found.map(|(client, account)| Arc::new(KnownClient::new(client, account)));
        self.keep(&self.clients, id, known.clone(), generation);
        Ok(known)
    }

    /// Forgets what a change may have made wrong.
    pub(crate) fn on_change(&self, change: &Change) {
        match change {
            Change::User { subject, .. } => self.forget_user(subject),
            Change::Client(client_id) => {
                self.generation.fetch_add(1, Ordering::AcqRel);
                self.clients.remove(client_id.as_str());
            }
            // An account is part of many entries; changes of accounts are rare.
            Change::Account(_) | Change::Everything => {
                self.generation.fetch_add(1, Ordering::AcqRel);
                self.users.clear();
                self.clients.clear();
            }
        }
    }

    /// Reads this user again when next asked.
    pub(crate) fn forget_user(&self, subject: &str) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.users.remove(subject);
    }

    fn keep<T: Clone>(&self, facts: &Cache<Arc<str>, T>, key: &str, fact: T, read_at: u64) {
        facts.insert(key.into(), fact);
        // Checked after the insert: a change announced in between has either removed this entry
        // or is seen here.
        if self.generation.load(Ordering::Acquire) != read_at {
            facts.remove(key);
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
