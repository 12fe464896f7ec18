//! The storm: random transactions of many accounts at once, over any kind of session.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use uuid::Uuid;

/// The transactions of one account after the other, over whatever keeps accounts apart.
pub(crate) trait Accounts: Send + Sync + 'static {
    type Session: Session;

    /// A transaction of one account; by the name that its rows carry.
    fn begin(&self, account: usize) -> impl Future<Output = Option<Self::Session>> + Send;

    /// The rows of one account as they were committed, read in another way than a session.
    fn committed(&self, account: usize) -> impl Future<Output = Vec<(Uuid, String)>> + Send;

    /// SQL that should not get anywhere near the rows of `other`. What it reads is its first
    /// column, as text.
    fn hostile(&self, other: usize) -> &[String];
}

/// A transaction. An error of any kind is none: the storm only wants to know that it failed.
pub(crate) trait Session: Send {
    fn write(&self, id: Uuid, owner: &str) -> impl Future<Output = Option<()>> + Send;
    fn upsert(&self, key: i64, owner: &str) -> impl Future<Output = Option<()>> + Send;
    /// A row that refers to another one.
    fn refer(&self, id: Uuid, target: Uuid) -> impl Future<Output = Option<()>> + Send;
    /// The owners of all rows that can be seen.
    fn owners(&self) -> impl Future<Output = Option<Vec<String>>> + Send;
    /// Runs any SQL; the texts that it read.
    fn run(&self, sql: String) -> impl Future<Output = Option<Vec<String>>> + Send;
    fn commit(self) -> impl Future<Output = Option<()>> + Send;
    fn rollback(self) -> impl Future<Output = Option<()>> + Send;
}

pub(crate) struct Storm {
    pub(crate) seed: u64,
    pub(crate) accounts: usize,
    operations: usize,
}

/// What the storm left behind.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) foreign: Vec<String>,
    /// Committed rows that are not there, and rows that are there and must not be.
    pub(crate) lost: Vec<String>,
    pub(crate) committed: usize,
    pub(crate) cancelled: usize,
    pub(crate) panicked: usize,
    pub(crate) refused: usize,
    /// Rows that have the id of another account's row.
    pub(crate) twins: usize,
    /// References to what only another account has.
    pub(crate) unreferred: usize,
}

/// What must be there afterwards, and what may be: a commit that was cancelled.
#[derive(Default)]
struct Ledger {
    must: BTreeMap<usize, BTreeSet<Uuid>>,
    may: BTreeMap<usize, BTreeSet<Uuid>>,
    /// The last rows that were committed, for others to try their luck with.
    latest: Vec<(usize, Uuid)>,
    found: Found,
}

/// SplitMix64: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

impl Storm {
    const WORKERS: usize = 12;
    const ACCOUNTS: usize = 50;

    /// As large as `ISOLATION_OPERATIONS` says, and then for all accounts.
    pub(crate) fn from_environment(accounts: usize, operations: usize) -> Self {
        match number("ISOLATION_OPERATIONS") {
            Some(count) => Self::small(Self::ACCOUNTS, usize::try_from(count).unwrap()),
            None => Self::small(accounts, operations),
        }
    }

    /// Large enough to find what is wrong on purpose.
    pub(crate) fn small(accounts: usize, operations: usize) -> Self {
        Self {
            seed: number("ISOLATION_SEED").unwrap_or_else(|| Uuid::now_v7().as_u64_pair().1),
            accounts,
            operations,
        }
    }

    pub(crate) fn is_full_size() -> bool {
        env::var_os("ISOLATION_OPERATIONS").is_some()
    }

