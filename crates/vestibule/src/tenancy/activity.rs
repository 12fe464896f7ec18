//! An account's activity: sign-ins, refusals, new users, what administrators did, and system sessions,
//! in the account's own data space.
//!
//! Requests do not wait for it: an event goes into a bounded queue, and one task writes what came
//! together, account by account. What finds the queue full is dropped, and counted in
//! `vestibule_activity_dropped_total`.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;

use super::{
    SessionError, TenantSession, TenantSpaces,
    retention::{self, first_id_at},
};
use crate::{
    clock::Timestamp,
    store::{Connection, Kind, Operation, Page, PageOf, Query, newest_first, run_script},
};

/// Events that wait. More would only show that the database is too slow for them.
const QUEUE: usize = 8_192;
/// What comes within this time is written together.
const GATHER: Duration = Duration::from_millis(100);
/// Accounts written to at the same time. Those that wait for their turn hold no connection.
const PARALLEL: usize = 64;
/// Entries that are read at a time where all are wanted.
const AT_A_TIME: usize = 500;
/// Entries that may come before the oldest are removed again.
const PRUNE_AFTER: usize = 500;

/// On PostgreSQL the application's login cannot write the table: there it is a function of
/// `postgres/activity.sql`, which demands a proof.
static NOTE: Operation = Operation {
    name: "note_activity",
    takes: &[
        Kind::Uuid,
        Kind::BigInt,
        Kind::Text,
        Kind::Uuid,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Bytes,
    ],
    gives: &[],
    sql: "INSERT INTO vestibule_activity
              (id, at, kind, user_id, client_id, reason, request_id, token_hash)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
          ON CONFLICT DO NOTHING",
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    /// A token was used for the first time.
    SignIn,
    /// A caller of the account was refused.
    Refusal,
    /// A job opened a session without a caller.
    SystemSession,
    /// A first visit made a local user.
    Provisioning,
    /// An administrator changed something.
    AdminAction,
}

impl ActivityKind {
    /// As an entry has it: `sign_in`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Refusal => "refusal",
            Self::SystemSession => "system_session",
            Self::Provisioning => "provisioning",
            Self::AdminAction => "admin_action",
        }
    }
}

/// Something that happened in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityEvent {
    /// The account of the caller, never one that a token merely names.
    pub account_id: Uuid,
    /// What happened.
    pub kind: ActivityKind,
    /// The user, where it was one.
    pub user_id: Option<Uuid>,
    /// The application or service client.
    pub client_id: Option<String>,
    /// Why, for refusals and system sessions; what was done and by whom, for administrators.
    pub reason: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// Identifies a token without being one: the same token's sign-in is written down once.
    pub token_hash: Option<Vec<u8>>,
}

impl ActivityEvent {
    /// An event with nothing but its account and kind.
    pub fn new(account_id: Uuid, kind: ActivityKind) -> Self {
        Self {
            account_id,
            kind,
            user_id: None,
            client_id: None,
            reason: None,
            request_id: None,
            token_hash: None,
        }
    }
}

/// An entry as `GET /v1/activity` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ActivityEntry {
    /// UUIDv7.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// `sign_in`, `refusal`, `system_session`, `provisioning` or `admin_action`.
    pub kind: String,
    /// The user, where it was one.
    pub user_id: Option<Uuid>,
    /// The application or service client.
    pub client_id: Option<String>,
    /// Why, for refusals and system sessions; what was done and by whom, for administrators.
    pub reason: Option<String>,
    /// The request.
    pub request_id: Option<String>,
}

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    /// What became of requests and jobs: sign-ins, refusals, system sessions.
    #[default]
    OfCallers,
    /// New users and what administrators did as well.
    All,
}

/// A page of what became of requests and jobs of the account, the newest first.
///
/// # Errors
/// [`SessionError::BadCursor`]; others: see [`SessionError`].
pub async fn page(
    session: &TenantSession,
    page: &Page,
) -> Result<PageOf<ActivityEntry>, SessionError> {
    page_of(session, page, Kinds::OfCallers).await
}

/// As [`page`], of these kinds.
///
/// # Errors
/// As [`page`].
pub async fn page_of(
    session: &TenantSession,
    page: &Page,
    kinds: Kinds,
) -> Result<PageOf<ActivityEntry>, SessionError> {
    let bounds = newest_first(page)?;
    let entries = session
        .own_query(
            "SELECT id, at, kind, user_id, client_id, reason, request_id
             FROM vestibule_activity
             WHERE id < $1 AND id >= $2 AND ($3 = 1 OR kind NOT IN ('provisioning', 'admin_action'))
             ORDER BY id DESC LIMIT $4",
        )
        .bind(bounds.beyond)
        .bind(first_shown(session.spaces()))
        .bind(i64::from(kinds == Kinds::All))
        .bind(bounds.rows())
        .fetch_all()
        .await?;
    Ok(bounds.page(entries, |entry: &ActivityEntry| entry.id))
}

