//! One hostile statement after the other inside a session: it reads nothing of anybody else's,
//! changes nothing, and whoever gets the connection next finds it as it should be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use vestibule::{TenantSession, settings::Tenancy};

use crate::{
    hostile::{RUDE, statements},
    ours::{Ours, texts},
    place::Place,
    storm::{Accounts, Session, Storm, foreign_name, name},
};

const THIEF: usize = 0;
const VICTIM: usize = 1;
/// Keys of what is rolled back: this, and the number of the statement.
const UNDONE: i64 = 1_000;

/// What can be left behind on a connection, apart from what every connection has.
const LEFT: &str = "
SELECT 'setting ' || name || '=' || setting FROM pg_settings
WHERE source = 'session' AND NOT name = ANY (ARRAY[
    'search_path', 'statement_timeout', 'transaction_isolation', 'transaction_read_only',
    'transaction_deferrable', 'client_encoding', 'TimeZone', 'DateStyle'])
UNION ALL SELECT 'zone' WHERE current_setting('TimeZone') <> 'UTC'
UNION ALL SELECT 'encoding' WHERE current_setting('client_encoding') <> 'UTF8'
UNION ALL SELECT 'dates' WHERE current_setting('DateStyle') <> 'ISO, MDY'
UNION ALL SELECT 'isolation ' || current_setting('transaction_isolation')
    WHERE current_setting('transaction_isolation') <> 'read committed'
UNION ALL SELECT 'read only' WHERE current_setting('transaction_read_only') <> 'off'
UNION ALL SELECT 'role' WHERE session_user <> current_user
UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    -- The mark of a transaction that asked for the fence (store/postgres/fence.sql).
    AND classid <> 7012852
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
UNION ALL SELECT 'listens ' || pg_listening_channels()
UNION ALL SELECT 'temporary schema' WHERE pg_my_temp_schema() <> 0
UNION ALL SELECT 'somebody else''s search_path'
    WHERE current_schemas(false) <> ARRAY[(SELECT relnamespace::regnamespace::name FROM pg_class
        WHERE oid = 'rows'::regclass)]";

async fn hostile_statements_get_nowhere(tenancy: Tenancy, pooled: bool) {
    // One connection: who comes next, comes to the same.
    let ours = Ours::open(Place::postgres(tenancy, pooled).await, 2, 1).await;
    let (thief, victim) = (name(THIEF), name(VICTIM));
    let id = ours.id(VICTIM);
    ours.write_first_rows().await;
    let target = ours.place.target(id);
    let mut let_in = 0;
    // In a database of its own there is nothing else to reach, and every change of accounts costs
    // a connection: all of it at full size only.
    let some = tenancy == Tenancy::Database && !Storm::is_full_size();
    let all = statements(target.as_ref());
    for (number, sql) in all
        .into_iter()
        .enumerate()
        .step_by(if some { 6 } else { 1 })
    {
        let mut ends = vec![true];
        while let Some(commits) = ends.pop() {
            let session = ours.session(THIEF);
            // In the middle of what an honest handler does.
            assert_eq!(session.owners().await.unwrap(), [thief.as_str()]);
            if !commits {
                let key = UNDONE + i64::try_from(number).unwrap();
                session.upsert(key, &thief).await.unwrap();
            }
            let read = texts(&session, sql.clone()).await;
            if read.is_ok() && commits {
                // It did something: a rollback takes another way.
                let_in += 1;
                ends.push(false);
            }
            for text in read.unwrap_or_default() {
                assert_eq!(foreign_name(&text, &thief), None, "{sql}: {text}");
            }
            for seen in session.owners().await.unwrap_or_default() {
                assert_eq!(seen, thief, "{sql}");
            }
            // Where would this go now?
            session.upsert(2, &thief).await;
            if commits {
                Session::commit(session).await;
            } else {
                Session::rollback(session).await;
            }
            let session = ours.session(VICTIM);
            assert_unharmed(&session, &victim, &sql).await;
            Session::commit(session).await.unwrap();
        }
        if number % 15 != 0 {
            continue;
        }
        for table in ["rows", "keys"] {
            let rows: Vec<(String,)> = ours.place.rows(id, "owner", table).await;
            assert_eq!(rows, [(victim.clone(),)], "{sql}, or one shortly before it");
        }
    }
    let keys: Vec<(i64,)> = ours.place.rows(ours.id(THIEF), "key", "keys").await;
    let kept: Vec<_> = keys.iter().filter(|(key,)| *key >= UNDONE).collect();
    assert!(kept.is_empty(), "a statement committed: {kept:?}");
    // What is refused by its text alone shows nothing of the database.
    let enough = if some { 12 } else { 80 };
    assert!(let_in > enough, "{let_in}");
}

