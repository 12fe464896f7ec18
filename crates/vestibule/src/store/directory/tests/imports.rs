//! Many users or service clients at once.

use uuid::Uuid;

use super::{Database, Directory, Heard, account, first, person};
use crate::store::{
    Account, Change, Difference, IMPORT_LIMIT, Imported, ImportedClient, ImportedUser, Profile,
    Status, StoreError,
};

fn user(subject: &str) -> ImportedUser {
    ImportedUser {
        subject: subject.to_owned(),
        profile: Profile::default(),
        role: None,
        status: None,
    }
}

fn with_role(subject: &str, role: &str) -> ImportedUser {
    ImportedUser {
        role: Some(role.to_owned()),
        ..user(subject)
    }
}

fn client(id: &str, scopes: Option<&[&str]>) -> ImportedClient {
    ImportedClient {
        client_id: id.to_owned(),
        name: "Robot".to_owned(),
        scopes: scopes.map(|scopes| scopes.iter().map(|&it| it.to_owned()).collect()),
        status: None,
    }
}

fn differs(what: &'static str, here: &str, wanted: &str) -> Imported {
    Imported::Differs(vec![Difference::between(what, here, wanted).unwrap()])
}

/// What a preview says, and then an import, which must be the same.
async fn import(
    directory: &Directory,
    users: Vec<(Uuid, ImportedUser)>,
    update: bool,
) -> Vec<Imported> {
    let preview = directory.preview_users("authress", &users, update).await;
    let done = directory.import_users("authress", users, update).await;
    let done = done.unwrap();
    assert_eq!(preview.unwrap(), done);
    done
}

async fn subjects(directory: &Directory, account: &Account) -> Vec<String> {
    let page = directory.users(account.id, &first(200)).await.unwrap();
    let users = page.items.into_iter();
    users.map(|user| user.authress_user_id).collect()
}

pub(super) async fn imported_users(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    let made = import(
        &directory,
        vec![
            (acme.id, with_role("user_b", "owner")),
            (bolt.id, user("user_c")),
            (acme.id, user("user_a")),
        ],
        false,
    )
    .await;
    assert_eq!(made, [const { Imported::Created }; 3]);
    // In the order given.
    assert_eq!(subjects(&directory, &acme).await, ["user_b", "user_a"]);

    let mut suspended = user("user_a");
    suspended.status = Some(Status::Suspended);
    let users = vec![
        (acme.id, with_role("user_b", "owner")),
        (acme.id, suspended),
        (acme.id, with_role("user_c", "owner")),
        (acme.id, user("user_b")),
    ];
    let elsewhere = Imported::Elsewhere(bolt.id);
    let outcomes = import(&directory, users.clone(), false).await;
    assert_eq!(
        outcomes,
        [
            Imported::Unchanged,
            differs("status", "active", "suspended"),
            elsewhere.clone(),
            Imported::Unchanged,
        ]
    );
    let outcomes = import(&directory, users, true).await;
    assert_eq!(
        outcomes,
        [
            Imported::Unchanged,
            Imported::Changed,
            elsewhere,
            Imported::Unchanged
        ]
    );
    let found = directory.find_user("authress", "user_a").await.unwrap();
    assert_eq!(found.unwrap().0.status, Status::Suspended);
    let found = directory.find_user("authress", "user_c").await.unwrap();
    assert_eq!(found.unwrap().1, bolt);
}

pub(super) async fn imports_that_cannot_be(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let nobody = Uuid::from_u128(7);
    let users = vec![
        (nobody, user("user_a")),
        (acme.id, user("user_b")),
        // Twice in one: the first counts.
        (acme.id, with_role("user_b", "owner")),
    ];
    let outcomes = directory
        .import_users("authress", users, false)
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            Imported::NoAccount,
            Imported::Created,
            differs("role", "member", "owner"),
        ]
    );
    for wrong in [
        user(""),
        user("a\0"),
        with_role("a", "Owner"),
        ImportedUser {
            profile: Profile {
                name: Some("a\nb".to_owned()),
                ..Profile::default()
            },
            ..user("a")
        },
    ] {
        let users = vec![(acme.id, user("user_c")), (acme.id, wrong.clone())];
        let refused = directory.import_users("authress", users, false).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{wrong:?}");
    }
    for wrong in [client("sc a", None), client("sc_a", Some(&["a b"]))] {
        let clients = vec![(acme.id, client("sc_b", None)), (acme.id, wrong.clone())];
        let refused = directory.import_clients(clients, false).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{wrong:?}");
    }
    let many = vec![(acme.id, user("user_d")); IMPORT_LIMIT + 1];
    let refused = directory.import_users("authress", many, false).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    // Of what was refused, nothing is there.
    assert_eq!(subjects(&directory, &acme).await, ["user_b"]);
    assert_eq!(directory.find_client("sc_b").await.unwrap(), None);
    let none = directory.import_users("authress", Vec::new(), false).await;
    assert_eq!(none.unwrap(), []);
    let none = directory.import_clients(Vec::new(), false).await;
    assert_eq!(none.unwrap(), []);
}