    pub(crate) async fn blow<A: Accounts>(&self, accounts: A) -> Found {
        let accounts = Arc::new(accounts);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let workers: Vec<_> = (0..Self::WORKERS)
            .map(|worker| {
                let (accounts, ledger) = (Arc::clone(&accounts), Arc::clone(&ledger));
                let mut dice = Dice(self.seed.wrapping_add(worker as u64));
                let (count, among) = (self.operations / Self::WORKERS, self.accounts);
                tokio::spawn(async move {
                    for _ in 0..count {
                        let account = dice.roll(among);
                        one(&accounts, &ledger, (account, among), &mut dice).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        for account in 0..self.accounts {
            let rows = accounts.committed(account).await;
            ledger.lock().unwrap().audit(account, rows);
        }
        std::mem::take(&mut ledger.lock().unwrap().found)
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// One transaction of one account, to its end, to its cancellation, or to its panic.
async fn one<A: Accounts>(
    accounts: &Arc<A>,
    ledger: &Arc<Mutex<Ledger>>,
    (account, among): (usize, usize),
    dice: &mut Dice,
) {
    let transaction = transact(
        Arc::clone(accounts),
        Arc::clone(ledger),
        (account, among),
        Dice(dice.roll(usize::MAX) as u64),
    );
    match dice.roll(100) {
        0..10 => {
            // At a random await, that of `BEGIN` and of `COMMIT` among them.
            let moment = Duration::from_micros(dice.roll(6_000) as u64);
            if tokio::time::timeout(moment, transaction).await.is_err() {
                ledger.lock().unwrap().found.cancelled += 1;
            }
        }
        10 => {
            let panicked = tokio::spawn(async move {
                transaction.await;
                panic!("as handlers do");
            });
            assert!(panicked.await.unwrap_err().is_panic());
            ledger.lock().unwrap().found.panicked += 1;
        }
        _ => transaction.await,
    }
}

async fn transact<A: Accounts>(
    accounts: Arc<A>,
    ledger: Arc<Mutex<Ledger>>,
    (account, among): (usize, usize),
    mut dice: Dice,
) {
    let owner = name(account);
    let Some(session) = accounts.begin(account).await else {
        return;
    };
    let mut written = Vec::new();
    for _ in 0..=dice.roll(4) {
        match dice.roll(6) {
            0 => {
                let twin = if dice.roll(8) == 0 {
                    foreign_row(&ledger, account, &mut dice)
                } else {
                    None
                };
                let id = twin.unwrap_or_else(Uuid::now_v7);
                if session.write(id, &owner).await.is_some() {
                    written.push(id);
                    ledger.lock().unwrap().found.twins += usize::from(twin.is_some());
                }
            }
            1 => {
                let key = i64::try_from(dice.roll(5)).unwrap();
                session.upsert(key, &owner).await;
            }
            2 => {
                let target = foreign_row(&ledger, account, &mut dice);
                if let Some(target) = target.filter(|id| !written.contains(id)) {
                    let referred = session.refer(Uuid::now_v7(), target).await.is_some();
                    ledger
                        .lock()
                        .unwrap()
                        .saw_reference(account, target, referred);
                }
            }
            3 | 4 => {
                let other = (account + 1 + dice.roll(among - 1)) % among;
                let hostile = accounts.hostile(other);
                let sql = &hostile[dice.roll(hostile.len())];
                match session.run(sql.clone()).await {
                    Some(texts) => {
                        for text in texts {
                            if let Some(seen) = foreign_name(&text, &owner) {
                                let text = format!("{owner} saw {seen} by {sql}");
                                ledger.lock().unwrap().found.foreign.push(text);
                            }
                        }
                    }
                    None => ledger.lock().unwrap().found.refused += 1,
                }
            }
            _ => {}
        }
        for seen in session.owners().await.unwrap_or_default() {
            if seen != owner {
                let text = format!("{owner} saw a row of {seen}");
                ledger.lock().unwrap().found.foreign.push(text);
            }
        }
    }
    if dice.roll(4) == 0 {
        session.rollback().await;
        return;
    }
    // From here on the rows may stay, and once the commit is answered they must.
    {
        let mut rows = ledger.lock().unwrap();
        rows.may.entry(account).or_default().extend(&written);
    }
    if session.commit().await.is_some() {
        let mut rows = ledger.lock().unwrap();
        rows.keep(account, written);
        rows.found.committed += 1;
    }
}

/// A row that another account has committed.
fn foreign_row(ledger: &Mutex<Ledger>, account: usize, dice: &mut Dice) -> Option<Uuid> {
    let ledger = ledger.lock().unwrap();
    let (of, id) = *ledger.latest.get(dice.roll(ledger.latest.len().max(1)))?;
    (of != account).then_some(id)
}

impl Ledger {
    const LATEST: usize = 64;

    fn keep(&mut self, account: usize, written: Vec<Uuid>) {
        for id in &written {
            if self.latest.len() >= Self::LATEST {
                self.latest.remove(0);
            }
            self.latest.push((account, *id));
        }
        self.must.entry(account).or_default().extend(written);
    }

    /// Only a row of the account's own, a twin, can be referred to.
    fn saw_reference(&mut self, account: usize, target: Uuid, referred: bool) {
        let may = self.may.get(&account);
        if may.is_some_and(|may| may.contains(&target)) {
            return;
        }
        if referred {
            let text = format!("{} refers to {target} of another", name(account));
            self.found.foreign.push(text);
        } else {
            self.found.unreferred += 1;
        }
    }

    fn audit(&mut self, account: usize, rows: Vec<(Uuid, String)>) {
        let owner = name(account);
        let mut there = BTreeSet::new();
        for (id, seen) in rows {
            if seen != owner {
                self.found
                    .foreign
                    .push(format!("a row of {seen} lies with {owner}"));
            }
            there.insert(id);
        }
        let must = self.must.remove(&account).unwrap_or_default();
        let may = self.may.remove(&account).unwrap_or_default();
        for id in must.difference(&there) {
            self.found
                .lost
                .push(format!("{owner}: {id} was committed and is not there"));
        }
        for id in there.difference(&may) {
            self.found
                .lost
                .push(format!("{owner}: {id} is there and was never committed"));
        }
    }
}

/// What all rows of an account carry.
pub(crate) fn name(account: usize) -> String {
    format!("{NAME}{account:03}")
}

const NAME: &str = "account-";

/// The name of another account in a text that a session of `owner` read, or a thief's.
pub(crate) fn foreign_name<'t>(text: &'t str, owner: &str) -> Option<&'t str> {
    let named = text.match_indices(NAME).filter_map(|(at, _)| {
        let name = text.get(at..at + owner.len())?;
        let number = name.get(NAME.len()..)?;
        number
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then_some(name)
    });
    named.into_iter().find(|name| *name != owner)
}
