//! Many accounts with a file each, and few files open.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use uuid::Uuid;
use vestibule::Vestibule;

use crate::world::{Place, World, full_size};

const ACCOUNTS: usize = 300;
/// `DATABASE_POOL_SIZE`, which bounds the files. A connection has three, the database, its log and
/// the log's index, and for a moment their directory, when it makes or removes one of them.
const POOL: usize = 36;
const FILES_OF_ONE: usize = 4;
/// The acceptance's bound, for everything that the process has open.
const AT_MOST: usize = 256;
const AT_ONCE: usize = 64;
const ROUNDS: usize = 2;

/// Looks all the time at what this process has open.
struct Lookout {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<(usize, usize, usize)>,
}

impl Lookout {
    fn over(directory: PathBuf) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let (mut all, mut of_accounts, mut looks) = (0, 0, 0);
            while !stop.load(Ordering::Relaxed) {
                let open: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().collect();
                let of_them = open.iter().filter(|entry| {
                    // Some are closed before we look closer.
                    let path = entry.as_ref().ok().map(fs::DirEntry::path);
                    path.and_then(|path| fs::read_link(path).ok())
                        .is_some_and(|target| target.starts_with(&directory))
                });
                of_accounts = of_accounts.max(of_them.count());
                all = all.max(open.len());
                looks += 1;
                thread::sleep(Duration::from_millis(2));
            }
            (all, of_accounts, looks)
        });
        Self { ended, thread }
    }

    /// The most that was open, and of that the accounts' files.
    fn end(self) -> (usize, usize) {
        self.ended.store(true, Ordering::Relaxed);
        let (all, of_accounts, looks) = self.thread.join().unwrap();
        assert!(looks > 20, "nobody looked");
        (all, of_accounts)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_in_turn_keep_few_files_open() {
    let full = full_size("SCALE_FILES");
    let number = full.unwrap_or(ACCOUNTS);
    let mut world = World::files().await;
    world.pairs.push(("DATABASE_POOL_SIZE", POOL.to_string()));
    world.pairs.push(("DATABASE_TIMEOUT", "60".to_owned()));
    let Place::Files(place) = &world.place else {
        panic!("files were asked for");
    };
    let directory = place.path().canonicalize().unwrap().join("tenants");

    let begun = Instant::now();
    let (owner, spaces) = world.owned().await;
    let migrations = sqlx::migrate!("tests/scale/notes");
    spaces.migrate_tenants(&migrations).await.unwrap();
    let mut accounts: Vec<Uuid> = Vec::new();
    for number in 0..number {
        let tenant = format!("tenant_{number}");
        accounts.push(spaces.create_account("One", &tenant).await.unwrap().id);
    }
    spaces.close().await;
    owner.close().await;
    let made = begun.elapsed();

    let builder = Vestibule::builder(world.settings());
    let (vestibule, access) = builder.build_with_system_access().await.unwrap();
    let lookout = Lookout::over(directory);
    let (begun, done) = (Instant::now(), AtomicUsize::new(0));
    let turns = (0..ROUNDS).flat_map(|_| accounts.iter());
    stream::iter(turns)
        .for_each_concurrent(AT_ONCE, async |account| {
            let session = vestibule.system_session(&access, *account, "a round");
            let session = session.await.unwrap();
            let add = session.query("INSERT INTO notes (id, text) VALUES ($1, 'a note')");
            add.bind(Uuid::now_v7()).execute().await.unwrap();
            session.commit().await.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    let took = begun.elapsed();
    let (all, of_accounts) = lookout.end();
    vestibule.shutdown().await;
    assert_eq!(done.into_inner(), ROUNDS * accounts.len());
    assert!(of_accounts <= FILES_OF_ONE * POOL, "{of_accounts}");
    assert!(all <= AT_MOST, "{all}");
    // They were in use at the same time.
    assert!(of_accounts > POOL, "{of_accounts}");
    if full.is_some() {
        println!(
            "scale: {number} files in turn: at most {all} open, of which {of_accounts} of accounts; \
             {:.0} sessions/s (made in {:.1} s)",
            (ROUNDS * accounts.len()) as f64 / took.as_secs_f64(),
            made.as_secs_f64()
        );
    }
}