/// What is older than `ACTIVITY_MAX_AGE` is not shown, removed or not.
fn first_shown(spaces: &TenantSpaces) -> Uuid {
    spaces.retention().first_shown(spaces.now())
}

impl TenantSpaces {
    /// A page of an account's activity, the newest first, for an administrator: without a trace in
    /// the activity itself, which [`system_session`](crate::Vestibule::system_session) leaves.
    ///
    /// # Errors
    /// As [`page`].
    pub async fn activity(
        &self,
        account: Uuid,
        wanted: &Page,
    ) -> Result<PageOf<ActivityEntry>, SessionError> {
        let session = self.detached_session(account)?;
        let entries = page_of(&session, wanted, Kinds::All).await;
        session.rollback().await?;
        entries
    }

    /// The account's entries of this moment and later, the oldest first, some at a time: for
    /// whoever hands them on. What is written meanwhile comes too.
    pub fn activity_since(
        &self,
        account: Uuid,
        since: Option<Timestamp>,
    ) -> impl Stream<Item = Result<Vec<ActivityEntry>, SessionError>> + Send + 'static {
        let from = since.map_or(Uuid::nil(), first_id_at);
        stream::try_unfold(
            (self.clone(), Some(from)),
            move |(spaces, from)| async move {
                let Some(from) = from else {
                    return Ok(None);
                };
                let entries = spaces.entries_from(account, from).await?;
                let next = entries
                    .last()
                    .and_then(|last| last.id.as_u128().checked_add(1))
                    .filter(|_| entries.len() == AT_A_TIME)
                    .map(Uuid::from_u128);
                Ok((!entries.is_empty()).then_some((entries, (spaces, next))))
            },
        )
    }

    async fn entries_from(
        &self,
        account: Uuid,
        from: Uuid,
    ) -> Result<Vec<ActivityEntry>, SessionError> {
        let session = self.detached_session(account)?;
        let entries = session
            .own_query(
                "SELECT id, at, kind, user_id, client_id, reason, request_id
                 FROM vestibule_activity WHERE id >= $1 ORDER BY id LIMIT $2",
            )
            .bind(from.max(first_shown(self)))
            .bind(i64::try_from(AT_A_TIME).unwrap_or(i64::MAX))
            .fetch_all()
            .await;
        session.rollback().await?;
        entries
    }
}

/// Takes events and writes them down. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ActivityLog {
    queue: mpsc::Sender<Message>,
    spaces: TenantSpaces,
}

#[derive(Debug)]
enum Message {
    Entry(Entry),
    Flush(oneshot::Sender<()>),
}

impl ActivityLog {
    /// Begins to write. The task ends when the last clone is dropped.
    pub fn start(spaces: TenantSpaces) -> Self {
        Self::with(Writer::new(spaces.clone()), spaces)
    }

    /// As [`start`](Self::start), for a server: it also sees to accounts to which nothing is
    /// written, where entries must not become too old.
    pub(crate) fn start_with_rounds(spaces: TenantSpaces) -> Self {
        let mut writer = Writer::new(spaces.clone());
        if spaces.retention().max_age_millis() > 0 {
            let rounds = retention::go_round(spaces.clone());
            writer.rounds.spawn_on(rounds, spaces.runtime());
        }
        Self::with(writer, spaces)
    }

    fn with(writer: Writer, spaces: TenantSpaces) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        spaces.runtime().spawn(writer.run(waiting));
        Self { queue, spaces }
    }

    /// Takes an event. Never waits; an event that finds the queue full is dropped and counted.
    pub fn record(&self, event: ActivityEvent) {
        if !self.spaces.retention().writes() {
            return;
        }
        let entry = Entry::new(&self.spaces, event);
        if self.queue.try_send(Message::Entry(entry)).is_err() {
            dropped(1);
        }
    }

    /// Waits until everything that was recorded before is written down.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer is gone, and nothing waits any more.
            let _ = written.await;
        }
    }
}

fn dropped(events: usize) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    metrics::counter!("vestibule_activity_dropped_total").increment(events);
}

/// An event with its id and time.
#[derive(Debug)]
pub(super) struct Entry {
    id: Uuid,
    at: Timestamp,
    event: ActivityEvent,
}

impl Entry {
    pub(super) fn new(spaces: &TenantSpaces, event: ActivityEvent) -> Self {
        Self {
            id: spaces.new_id(),
            at: spaces.now(),
            event,
        }
    }

    pub(super) async fn insert(self, on: Connection<'_>) -> Result<(), SessionError> {
        let event = self.event;
        Query::of(&NOTE)
            .bind(self.id)
            .bind(self.at)
            .bind(event.kind.as_str())
            .bind(event.user_id)
            .bind(event.client_id)
            .bind(event.reason)
            .bind(event.request_id)
            .bind(event.token_hash)
            .execute(on)
            .await?;
        Ok(())
    }
}

