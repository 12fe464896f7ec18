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
}

/// A transaction. An error of any kind is none: the storm only wants to know that it failed.
pub(crate) trait Session: Send {
    fn write(&self, id: Uuid, owner: &str) -> impl Future<Output = Option<()>> + Send;
    fn upsert(&self, key: i64, owner: &str) -> impl Future<Output = Option<()>> + Send;
    /// The owners of all rows that can be seen.
    fn owners(&self) -> impl Future<Output = Option<Vec<String>>> + Send;
    fn run(&self, sql: &'static str) -> impl Future<Output = Option<()>> + Send;
    fn commit(self) -> impl Future<Output = Option<()>> + Send;
    fn rollback(self) -> impl Future<Output = Option<()>> + Send;
}

/// SQL that should not get anywhere, and some that is careless only.
const HOSTILE: &[&str] = &[
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "/* */ COMMIT",
    "-- x\nEND",
    "SAVEPOINT a",
    "SELECT 1; COMMIT",
    "ATTACH '../vestibule.db' AS directory",
    "VACUUM INTO 'stolen.db'",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA writable_schema = ON",
    "CREATE TEMP TABLE rows (id, owner)",
    "DROP TABLE rows",
    "DELETE FROM vestibule_account",
    "UPDATE vestibule_account SET account_id = NULL",
    "SELECT load_extension('x')",
    "SELECT readfile('../vestibule.db')",
    "INSERT OR ROLLBACK INTO keys SELECT key, owner FROM keys",
    "INSERT INTO rows SELECT id, owner FROM rows",
    "SELECT * FROM no_such_table",
    "DETACH main",
    "",
];

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
}

/// What must be there afterwards, and what may be: a commit that was cancelled.
#[derive(Default)]
struct Ledger {
    must: BTreeMap<usize, BTreeSet<Uuid>>,
    may: BTreeMap<usize, BTreeSet<Uuid>>,
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

    pub(crate) fn from_environment(operations: usize) -> Self {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        Self {
            seed: number("ISOLATION_SEED").unwrap_or_else(|| Uuid::now_v7().as_u64_pair().1),
            accounts: 50,
            operations: number("ISOLATION_OPERATIONS")
                .map_or(operations, |count| usize::try_from(count).unwrap()),
        }
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
                        one(&accounts, &ledger, account, &mut dice).await;
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

/// One transaction of one account, to its end, to its cancellation, or to its panic.
async fn one<A: Accounts>(
    accounts: &Arc<A>,
    ledger: &Arc<Mutex<Ledger>>,
    account: usize,
    dice: &mut Dice,
) {
    let transaction = transact(
        Arc::clone(accounts),
        Arc::clone(ledger),
        account,
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
    account: usize,
    mut dice: Dice,
) {
    let owner = name(account);
    let Some(session) = accounts.begin(account).await else {
        return;
    };
    let mut written = Vec::new();
    for _ in 0..=dice.roll(4) {
        match dice.roll(4) {
            0 => {
                let id = Uuid::now_v7();
                if session.write(id, &owner).await.is_some() {
                    written.push(id);
                }
            }
            1 => {
                let key = i64::try_from(dice.roll(5)).unwrap();
                session.upsert(key, &owner).await;
            }
            2 => {
                let sql = HOSTILE[dice.roll(HOSTILE.len())];
                if session.run(sql).await.is_none() {
                    ledger.lock().unwrap().found.refused += 1;
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
        rows.must.entry(account).or_default().extend(written);
        rows.found.committed += 1;
    }
}

impl Ledger {
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

pub(crate) fn name(account: usize) -> String {
    format!("account {account}")
}
