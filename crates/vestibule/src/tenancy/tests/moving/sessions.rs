//! What sessions see of a move.

use std::time::Instant;

use super::world::{TIMEOUT, World, in_each_tenancy, superuser};
use crate::{
    settings::Tenancy,
    tenancy::{SessionError, postgres::Done},
};

/// A session that began before the fence may still commit, and what it wrote is moved.
async fn who_began_before_is_waited_for(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let bolt = world.full_account("bolt").await;
    let session = world.session(&acme);
    let add = session.query("INSERT INTO notes (text) VALUES ('in time')");
    add.execute().await.unwrap();
    // In `row` a trigger is stilled, which waits for whoever has written to its table.
    let beside = match tenancy {
        Tenancy::Row => "INSERT INTO left_shoes (id) VALUES (3)",
        _ => "INSERT INTO notes (text) VALUES ('beside')",
    };
    let of_bolt = world.session(&bolt);
    of_bolt.query(beside).execute().await.unwrap();
    let begun = Instant::now();
    let committing = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        assert!(!world.is_writable(&acme, "main").await);
        session.commit().await.unwrap();
    };
    tokio::join!(world.go(&acme, "eu"), committing);
    assert!(begun.elapsed() >= TIMEOUT / 2);
    assert!(world.texts(&acme).await.contains(&"in time".to_owned()));
    // Who has another account is not waited for.
    of_bolt.commit().await.unwrap();
}
in_each_tenancy!(who_began_before_is_waited_for);

/// A session that does not end is ended, and nothing of it is kept anywhere.
async fn who_does_not_end_is_ended(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let contents = world.contents(&acme).await;
    let session = world.session(&acme);
    let add = session.query("INSERT INTO notes (text) VALUES ('too late')");
    add.execute().await.unwrap();
    let begun = Instant::now();
    world.go(&acme, "eu").await;
    assert!(begun.elapsed() >= TIMEOUT);
    assert!(session.commit().await.is_err());
    assert_eq!(world.texts(&acme).await.len(), 2);
    // The number that it drew is lost, and no more.
    assert_eq!(world.contents(&acme).await, contents);
}
in_each_tenancy!(who_does_not_end_is_ended);

/// Meanwhile sessions are refused in a way that says: try again; and what was refused can be used
/// for others.
async fn who_comes_meanwhile_is_refused(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let steps = [Done::SourceFenced, Done::CopyKept, Done::Switched];
    for after in steps {
        world.go_until(&acme, "eu", after, false).await;
        for _ in 0..3 {
            let refused = world.add(&acme, "refused").await;
            assert!(
                matches!(&refused, Err(SessionError::Unavailable(_))),
                "{after:?}: {refused:?}"
            );
        }
        let (in_use, idle) = world.served.counts();
        assert_eq!(in_use, 0);
        assert!(idle > 0, "{after:?}");
    }
    world.go(&acme, "eu").await;
    // Nobody has told this server, and it finds the account.
    world.add(&acme, "let in").await.unwrap();
    assert!(!world.texts(&acme).await.contains(&"refused".to_owned()));
}
in_each_tenancy!(who_comes_meanwhile_is_refused);

/// Where the application's login sees old states of the database throughout a transaction, it does
/// not see one without the fence either.
async fn old_states_do_not_pass(tenancy: Tenancy) {
    let world = World::new(tenancy).await;
    let mut superuser = superuser(&world.main, None).await.unwrap();
    let set = format!(
        "ALTER ROLE {} SET default_transaction_isolation TO 'repeatable read'",
        world.main.application()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(set))
        .execute(&mut superuser)
        .await
        .unwrap();
    let acme = world.full_account("acme").await;
    let own = crate::tenancy::postgres::database_of(acme.id);
    let mut url = url::Url::parse(&world.main.application_url()).unwrap();
    if tenancy == Tenancy::Database {
        url.set_path(&own);
    }
    let mut early = <sqlx::PgConnection as sqlx::Connection>::connect(url.as_str())
        .await
        .unwrap();
    // Its state of the database is from here on.
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM pg_class")
        .execute(&mut early)
        .await
        .unwrap();
    world.go_until(&acme, "eu", Done::CopyKept, false).await;
    let ask = format!("SELECT vestibule.require_unfenced('{}')", acme.id);
    let asked = sqlx::raw_sql(sqlx::AssertSqlSafe(ask))
        .execute(&mut early)
        .await;
    let code = asked
        .unwrap_err()
        .as_database_error()
        .and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("VB001"));
    drop(early);
    world.go(&acme, "eu").await;
    world.add(&acme, "let in").await.unwrap();
}
in_each_tenancy!(old_states_do_not_pass);

/// A migration does not slip between: it comes before or after, or says that it must be run again.
async fn migrations_beside(tenancy: Tenancy) {
    use super::world::TABLES;
    let world = World::new(tenancy).await;
    let acme = world.full_account("acme").await;
    let all = [(1, TABLES), (2, "ALTER TABLE notes ADD COLUMN mark TEXT")];
    let migrations = super::super::migrator(&all);
    world.go_until(&acme, "eu", Done::SourceFenced, false).await;
    let migrated = world.owned.migrate_tenants(&migrations).await;
    if tenancy == Tenancy::Row {
        // Of the tables, no one account is the owner.
        migrated.unwrap();
    } else {
        let error = migrated.unwrap_err().to_string();
        assert!(error.contains("is being moved"), "{error}");
    }
    world.go(&acme, "eu").await;
    world.owned.migrate_tenants(&migrations).await.unwrap();
    let session = world.session(&acme);
    let marked = session.query("UPDATE notes SET mark = 'x'");
    assert_eq!(marked.execute().await.unwrap(), 2);
}
in_each_tenancy!(migrations_beside);