pub(super) async fn imported_users_who_were_removed(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    let ada = directory.provision_user(&person(&acme, "user_ada")).await;
    let ada = ada.unwrap().user;
    directory.set_user_role(ada.id, "owner").await.unwrap();
    directory.suspend_user(ada.id).await.unwrap();
    directory.remove_user(ada.id).await.unwrap();
    let back = import(&directory, vec![(acme.id, user("user_ada"))], false).await;
    assert_eq!(back, [Imported::Created]);
    let found = directory.find_user("authress", "user_ada").await.unwrap();
    let (found, _) = found.unwrap();
    assert_eq!(
        (found.id, &*found.role, found.status),
        (ada.id, "owner", Status::Suspended)
    );

    directory.remove_user(ada.id).await.unwrap();
    let mut active = with_role("user_ada", "admin");
    active.status = Some(Status::Active);
    let elsewhere = vec![(bolt.id, active)];
    let refused = import(&directory, elsewhere.clone(), false).await;
    assert_eq!(refused, [differs("status", "suspended", "active")]);
    let back = import(&directory, elsewhere, true).await;
    assert_eq!(back, [Imported::Created]);
    let found = directory.find_user("authress", "user_ada").await.unwrap();
    let (found, home) = found.unwrap();
    assert_ne!(found.id, ada.id);
    assert_eq!((&*found.role, found.status), ("admin", Status::Active));
    assert_eq!(home, bolt);
}

pub(super) async fn imported_clients(database: Database) {
    let directory = database.open().await;
    let acme = account(&directory, "tenant_acme").await;
    let bolt = account(&directory, "tenant_bolt").await;
    let made = vec![
        (acme.id, client("sc_1", Some(&["b", "a", "b"]))),
        (bolt.id, client("sc_2", None)),
        (Uuid::from_u128(7), client("sc_3", None)),
    ];
    let made = directory.import_clients(made, false).await.unwrap();
    assert_eq!(
        made,
        [Imported::Created, Imported::Created, Imported::NoAccount]
    );
    let found = directory.find_client("sc_1").await.unwrap().unwrap();
    assert_eq!(found.0.scopes, ["b", "a"]);
    let again = vec![
        (acme.id, client("sc_1", Some(&["a", "b"]))),
        (bolt.id, client("sc_2", Some(&["a"]))),
        (bolt.id, client("sc_1", Some(&["c"]))),
    ];
    let elsewhere = Imported::Elsewhere(acme.id);
    for (update, outcome) in [
        (false, differs("scopes", "", "a")),
        (true, Imported::Changed),
    ] {
        let expected = [Imported::Unchanged, outcome, elsewhere.clone()];
        let preview = directory.preview_clients(&again, update).await;
        assert_eq!(preview.unwrap(), expected);
        let done = directory.import_clients(again.clone(), update).await;
        assert_eq!(done.unwrap(), expected);
    }
    let found = directory.find_client("sc_2").await.unwrap().unwrap();
    assert_eq!((found.0.scopes, found.1), (vec!["a".to_owned()], bolt));
}

/// Imports of the same users at the same time, and their first visits: each user once.
pub(super) async fn parallel_imports_make_each_user_once(database: Database) {
    const USERS: usize = 60;
    let directories = [database.open().await, database.open().await];
    let acme = account(&directories[0], "tenant_acme").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let directory = directories[number % 2].clone();
        let mut users: Vec<_> = (0..USERS)
            .map(|number| (acme.id, user(&format!("user_{number}"))))
            .collect();
        // Two orders, which must not make them wait for each other.
        if number % 2 == 0 {
            users.reverse();
        }
        tasks.spawn(async move {
            let outcomes = directory.import_users("authress", users, false).await;
            let outcomes = outcomes.unwrap();
            assert!(
                outcomes
                    .iter()
                    .all(|it| matches!(it, Imported::Created | Imported::Unchanged)),
                "{outcomes:?}"
            );
            let created = outcomes.iter().filter(|it| **it == Imported::Created);
            created.count()
        });
    }
    for number in (0..USERS).step_by(3) {
        let directory = directories[number % 2].clone();
        let new = person(&acme, &format!("user_{number}"));
        tasks.spawn(async move {
            let provisioned = directory.provision_user(&new).await.unwrap();
            usize::from(provisioned.created)
        });
    }
    let created = tasks.join_all().await;
    assert_eq!(created.into_iter().sum::<usize>(), USERS);
    assert_eq!(subjects(&directories[0], &acme).await.len(), USERS);
}

pub(super) async fn imports_are_heard_by_other_processes(database: Database) {
    let (writer, listener) = (database.open().await, database.open().await);
    let acme = account(&writer, "tenant_acme").await;
    let heard = Heard::default();
    let _watch = listener.watch(heard.listener()).await.unwrap();
    let users = (0..IMPORT_LIMIT)
        .map(|number| (acme.id, user(&format!("user_{number}"))))
        .collect();
    writer.import_users("authress", users, false).await.unwrap();
    let of = |number: usize| Change::User {
        provider: "authress".to_owned(),
        subject: format!("user_{number}"),
    };
    heard.hears(&of(IMPORT_LIMIT - 1)).await;
    // Each by its name, in the order in which it was made.
    let expected: Vec<_> = (0..IMPORT_LIMIT).map(of).collect();
    assert_eq!(heard.all(), expected);
    let clients = vec![
        (acme.id, client("sc_1", None)),
        (acme.id, client("sc_2", None)),
    ];
    writer.import_clients(clients, false).await.unwrap();
    for id in ["sc_1", "sc_2"] {
        heard.hears(&Change::Client(id.to_owned())).await;
    }
}
