//! What the directory said about callers, remembered until the directory changes.
//!
//! Entries have no age: the store announces every change within a second, and an entry that was
//! read while a change arrived is not kept. Requests of one caller that come at the same time read
//! him once. Where changes could not be read for longer than
//! `PRINCIPAL_MAX_STALE`, nothing that is remembered counts: the directory is asked each time, and
//! what it cannot answer is an outage.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;

use super::{Caller, PrincipalKind, UserWithAccount};
use crate::{
    changes::{ChangeCount, Unchanged},
    error::Reason,
    flights::Flights,
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

/// Facts of one kind, and those that are being read: under the count of changes at which the reading
/// began, so that nobody is given what was read before a change that he may have heard of.
#[derive(Debug)]
struct Memory<T> {
    known: Cache<Arc<str>, Option<Arc<T>>>,
    reading: Flights<(Arc<str>, u64), Read<T>>,
    changes: Changes,
}

/// Counts what changes: under a few numbers, by key, of which several share one. A change that
/// another shares costs a look at what is known, or another reading, and nothing else.
#[derive(Debug)]
struct Changes {
    counts: Box<[ChangeCount]>,
    hasher: RandomState,
}

/// Enough that of a busy directory's changes few touch a given caller.
const COUNTS: usize = 4_096;

type Read<T> = Result<Option<Arc<T>>, Arc<StoreError>>;

/// The directory's facts about callers, through a bounded memory.
#[derive(Debug)]
pub(crate) struct LocalFacts {
    directory: Directory,
    provider: Arc<str>,
    users: Memory<Caller>,
    clients: Memory<KnownClient>,
}

impl LocalFacts {
    pub(crate) fn new(directory: Directory, provider: Arc<str>) -> Self {
        Self {
            directory,
            provider,
            users: Memory::new(USERS),
            clients: Memory::new(CLIENTS),
        }
    }

    /// The local user with this Authress user id.
    pub(crate) async fn user(&self, subject: &str) -> Result<Option<Arc<Caller>>, StoreError> {
        self.fact(&self.users, subject, |subject| {
            let (directory, provider) = (self.directory.clone(), Arc::clone(&self.provider));
            Box::pin(async move {
                let found = directory.find_user(&provider, &subject).await?;
                Ok(found.map(|(user, account)| Arc::new(Caller::user(user, account))))
            })
        })
        .await
    }

    /// Holds as long as [`LocalFacts::user`] says the same; to be taken before it is asked.
    pub(crate) fn user_unchanged(&self, subject: &str) -> Unchanged {
        self.users.changes.of(subject).unchanged()
    }

    /// Holds as long as [`LocalFacts::client`] says the same; to be taken before it is asked.
    pub(crate) fn client_unchanged(&self, id: &str) -> Unchanged {
        self.clients.changes.of(id).unchanged()
    }

    /// The service client registered under this `client_id`.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Arc<KnownClient>>, StoreError> {
        self.fact(&self.clients, id, |id| {
            let directory = self.directory.clone();
            Box::pin(async move {
                let found = directory.find_client(&id).await?;
                Ok(found.map(|(client, account)| Arc::new(KnownClient::new(client, account))))
            })
        })
        .await
    }

    async fn fact<T: Send + Sync + 'static>(
        &self,
        memory: &Memory<T>,
        key: &str,
        read: impl FnOnce(Arc<str>) -> BoxFuture<'static, Read<T>>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        if let Some(known) = self.remembered(memory, key) {
            return Ok(known);
        }
        let unchanged = memory.changes.of(key).unchanged();
        let key: Arc<str> = key.into();
        let reading = (Arc::clone(&key), unchanged.count());
        let flight = memory.reading.join(reading, || {
            // Somebody's reading may have ended after this request had looked.
            match self.remembered(memory, &key) {
                Some(known) => Box::pin(std::future::ready(Ok(known))),
                None => read(Arc::clone(&key)),
            }
        });
        let known = flight.await.map_err(|error| error.shared())?;
        memory.keep(key, known.clone(), &unchanged);
        Ok(known)
    }

    /// Forgets what a change may have made wrong.
    pub(crate) fn on_change(&self, change: &Change) {
        match change {
            Change::User { subject, .. } => self.forget_user(subject),
            Change::Client(client_id) => self.clients.forget(client_id),
            Change::CutOff(_) => {}
            // An account is part of many entries; changes of accounts are rare.
            Change::Account(_) | Change::Everything => {
                self.users.forget_all();
                self.clients.forget_all();
            }
        }
    }

    /// Reads this user again when next asked.
    pub(crate) fn forget_user(&self, subject: &str) {
        self.users.forget(subject);
    }

    fn remembered<T>(&self, memory: &Memory<T>, key: &str) -> Option<Option<Arc<T>>> {
        let known = memory.known.get(key)?;
        (!self.directory.is_stale()).then_some(known)
    }
}

