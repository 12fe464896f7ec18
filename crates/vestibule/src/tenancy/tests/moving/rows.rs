//! What is moved, and what is left.

use super::world::{TABLES, World, in_each_tenancy, superuser};
use crate::{settings::Tenancy, tenancy::MovedTable};

/// There and back again: every value is what it was, and no trigger acted.
async fn everything_moves(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let bolt = world.full_account("bolt").await;
    let contents = world.contents(&acme).await;
    let of_bolt = world.contents(&bolt).await;
    for (from, to) in [("main", "eu"), ("eu", "main"), ("main", "eu")] {
        let moved = world.go(&acme, to).await;
        assert_eq!((moved.moved, &*moved.from, &*moved.to), (true, from, to));
        assert!(!moved.space_left);
        let odd = moved.tables.iter().find(|table| table.name == "odd");
        let expected = MovedTable {
            name: "odd".to_owned(),
            copied: 13,
            left: 0,
        };
        assert_eq!(odd, Some(&expected), "{moved:?}");
        assert!(
            moved.tables.iter().all(|table| table.left == 0),
            "{moved:?}"
        );
        assert_eq!(world.lies_on(&acme).await, to);
        assert_eq!(world.notes_at(&acme, from).await, None);
        assert_eq!(world.contents(&acme).await, contents, "{to}");
        assert!(!world.is_writable(&acme, from).await);
        assert!(world.is_writable(&acme, to).await);
    }
    assert_eq!(world.contents(&bolt).await, of_bolt);
    assert_eq!(world.moves().await, 0);
    let again = world.go(&acme, "eu").await;
    assert!(!again.moved);
    assert_eq!(world.contents(&acme).await, contents);
}
in_each_tenancy!(everything_moves);

/// No number is given again: neither one that a row has, nor one that a removed row had.
async fn numbers_go_on(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.account("acme").await;
    let bolt = world.account("bolt").await;
    world.go(&bolt, "eu").await;
    let mut last = 0;
    for number in 0..5 {
        last = world.add(&acme, &number.to_string()).await.unwrap();
        world.add(&bolt, &number.to_string()).await.unwrap();
    }
    let session = world.session(&acme);
    session
        .query("DELETE FROM notes WHERE text = '4'")
        .execute()
        .await
        .unwrap();
    session.commit().await.unwrap();
    world.go(&acme, "eu").await;
    let next = world.add(&acme, "next").await.unwrap();
    assert!(next > last, "{next} after {last}");
    // Far ahead.
    let far = 5_000_000;
    if tenancy == Tenancy::Row {
        let mut superuser = superuser(&world.eu, None).await.unwrap();
        sqlx::query("SELECT setval('vestibule_tenants.notes_id_seq', $1)")
            .bind(far)
            .execute(&mut superuser)
            .await
            .unwrap();
        world.add(&acme, "far").await.unwrap();
        world.go(&acme, "main").await;
        let beyond = world.add(&acme, "beyond").await.unwrap();
        assert_eq!(beyond, far + 2);
        let of_bolt = world.add(&bolt, "on its own").await.unwrap();
        assert_eq!(of_bolt, far + 2);
        // And never back.
        world.go(&bolt, "main").await;
        let more = world.add(&acme, "more").await.unwrap();
        assert_eq!(more, far + 3);
    }
}
in_each_tenancy!(numbers_go_on);

