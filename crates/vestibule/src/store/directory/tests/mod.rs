//! What a directory does, whatever database it is in: a backend only says how it is opened.

mod cut_offs;
mod database;
mod imports;
mod plans;
mod sqlite_alone;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use self::cut_offs::{
    cut_offs_only_grow_until_nothing_can_match_them, cut_offs_reach_other_processes_as_they_are,
};
use self::database::PostgresLogin;
pub(crate) use self::database::{Database, postgres_settings};
use self::imports::{
    imported_clients, imported_users, imported_users_who_were_removed,
    imports_are_heard_by_other_processes, imports_that_cannot_be,
    parallel_imports_make_each_user_once,
};
use super::Directory;
use crate::{
    clock::Timestamp,
    store::{Account, Change, KeptFact, NewUser, Page, Profile, Provisioned, Status, StoreError},
};

pub(crate) async fn account(directory: &Directory, tenant: &'static str) -> Account {
    directory
        .write(move |writing| Box::pin(writing.insert_account("Some name", tenant, Status::Active)))
        .await
        .unwrap()
}

fn person(account: &Account, subject: &str) -> NewUser {
    NewUser {
        account_id: account.id,
        provider: "authress".to_owned(),
        subject: subject.to_owned(),
        profile: Profile {
            email: Some("ada@acme.example".to_owned()),
            name: Some("Ada".to_owned()),
            picture: None,
        },
    }
}

fn first(limit: u16) -> Page {
    Page {
        limit,
        cursor: None,
    }
}

/// What a watch heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Change>>>);

impl Heard {
    fn listener(&self) -> impl Fn(&Change) + Send + Sync + 'static {
        let heard = self.clone();
        move |change| heard.0.lock().unwrap().push(change.clone())
    }

    fn all(&self) -> Vec<Change> {
        self.0.lock().unwrap().clone()
    }

    /// How long it took until the change was heard.
    async fn hears(&self, change: &Change) -> Duration {
        let start = Instant::now();
        while !self.all().contains(change) {
            assert!(start.elapsed() < Duration::from_secs(5), "{change:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }
}

/// Every case runs against every backend.
macro_rules! directory_suite {
    ($($case:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Database::new()).await;
            })+
        }

        mod postgres {
            use super::PostgresLogin::{Functions, Owner};

            $(mod $case {
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn as_owner() {
                    let database = super::super::Database::on_postgres(super::Owner).await;
                    super::super::$case(database).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn through_functions() {
                    let database = super::super::Database::on_postgres(super::Functions).await;
                    super::super::$case(database).await;
                }
            })+
        }
    };
}

directory_suite! {
    accounts_have_one_tenant_each
    accounts_are_listed_in_pages
    accounts_change_and_go_with_all_that_is_theirs
    clients_belong_to_one_account
    parallel_first_visits_make_one_user
    a_user_who_returns_is_the_same_user
    a_user_who_returns_elsewhere_is_new_but_stays_suspended
    a_gone_or_suspended_account_takes_nobody
    users_are_seen_by_their_own_account_only
    roles_and_profiles
    facts_are_kept_newest_first
    cut_offs_only_grow_until_nothing_can_match_them
    cut_offs_reach_other_processes_as_they_are
    imported_users
    imports_that_cannot_be
    imported_users_who_were_removed
    imported_clients
    parallel_imports_make_each_user_once
    imports_are_heard_by_other_processes
    a_directory_has_one_provider
    changes_reach_other_processes_within_a_second
    own_changes_are_heard_at_once
    a_broken_off_write_leaves_nothing_behind
    a_caller_who_goes_away_does_not_undo_a_write
    parallel_opening
}

async fn accounts_have_one_tenant_each(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    assert_eq!(acme.id.get_version_num(), 7);
    assert_eq!(acme.status, Status::Active);
    let again = directory
        .write(|writing| Box::pin(writing.insert_account("Other", "tenant_acme", Status::Active)))
        .await;
    assert!(
        matches!(&again, Err(StoreError::AlreadyExists(what)) if what.contains("tenant_acme")),
        "{again:?}"
    );
    for (name, tenant) in [
        ("", "tenant_b"),
        ("B\n", "tenant_b"),
        ("B", "tenant b"),
        ("B", ".."),
    ] {
        let refused = directory
            .write(move |writing| Box::pin(writing.insert_account(name, tenant, Status::Active)))
            .await;
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{name:?} {tenant:?}"
        );
    }
    assert_eq!(
        directory.account(acme.id).await.unwrap(),
        Some(acme.clone())
    );
    let found = directory.find_account_by_tenant("tenant_acme").await;
    assert_eq!(found.unwrap(), Some(acme.clone()));
    // Compared byte for byte.
    let other = directory.find_account_by_tenant("Tenant_acme").await;
    assert_eq!(other.unwrap(), None);
    let created = directory.account_created_at(acme.id).await.unwrap();
    assert_eq!(created, Timestamp::from_secs(1_750_000_000));
}