impl<T: Send + Sync + 'static> Memory<T> {
    fn new(size: usize) -> Self {
        let broken = || {
            let text = "the directory could not be read".to_owned();
            Err(Arc::new(StoreError::Unavailable(text)))
        };
        Self {
            known: Cache::new(size),
            reading: Flights::new(broken),
            changes: Changes::new(),
        }
    }

    /// Keeps what was read, unless it has changed since.
    fn keep(&self, key: Arc<str>, fact: Option<Arc<T>>, unchanged: &Unchanged) {
        self.known.insert(Arc::clone(&key), fact);
        // Asked after the insert: a change announced in between has either removed this entry
        // or is seen here.
        if !unchanged.holds() {
            self.forget(&key);
        }
    }

    /// Counted twice: before, for those who are about to keep what they read before it, and after,
    /// when the old fact can be seen no more.
    fn forget(&self, key: &str) {
        let count = self.changes.of(key);
        count.changed();
        self.known.remove(key);
        count.changed();
    }

    /// As [`Memory::forget`], for all keys.
    fn forget_all(&self) {
        self.changes.all_changed();
        self.known.clear();
        self.changes.all_changed();
    }
}

impl Changes {
    fn new() -> Self {
        Self {
            counts: (0..COUNTS).map(|_| ChangeCount::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn all_changed(&self) {
        for count in &self.counts {
            count.changed();
        }
    }

    fn of(&self, key: &str) -> &ChangeCount {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::indexing_slicing, reason = "there are so many")]
        #[expect(clippy::cast_possible_truncation, reason = "the rest is as good")]
        &self.counts[hash as usize % COUNTS]
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
        Self::new(PrincipalKind::User, UserWithAccount { user, account })
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
            caller: Arc::new(Caller::new(PrincipalKind::Machine, identity)),
            scopes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::{ManualClock, SystemClock, Timestamp},
        settings::{DatabaseSettings, SettingsReader},
        store::{NewUser, Profile},
        tenancy::TenantSpaces,
    };

    /// Nobody watches here, so the last confirmation is the moment of opening.
    #[tokio::test]
    async fn what_nobody_can_confirm_is_believed_for_a_while() {
        let place = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", place.path().join("main.db").display());
        let mut reader = SettingsReader::from_pairs([
            ("DATABASE_URL", url),
            ("PRINCIPAL_MAX_STALE", "60".to_owned()),
        ]);
        let settings = DatabaseSettings::read(&mut reader).unwrap();
        let other = Directory::open(&settings, Arc::new(SystemClock))
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings, &other, Arc::new(SystemClock)).unwrap();
        let account = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        let new = NewUser {
            account_id: account.id,
            provider: "authress".to_owned(),
            subject: "user_ada".to_owned(),
            profile: Profile {
                email: None,
                name: None,
                picture: None,
            },
        };
        other.provision_user(&new).await.unwrap();

        let clock = ManualClock::new(Timestamp::from_secs(1_750_000_000));
        let directory = Directory::open(&settings, Arc::new(clock.clone()))
            .await
            .unwrap();
        let facts = LocalFacts::new(directory.clone(), "authress".into());
        assert!(facts.user("user_ada").await.unwrap().is_some());
        assert!(facts.client("sc_robot01").await.unwrap().is_none());

        // While the directory answers, age is no reason to refuse anybody.
        clock.advance(Duration::from_secs(61));
        assert!(facts.user("user_ada").await.unwrap().is_some());
        clock.set(Timestamp::from_secs(1_750_000_000));
        directory.close().await;

        for (seconds, goes_on) in [(0, true), (60, true), (61, false), (3_600, false)] {
            clock.set(Timestamp::from_secs(1_750_000_000 + seconds));
            let user = facts.user("user_ada").await;
            let client = facts.client("sc_robot01").await;
            assert_eq!(user.is_ok_and(|user| user.is_some()), goes_on, "{seconds}");
            assert_eq!(client.is_ok(), goes_on, "{seconds}");
        }
        // A clock that was set back far is no younger word.
        clock.set(Timestamp::from_secs(1_750_000_000 - 3_600));
        let refused = facts.user("user_ada").await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let memory = Memory::<u8>::new(10);
        let before = memory.changes.of("ada").unchanged();
        memory.keep("ada".into(), Some(Arc::new(1)), &before);
        assert!(before.holds() && memory.known.get("ada").is_some());
        memory.forget("ada");
        assert!(!before.holds() && memory.known.get("ada").is_none());
        // Somebody who looks now may find what is taken away again a moment later.
        let between = memory.changes.of("ada").unchanged();
        memory.keep("ada".into(), Some(Arc::new(1)), &before);
        assert!(!between.holds() && memory.known.get("ada").is_none());

        let before = memory.changes.of("ada").unchanged();
        memory.keep("ada".into(), None, &before);
        memory.forget_all();
        assert!(!before.holds() && memory.known.is_empty());
    }
}