async fn assert_unharmed(session: &TenantSession, owner: &str, sql: &str) {
    let left = texts(session, LEFT.to_owned()).await;
    let left = left.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(left, [""; 0], "{sql}");
    assert_eq!(session.owners().await.unwrap(), [owner], "{sql}");
    session.upsert(1, owner).await.unwrap();
}

macro_rules! in_each {
    ($($name:ident: $tenancy:ident, $pooled:literal;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            hostile_statements_get_nowhere(Tenancy::$tenancy, $pooled).await;
        }
    )+ };
}

in_each! {
    row: Row, false;
    row_through_pgbouncer: Row, true;
    schema: Schema, false;
    schema_through_pgbouncer: Schema, true;
    database: Database, false;
    database_through_pgbouncer: Database, true;
}

/// Other sessions of the login see statements, but never what binds an account.
async fn no_binding_can_be_seen(pooled: bool) {
    const LOOK: &str = "SELECT query FROM pg_stat_activity
        WHERE query ~ '[0-9a-f-]{36}[.][0-9]+[.][0-9a-f]{8,}' AND pid <> pg_backend_pid()";
    let ours = Ours::open(Place::postgres(Tenancy::Row, pooled).await, 4, 4).await;
    let ours = Arc::new(ours);
    let over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (1..4)
        .map(|account| {
            let (ours, over) = (Arc::clone(&ours), Arc::clone(&over));
            tokio::spawn(async move {
                let mut begun = 0;
                while !over.load(Ordering::Relaxed) {
                    let session = ours.session(account);
                    session.owners().await.unwrap();
                    Session::commit(session).await.unwrap();
                    begun += 1;
                }
                begun
            })
        })
        .collect();
    let begin = std::time::Instant::now();
    let mut beginnings = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        let session = ours.session(THIEF);
        let seen = texts(&session, LOOK.to_owned()).await.unwrap();
        assert_eq!(seen, [""; 0]);
        // That others are seen beginning at all.
        let curtains = "SELECT query FROM pg_stat_activity WHERE query LIKE '/*---%'".to_owned();
        beginnings += texts(&session, curtains).await.unwrap().len();
        Session::commit(session).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for other in others {
        assert!(other.await.unwrap() > 20);
    }
    assert!(beginnings > 0, "nobody was seen beginning");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_binding_can_be_seen_directly() {
    no_binding_can_be_seen(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_binding_can_be_seen_through_pgbouncer() {
    no_binding_can_be_seen(true).await;
}

/// Who kills the others' connections does not get at their rows, and they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_replaced() {
    let ours = Ours::open(Place::postgres(Tenancy::Row, false).await, 2, 2).await;
    for _ in 0..20 {
        let victim = ours.begin(VICTIM).await.unwrap();
        victim.owners().await.unwrap();
        let thief = ours.session(THIEF);
        texts(&thief, RUDE.to_owned()).await.unwrap();
        assert!(Session::commit(thief).await.is_some());
        assert!(victim.upsert(1, &name(VICTIM)).await.is_none());
        let next = ours.session(VICTIM);
        assert!(next.upsert(1, &name(VICTIM)).await.is_some());
        assert!(Session::commit(next).await.is_some());
    }
}

/// The server's own settings, which a pooler's connections have, change nothing of what a session
/// reads and writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_the_same_through_a_pooler() {
    for pooled in [false, true] {
        let place = Place::postgres(Tenancy::Row, pooled).await;
        place
            .set_for_login(&[
                ("timezone", "Asia/Tokyo"),
                ("client_encoding", "LATIN1"),
                ("datestyle", "German"),
            ])
            .await;
        let ours = Ours::open(place, 1, 1).await;
        for _ in 0..2 {
            let session = ours.session(0);
            let settings = "SELECT concat_ws(' ', current_setting('timezone'),
                current_setting('client_encoding'), current_setting('datestyle'))";
            let seen = texts(&session, settings.to_owned()).await.unwrap();
            assert_eq!(seen, ["UTC UTF8 ISO, MDY"], "{pooled}");
            let length = texts(&session, "SELECT length('grün €')::text".to_owned()).await;
            assert_eq!(length.unwrap(), ["6"], "{pooled}");
            Session::commit(session).await.unwrap();
        }
    }
}