async fn accounts_are_listed_in_pages(database: Database) {
    let directory = database.open().await;
    let tenants = ["t1", "t2", "t3", "t4", "t5"];
    for tenant in tenants {
        account(&directory, tenant).await;
    }
    let mut seen = Vec::new();
    let mut page = first(2);
    loop {
        let part = directory.accounts(&page).await.unwrap();
        assert!(part.items.len() <= 2);
        seen.extend(
            part.items
                .into_iter()
                .map(|account| account.authress_tenant_id),
        );
        match part.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, tenants);
    page.cursor = Some("nonsense".to_owned());
    let refused = directory.accounts(&page).await;
    assert!(matches!(refused, Err(StoreError::BadCursor)));
}

async fn accounts_change_and_go_with_all_that_is_theirs(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    assert_eq!(
        directory
            .rename_account(acme.id, "Acme")
            .await
            .unwrap()
            .name,
        "Acme"
    );
    let refused = directory.rename_account(acme.id, "").await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    let suspended = directory.suspend_account(acme.id).await.unwrap();
    assert_eq!(suspended.status, Status::Suspended);
    let resumed = directory.resume_account(acme.id).await.unwrap();
    assert_eq!(
        (resumed.status, resumed.name.as_str()),
        (Status::Active, "Acme")
    );
    for account in [&acme, &bolt] {
        let subject = format!("user_of_{}", account.authress_tenant_id);
        directory
            .provision_user(&person(account, &subject))
            .await
            .unwrap();
        let client = format!("sc_{}", account.authress_tenant_id);
        directory
            .add_client(account.id, &client, "CI", &[])
            .await
            .unwrap();
    }
    let id = acme.id;
    directory
        .write(move |writing| Box::pin(writing.delete_account(id)))
        .await
        .unwrap();
    assert_eq!(directory.account(acme.id).await.unwrap(), None);
    let gone = directory.find_user("authress", "user_of_tenant_acme").await;
    assert_eq!(gone.unwrap(), None);
    assert_eq!(directory.find_client("sc_tenant_acme").await.unwrap(), None);
    let other = directory.find_user("authress", "user_of_tenant_bolt").await;
    assert!(other.unwrap().is_some());
    assert!(
        directory
            .find_client("sc_tenant_bolt")
            .await
            .unwrap()
            .is_some()
    );
    let nobody = Uuid::from_u128(7);
    assert!(matches!(
        directory.suspend_account(nobody).await,
        Err(StoreError::NotFound(_))
    ));
    let gone = directory
        .write(move |writing| Box::pin(writing.delete_account(nobody)))
        .await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}

async fn clients_belong_to_one_account(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    let scopes = ["notes:read".to_owned(), "notes:write".to_owned()];
    let added = directory
        .add_client(acme.id, "sc_robot01", "CI robot", &scopes)
        .await
        .unwrap();
    assert_eq!(added.scopes, scopes);
    let found = directory.find_client("sc_robot01").await.unwrap();
    assert_eq!(found, Some((added.clone(), acme.clone())));
    let again = directory
        .add_client(bolt.id, "sc_robot01", "CI robot", &[])
        .await;
    assert!(
        matches!(again, Err(StoreError::AlreadyExists(_))),
        "{again:?}"
    );
    let nowhere = directory
        .add_client(Uuid::from_u128(7), "sc_robot02", "CI robot", &[])
        .await;
    assert!(
        matches!(nowhere, Err(StoreError::NotFound(_))),
        "{nowhere:?}"
    );
    for (client_id, name, scope) in [
        ("sc robot", "CI", "a"),
        ("sc_robot03", "", "a"),
        ("sc_robot03", "CI", "a b"),
    ] {
        let refused = directory
            .add_client(acme.id, client_id, name, &[scope.to_owned()])
            .await;
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{refused:?}"
        );
    }
    let suspended = directory.suspend_client("sc_robot01").await.unwrap();
    assert_eq!(suspended.status, Status::Suspended);
    assert_eq!(suspended.scopes, scopes);
    let resumed = directory.resume_client("sc_robot01").await.unwrap();
    assert_eq!(resumed, added);
    let page = directory.clients(acme.id, &first(10)).await.unwrap();
    assert_eq!(page.items, [added]);
    assert!(
        directory
            .clients(bolt.id, &first(10))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    directory.remove_client("sc_robot01").await.unwrap();
    assert_eq!(directory.find_client("sc_robot01").await.unwrap(), None);
    assert!(matches!(
        directory.remove_client("sc_robot01").await,
        Err(StoreError::NotFound(_))
    ));
    // Free again, for whichever account.
    directory
        .add_client(bolt.id, "sc_robot01", "CI", &[])
        .await
        .unwrap();
}