/// Writes what waits, one transaction per account at a time: an account whose file is busy holds
/// up nobody else.
struct Writer {
    spaces: TenantSpaces,
    pending: HashMap<Uuid, Vec<Entry>>,
    /// Entries in `pending`; bounded by [`QUEUE`].
    count: usize,
    busy: HashSet<Uuid>,
    writes: JoinSet<Uuid>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Entries per account since its oldest were removed.
    since_pruned: HashMap<Uuid, usize>,
    /// Ends with the writer.
    rounds: JoinSet<()>,
}

impl Writer {
    /// More accounts than this are forgotten, and pruned once too often.
    const ACCOUNTS: usize = 10_000;

    fn new(spaces: TenantSpaces) -> Self {
        Self {
            spaces,
            pending: HashMap::new(),
            count: 0,
            busy: HashSet::new(),
            writes: JoinSet::new(),
            flushes: Vec::new(),
            since_pruned: HashMap::new(),
            rounds: JoinSet::new(),
        }
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut ended = false;
        // When what was gathered is to be written; none while nothing waits.
        let mut due: Option<Instant> = None;
        loop {
            let wake = due.unwrap_or_else(Instant::now);
            tokio::select! {
                message = waiting.recv(), if !ended => match message {
                    Some(Message::Entry(entry)) => {
                        self.take(entry);
                        due.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                    Some(Message::Flush(done)) => {
                        self.flushes.push(done);
                        due = Some(Instant::now());
                    }
                    None => {
                        ended = true;
                        due = Some(Instant::now());
                    }
                },
                Some(written) = self.writes.join_next() => {
                    match written {
                        Ok(account) => {
                            self.busy.remove(&account);
                        }
                        // Which one it was cannot be told. Two writes of one account would only
                        // wait for each other.
                        Err(_) => self.busy.clear(),
                    }
                    if !self.pending.is_empty() {
                        due.get_or_insert_with(Instant::now);
                    }
                }
                () = tokio::time::sleep_until(wake), if due.is_some() => {
                    due = None;
                    self.begin_writes();
                }
            }
            if self.pending.is_empty() && self.writes.is_empty() {
                for done in self.flushes.drain(..) {
                    let _ = done.send(());
                }
                if ended {
                    return;
                }
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        if self.count >= QUEUE {
            dropped(1);
            return;
        }
        self.count += 1;
        let account = entry.event.account_id;
        self.pending.entry(account).or_default().push(entry);
    }

    fn begin_writes(&mut self) {
        let ready: Vec<_> = self
            .pending
            .keys()
            .filter(|account| !self.busy.contains(account))
            .take(PARALLEL.saturating_sub(self.writes.len()))
            .copied()
            .collect();
        for account in ready {
            let Some(entries) = self.pending.remove(&account) else {
                continue;
            };
            self.count = self.count.saturating_sub(entries.len());
            self.busy.insert(account);
            let prune = self.is_to_prune(account, entries.len());
            let spaces = self.spaces.clone();
            self.writes.spawn(async move {
                let count = entries.len();
                if let Err(error) = write(&spaces, account, entries, prune).await {
                    tracing::warn!(account.id = %account, %error, count, "activity was lost");
                    dropped(count);
                }
                account
            });
        }
    }

    fn is_to_prune(&mut self, account: Uuid, coming: usize) -> bool {
        if self.since_pruned.len() >= Self::ACCOUNTS && !self.since_pruned.contains_key(&account) {
            self.since_pruned.clear();
        }
        // Once at the beginning: what was written before this process is not counted.
        let since = self.since_pruned.entry(account).or_insert(PRUNE_AFTER);
        *since += coming;
        let due = *since >= PRUNE_AFTER;
        if due {
            *since = 0;
        }
        due
    }
}

async fn write(
    spaces: &TenantSpaces,
    account: Uuid,
    entries: Vec<Entry>,
    prune: bool,
) -> Result<(), SessionError> {
    let mut lease = spaces.begin(account).await?;
    for entry in entries {
        entry.insert(lease.calling()?).await?;
    }
    if prune {
        // In the same transaction, as another may cost a connection; what was written stays where
        // it fails.
        run_script(lease.connection()?, "SAVEPOINT written").await?;
        let on = lease.connection()?;
        if let Err(error) = retention::remove_old(on, spaces.retention(), spaces.now()).await {
            tracing::warn!(account.id = %account, %error, "old activity was not removed");
            run_script(lease.connection()?, "ROLLBACK TO SAVEPOINT written").await?;
        }
    }
    lease.commit().await
}

/// Writes an entry and keeps `keep` of all; the entry's id.
#[cfg(test)]
pub(super) async fn insert_for_test(
    spaces: &TenantSpaces,
    account: Uuid,
    keep: retention::Retention,
) -> Uuid {
    let entry = Entry::new(spaces, ActivityEvent::new(account, ActivityKind::Refusal));
    let id = entry.id;
    let mut lease = spaces.begin(account).await.unwrap();
    entry.insert(lease.calling().unwrap()).await.unwrap();
    let on = lease.connection().unwrap();
    retention::remove_old(on, keep, spaces.now()).await.unwrap();
    lease.commit().await.unwrap();
    id
}