/// Rows that a migration wrote are there once, also where they were changed; triggers of all kinds
/// are as they were.
async fn what_migrations_wrote_is_there_once(tenancy: Tenancy) {
    const SEEDED: &str = "
        CREATE TABLE notes (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT NOT NULL);
        CREATE TABLE plans (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
        INSERT INTO plans VALUES (1, 'free'), (2, 'dear');
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'not so'; END $$;
        CREATE TRIGGER dormant BEFORE INSERT ON plans FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE plans DISABLE TRIGGER dormant;
        CREATE TRIGGER awake BEFORE DELETE ON plans FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE plans ENABLE ALWAYS TRIGGER awake;
        ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
        CREATE POLICY cheap ON plans AS RESTRICTIVE USING (id < 2);
    ";
    let world = World::with(tenancy, SEEDED).await;
    let acme = world.account("acme").await;
    world.go(&acme, "eu").await;
    let space = crate::tenancy::postgres::space_of(tenancy, acme.id);
    let own = crate::tenancy::postgres::database_of(acme.id);
    let own = (tenancy == Tenancy::Database).then_some(own.as_str());
    let mut superuser = superuser(&world.eu, own).await.unwrap();
    let sql = format!("SELECT id, name FROM {space}.plans ORDER BY id");
    let plans: Vec<(i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&mut superuser)
        .await
        .unwrap();
    assert_eq!(plans, [(1, "free".to_owned()), (2, "dear".to_owned())]);
    let sql = format!(
        "SELECT t.tgname::text, t.tgenabled::text FROM pg_trigger t
         WHERE tgrelid = '{space}.plans'::regclass AND NOT tgisinternal ORDER BY 1"
    );
    let modes: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&mut superuser)
        .await
        .unwrap();
    let modes: Vec<_> = modes
        .iter()
        .map(|(name, mode)| (&**name, &**mode))
        .collect();
    assert_eq!(modes, [("awake", "A"), ("dormant", "D")]);
    if tenancy == Tenancy::Schema {
        let sql = format!(
            "SELECT relforcerowsecurity FROM pg_class WHERE oid = '{space}.plans'::regclass"
        );
        let forced: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        assert!(forced);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_migrations_wrote_in_schema() {
    what_migrations_wrote_is_there_once(Tenancy::Schema).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_migrations_wrote_in_a_database() {
    what_migrations_wrote_is_there_once(Tenancy::Database).await;
}

/// Rows that the owner cannot see are not left behind unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_hide_rows_in_row() {
    const HIDING: &str = "
        CREATE TABLE notes (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT NOT NULL);
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
        CREATE POLICY shown ON notes AS RESTRICTIVE USING (text <> 'hidden');
    ";
    let world = World::with(Tenancy::Row, HIDING).await;
    let acme = world.account("acme").await;
    let error = world.owned.move_account(acme.id, "eu", &mut |_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("policy shown"), "{error}");
    assert!(error.contains("open where it was"), "{error}");
    world.add(&acme, "still here").await.unwrap();
}

/// Two names of one place: nothing is touched.
async fn one_place_under_two_names(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    let error = world
        .owned
        .move_account(acme.id, "again", &mut |_| {})
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("two names of one place"), "{error}");
    assert_eq!(world.contents(&acme).await, contents);
    let error = world.owned.move_account(acme.id, "us", &mut |_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("there is no cluster us"), "{error}");
}
in_each_tenancy!(one_place_under_two_names);

/// Where clusters have not the same migrations, nothing begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_migrations_in_row() {
    let world = World::new(Tenancy::Row).await;
    let acme = world.account("acme").await;
    let mut superuser = superuser(&world.eu, None).await.unwrap();
    sqlx::query("UPDATE vestibule_tenants.vestibule_migrations SET checksum = '\\x00'")
        .execute(&mut superuser)
        .await
        .unwrap();
    let error = world.owned.move_account(acme.id, "eu", &mut |_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("vestibule migrate"), "{error}");
    assert_eq!(world.moves().await, 0);
    world.add(&acme, "still here").await.unwrap();
}

/// An account that is behind stays behind, and is brought up to date where it is then.
async fn behind_stays_behind(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    world.go(&acme, "eu").await;
    let all = [(1, TABLES), (2, "ALTER TABLE notes ADD COLUMN mark TEXT")];
    let migrations = super::super::migrator(&all);
    world.owned.migrate_tenants(&migrations).await.unwrap();
    let session = world.session(&acme);
    let marked = session.query("UPDATE notes SET mark = text");
    assert_eq!(marked.execute().await.unwrap(), 2);
    session.commit().await.unwrap();
    world.go(&acme, "main").await;
    let missing = world.owned.migrations_missing(acme.id).await.unwrap();
    assert_eq!(missing, 0);
    let session = world.session(&acme);
    let marked = session.query("SELECT COUNT(*) FROM notes WHERE mark = text");
    assert_eq!(marked.fetch_one::<(i64,)>().await.unwrap(), (2,));
}
in_each_tenancy!(behind_stays_behind);