async fn parallel_first_visits_make_one_user(database: Database) {
    let directories = [database.open().await, database.open().await];
    let acme = account(&directories[0], "tenant_acme").await;
    let mut visits = tokio::task::JoinSet::new();
    for visit in 0..200 {
        let directory = directories[visit % 2].clone();
        let new = person(&acme, "user_ada");
        visits.spawn(async move { directory.provision_user(&new).await });
    }
    let visits: Vec<Provisioned> = visits
        .join_all()
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(visits.iter().filter(|visit| visit.created).count(), 1);
    assert!(visits.iter().all(|visit| visit.user == visits[0].user));
    let users = directories[1].users(acme.id, &first(10)).await.unwrap();
    assert_eq!(users.items, [visits[0].user.clone()]);
}

async fn a_user_who_returns_is_the_same_user(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let ada = directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap()
        .user;
    directory.set_user_role(ada.id, "admin").await.unwrap();
    directory.suspend_user(ada.id).await.unwrap();
    directory.remove_user(ada.id).await.unwrap();
    assert_eq!(directory.user(ada.id).await.unwrap(), None);
    assert_eq!(
        directory.find_user("authress", "user_ada").await.unwrap(),
        None
    );
    assert!(
        directory
            .users(acme.id, &first(10))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    for refused in [
        directory.resume_user(ada.id).await.err(),
        directory.set_user_role(ada.id, "owner").await.err(),
        directory.remove_user(ada.id).await.err(),
    ] {
        assert!(
            matches!(refused, Some(StoreError::NotFound(_))),
            "{refused:?}"
        );
    }
    let back = directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap();
    assert!(back.created);
    assert_eq!(back.user.id, ada.id);
    assert_eq!(back.user.role, "admin");
    assert_eq!(back.user.status, Status::Suspended);
    assert_eq!(back.user.name.as_deref(), Some("Ada"));
}

async fn a_user_who_returns_elsewhere_is_new_but_stays_suspended(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    for (subject, suspended) in [("user_ada", true), ("user_bob", false)] {
        let user = directory
            .provision_user(&person(&acme, subject))
            .await
            .unwrap()
            .user;
        directory.set_user_role(user.id, "admin").await.unwrap();
        if suspended {
            directory.suspend_user(user.id).await.unwrap();
        }
        directory.remove_user(user.id).await.unwrap();
        let back = directory
            .provision_user(&person(&bolt, subject))
            .await
            .unwrap();
        assert!(back.created);
        assert_ne!(back.user.id, user.id);
        assert_eq!(back.user.role, "member");
        assert_eq!(back.user.status == Status::Suspended, suspended);
        assert_eq!(back.user.account_id, bolt.id);
        let (found, account) = directory
            .find_user("authress", subject)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((found, account), (back.user, bolt.clone()));
    }
    // Somebody who is there is never moved.
    let stays = directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap();
    assert!(!stays.created);
    assert_eq!(stays.user.account_id, bolt.id);
}

async fn a_gone_or_suspended_account_takes_nobody(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    directory.suspend_account(acme.id).await.unwrap();
    let refused = directory.provision_user(&person(&acme, "user_ada")).await;
    assert!(
        matches!(refused, Err(StoreError::NotFound(_))),
        "{refused:?}"
    );
    let nowhere = Account {
        id: Uuid::from_u128(7),
        ..acme
    };
    let refused = directory
        .provision_user(&person(&nowhere, "user_ada"))
        .await;
    assert!(
        matches!(refused, Err(StoreError::NotFound(_))),
        "{refused:?}"
    );
}

async fn users_are_seen_by_their_own_account_only(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    let ada = directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap()
        .user;
    let bob = directory
        .provision_user(&person(&bolt, "user_bob"))
        .await
        .unwrap()
        .user;
    let users = directory.users_of(acme.id);
    assert_eq!(users.get(ada.id).await.unwrap(), Some(ada.clone()));
    assert_eq!(users.get(bob.id).await.unwrap(), None);
    assert_eq!(users.list(&first(10)).await.unwrap().items, [ada]);
}

async fn roles_and_profiles(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let ada = directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap()
        .user;
    assert_eq!((ada.role.as_str(), ada.status), ("member", Status::Active));
    assert_eq!(
        directory.set_user_role(ada.id, "admin").await.unwrap().role,
        "admin"
    );
    let refused = directory.set_user_role(ada.id, "Admin!").await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    let fresh = Profile {
        email: None,
        name: Some("Ada L.".to_owned()),
        picture: Some("https://acme.example/ada.png".to_owned()),
    };
    directory.refresh_profile(ada.id, &fresh).await.unwrap();
    let user = directory.user(ada.id).await.unwrap().unwrap();
    assert_eq!(
        (user.email, user.name, user.picture),
        (fresh.email, fresh.name, fresh.picture)
    );
    assert_eq!(user.role, "admin");
}

async fn facts_are_kept_newest_first(database: Database) {
    let directory = database.open().await;
    let fact = |body: &str, secs| KeptFact {
        body: body.as_bytes().to_vec(),
        fetched_at: Timestamp::from_secs(secs),
        proof: vec![1, 2, 3],
    };
    assert_eq!(directory.kept_fact("user", "a").await.unwrap(), None);
    directory
        .keep_fact("user", "a", &fact("one", 10))
        .await
        .unwrap();
    directory
        .keep_fact("jwks", "a", &fact("keys", 10))
        .await
        .unwrap();
    directory
        .keep_fact("user", "a", &fact("older", 9))
        .await
        .unwrap();
    assert_eq!(
        directory.kept_fact("user", "a").await.unwrap(),
        Some(fact("one", 10))
    );
    directory
        .keep_fact("user", "a", &fact("two", 11))
        .await
        .unwrap();
    assert_eq!(
        directory.kept_fact("user", "a").await.unwrap(),
        Some(fact("two", 11))
    );
    directory.forget_fact("user", "a").await.unwrap();
    assert_eq!(directory.kept_fact("user", "a").await.unwrap(), None);
    assert_eq!(
        directory.kept_fact("jwks", "a").await.unwrap(),
        Some(fact("keys", 10))
    );
    let forgotten = directory
        .forget_facts_before(Timestamp::from_secs(11))
        .await;
    assert_eq!(forgotten.unwrap(), 1);
}

async fn a_directory_has_one_provider(database: Database) {
    let directory = database.open().await;
    directory
        .bind_provider("https://one.example", false)
        .await
        .unwrap();
    directory
        .bind_provider("https://one.example", false)
        .await
        .unwrap();
    let refused = directory.bind_provider("https://two.example", false).await;
    let Err(StoreError::Refused(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("https://one.example") && text.contains("https://two.example"));
    let fact = KeptFact {
        body: vec![],
        fetched_at: Timestamp::from_secs(1),
        proof: vec![],
    };
    directory.keep_fact("jwks", "a", &fact).await.unwrap();
    directory
        .bind_provider("https://two.example", true)
        .await
        .unwrap();
    assert_eq!(directory.kept_fact("jwks", "a").await.unwrap(), None);
    let bound = database.open().await.provider().await.unwrap();
    assert_eq!(bound.as_deref(), Some("https://two.example"));
}

async fn changes_reach_other_processes_within_a_second(database: Database) {
    let here = database.open().await;
    let there = database.open().await;
    let acme = account(&there, "tenant_acme").await;
    let heard = Heard::default();
    let _watch = here.watch(heard.listener()).await.unwrap();
    let user_ada = Change::User {
        provider: "authress".to_owned(),
        subject: "user_ada".to_owned(),
    };
    let robot = Change::Client("sc_robot01".to_owned());
    let expect = async |change: &Change| {
        let waited = heard.hears(change).await;
        assert!(
            waited < Duration::from_secs(1),
            "{change:?} took {waited:?}"
        );
        heard.0.lock().unwrap().clear();
    };
    let ada = there
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap()
        .user;
    expect(&user_ada).await;
    there
        .refresh_profile(ada.id, &Profile::default())
        .await
        .unwrap();
    expect(&user_ada).await;
    there.set_user_role(ada.id, "admin").await.unwrap();
    expect(&user_ada).await;
    there.suspend_user(ada.id).await.unwrap();
    expect(&user_ada).await;
    there.resume_user(ada.id).await.unwrap();
    expect(&user_ada).await;
    there.remove_user(ada.id).await.unwrap();
    expect(&user_ada).await;
    there
        .add_client(acme.id, "sc_robot01", "CI", &[])
        .await
        .unwrap();
    expect(&robot).await;
    there.suspend_client("sc_robot01").await.unwrap();
    expect(&robot).await;
    there.remove_client("sc_robot01").await.unwrap();
    expect(&robot).await;
    there.rename_account(acme.id, "Acme").await.unwrap();
    expect(&Change::Account(acme.id)).await;
    there.suspend_account(acme.id).await.unwrap();
    expect(&Change::Account(acme.id)).await;
    let bolt = account(&there, "tenant_bolt").await;
    expect(&Change::Account(bolt.id)).await;
    let id = bolt.id;
    there
        .write(move |writing| Box::pin(writing.delete_account(id)))
        .await
        .unwrap();
    expect(&Change::Account(bolt.id)).await;
    // What is no change of these says nothing.
    there
        .bind_provider("https://one.example", false)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(heard.all(), []);
    database.clock.advance(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(here.last_confirmed(), Timestamp::from_secs(1_750_000_060));
}

async fn own_changes_are_heard_at_once(database: Database) {
    let directory = database.open().await;
    let heard = Heard::default();
    let watch = directory.watch(heard.listener()).await.unwrap();
    let acme = account(&directory, "tenant_acme").await;
    // Once more where its row was read already.
    let own = |change: &Change| *change == Change::Account(acme.id);
    assert!(!heard.all().is_empty() && heard.all().iter().all(own));
    drop(watch);
    account(&directory, "tenant_bolt").await;
    assert!(heard.all().iter().all(own));
}

async fn a_broken_off_write_leaves_nothing_behind(database: Database) {
    let directory = database.open().await;
    let heard = Heard::default();
    let _watch = directory.watch(heard.listener()).await.unwrap();
    let failed = directory
        .write(|writing| {
            Box::pin(async move {
                writing
                    .insert_account("Acme", "tenant_acme", Status::Active)
                    .await?;
                Err::<(), _>(StoreError::NotFound("something".to_owned()))
            })
        })
        .await;
    assert!(matches!(failed, Err(StoreError::NotFound(_))));
    let panicked = directory
        .write::<(), _>(|writing| {
            Box::pin(async move {
                writing
                    .insert_account("Acme", "tenant_acme", Status::Active)
                    .await?;
                panic!("inside a transaction");
            })
        })
        .await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))));
    let too_slow = directory
        .write_within(Duration::from_millis(50), |writing| {
            Box::pin(async move {
                writing
                    .insert_account("Acme", "tenant_acme", Status::Active)
                    .await?;
                tokio::time::sleep(Duration::from_secs(30)).await;
                Ok(())
            })
        })
        .await;
    assert!(matches!(too_slow, Err(StoreError::Unavailable(_))));
    let found = directory.find_account_by_tenant("tenant_acme").await;
    assert_eq!(found.unwrap(), None);
    // The lock is free and the connections are whole.
    account(&directory, "tenant_acme").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        heard
            .all()
            .iter()
            .all(|change| matches!(change, Change::Account(_)))
    );
}

async fn a_caller_who_goes_away_does_not_undo_a_write(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    for wait in 0..40 {
        let new = person(&acme, &format!("user_{wait}"));
        let visit = directory.provision_user(&new);
        let _ = tokio::time::timeout(Duration::from_micros(wait * 50), visit).await;
    }
    // Whatever was begun is whole or nothing, and the next writer is not held up.
    let start = Instant::now();
    directory
        .provision_user(&person(&acme, "user_ada"))
        .await
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    directory.ping().await.unwrap();
}

async fn parallel_opening(database: Database) {
    let mut openings = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let settings = database.settings();
        let clock = Arc::new(database.clock.clone());
        openings.spawn(async move { Directory::open(&settings, clock).await });
    }
    for opened in openings.join_all().await {
        opened.unwrap().ping().await.unwrap();
    }
}
