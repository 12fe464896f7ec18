//! A change that one process makes reaches two others within a second: over a listener that hears
//! it, through a pooler that lets nobody listen, and where the listener's connection was lost or
//! hangs.

use std::{net::SocketAddr, time::Duration};

use vestibule::store::{NewUser, Profile, User};
use vestibule_testbed::{Link, Postgres};

use crate::world::{Answer, World, ask, within};

/// A change reaches every process within this.
const SOON: Duration = Duration::from_secs(1);

/// A change, and what everybody is answered from then on.
struct Row {
    name: &'static str,
    change: Change,
    who: Who,
    path: &'static str,
    seen: Seen,
}

#[derive(Clone, Copy)]
enum Change {
    NewUser,
    SetRole,
    SuspendUser,
    ResumeUser,
    RemoveUser,
    RenameAccount,
    SuspendAccount,
    ResumeAccount,
    NewClient,
    SuspendClient,
    ResumeClient,
    RemoveClient,
    Migrate,
}

#[derive(Clone, Copy)]
enum Who {
    Ada,
    Robot,
}

#[derive(Clone, Copy)]
enum Seen {
    /// Status 200, and this in the answer.
    Text(&'static str),
    Refused(u16, &'static str),
}

use Change::{
    Migrate, NewClient, NewUser as AddUser, RemoveClient, RemoveUser, RenameAccount, ResumeAccount,
    ResumeClient, ResumeUser, SetRole, SuspendAccount, SuspendClient, SuspendUser,
};
use Seen::{Refused, Text};
use Who::{Ada, Robot};

const fn row(name: &'static str, change: Change, who: Who, seen: Seen) -> Row {
    Row {
        name,
        change,
        who,
        path: "/me",
        seen,
    }
}

/// In this order: each begins where the one before it left everybody.
const ROWS: &[Row] = &[
    row("a new user", AddUser, Ada, Text("user_ada")),
    row("a role", SetRole, Ada, Text("\"owner\"")),
    row(
        "a suspended user",
        SuspendUser,
        Ada,
        Refused(403, "user_suspended"),
    ),
    row("a resumed user", ResumeUser, Ada, Text("\"owner\"")),
    row("a renamed account", RenameAccount, Ada, Text("Acme & Sons")),
    row("a new client", NewClient, Robot, Text("Acme & Sons")),
    row(
        "a suspended account",
        SuspendAccount,
        Ada,
        Refused(403, "account_suspended"),
    ),
    row(
        "a resumed account",
        ResumeAccount,
        Robot,
        Text("sc_robot01"),
    ),
    row(
        "a suspended client",
        SuspendClient,
        Robot,
        Refused(403, "client_suspended"),
    ),
    row("a resumed client", ResumeClient, Robot, Text("sc_robot01")),
    Row {
        name: "a migration",
        change: Migrate,
        who: Ada,
        path: "/tags",
        seen: Text("0"),
    },
    row(
        "a removed client",
        RemoveClient,
        Robot,
        Refused(401, "unknown_client"),
    ),
    row(
        "a removed user",
        RemoveUser,
        Ada,
        Refused(401, "unknown_user"),
    ),
];

/// Whom and what the rows are about.
struct Stage {
    world: World,
    servers: [SocketAddr; 2],
    ada: String,
    robot: String,
}

impl Stage {
    /// Two servers that reach the database directly.
    async fn direct() -> Self {
        Self::on(async |world: &World| world.serve().await).await
    }

    async fn through_pgbouncer() -> Self {
        let through = async |world: &World| {
            let route = world.database.through_pgbouncer();
            world.serve_through(&route).await
        };
        Self::on(through).await
    }

    async fn behind_a_link() -> (Self, Link) {
        let link = Link::to(Postgres::shared().address());
        let through = async |world: &World| {
            let route = world.database.through(link.address());
            world.serve_through(&route).await
        };
        (Self::on(through).await, link)
    }

    async fn on(serve: impl AsyncFn(&World) -> SocketAddr) -> Self {
        // Else a removed user's next request would make him anew.
        let off = [("USER_PROVISIONING", "off")];
        let world = World::new(Postgres::shared().database().await, &off).await;
        let stage = Self {
            ada: world.ada(),
            robot: world.sandbox.client_token("sc_robot01").mint(),
            servers: [serve(&world).await, serve(&world).await],
            world,
        };
        // What is not there yet is remembered, too.
        for at in stage.servers {
            assert_eq!(ask(at, "GET", "/me", &stage.ada).await.code, "unknown_user");
            assert_eq!(ask(at, "GET", "/me", &stage.robot).await.status, 401);
        }
        stage
    }

    async fn make(&self, change: Change) {
        let (owner, acme) = (&self.world.owner, self.world.acme.id);
        let robot = "sc_robot01";
        match change {
            AddUser => drop(owner.provision_user(&new_user(acme)).await.unwrap()),
            SetRole => drop(
                owner
                    .set_user_role(self.user().await.id, "owner")
                    .await
                    .unwrap(),
            ),
            SuspendUser => drop(owner.suspend_user(self.user().await.id).await.unwrap()),
            ResumeUser => drop(owner.resume_user(self.user().await.id).await.unwrap()),
            RemoveUser => owner.remove_user(self.user().await.id).await.unwrap(),
            RenameAccount => drop(owner.rename_account(acme, "Acme & Sons").await.unwrap()),
            SuspendAccount => drop(owner.suspend_account(acme).await.unwrap()),
            ResumeAccount => drop(owner.resume_account(acme).await.unwrap()),
            NewClient => drop(owner.add_client(acme, robot, "Robot", &[]).await.unwrap()),
            SuspendClient => drop(owner.suspend_client(robot).await.unwrap()),
            ResumeClient => drop(owner.resume_client(robot).await.unwrap()),
            RemoveClient => drop(owner.remove_client(robot).await.unwrap()),
            Migrate => {
                let later = sqlx::migrate!("tests/postgres/later");
                self.world.migrate(&later).await;
            }
        }
    }

    async fn user(&self) -> User {
        let found = self.world.owner.find_user("authress", "user_ada").await;
        found.unwrap().unwrap().0
    }

    async fn sees(&self, row: &Row) {
        let token = match row.who {
            Ada => &self.ada,
            Robot => &self.robot,
        };
        within(SOON, row.name, async || {
            for at in self.servers {
                if !row.seen.fits(&ask(at, "GET", row.path, token).await) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

impl Seen {
    fn fits(self, answer: &Answer) -> bool {
        match self {
            Text(text) => answer.status == 200 && answer.body.contains(text),
            Refused(status, code) => (answer.status, answer.code.as_str()) == (status, code),
        }
    }
}

fn new_user(account_id: uuid::Uuid) -> NewUser {
    NewUser {
        account_id,
        provider: "authress".to_owned(),
        subject: "user_ada".to_owned(),
        profile: Profile {
            email: None,
            name: None,
            picture: None,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reach_everybody_who_listens() {
    let stage = Stage::direct().await;
    for row in ROWS {
        stage.make(row.change).await;
        stage.sees(row).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reach_everybody_through_pgbouncer() {
    let stage = Stage::through_pgbouncer().await;
    for row in ROWS {
        stage.make(row.change).await;
        stage.sees(row).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reach_everybody_whose_listener_was_lost() {
    let stage = Stage::direct().await;
    let mut superuser = stage.world.superuser().await;
    for row in ROWS {
        let ended = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = $1 AND query LIKE '%vestibule.changes_from(%'",
        );
        let ended = ended.bind(stage.world.database.application());
        ended.execute(&mut superuser).await.unwrap();
        stage.make(row.change).await;
        stage.sees(row).await;
    }
}

/// The line of the listeners falls silent before each change, and nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reach_everybody_whose_listener_hangs() {
    let (stage, link) = Stage::behind_a_link().await;
    for row in ROWS {
        link.hang_listeners();
        stage.make(row.change).await;
        stage.sees(row).await;
    }
}

/// The whole line is silent for a moment: what happened meanwhile is heard when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reach_everybody_after_a_moment_of_silence() {
    let (stage, link) = Stage::behind_a_link().await;
    for row in ROWS.iter().take(6) {
        link.hang();
        stage.make(row.change).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        link.resume();
        stage.sees(row).await;
    }
}

/// Statements that were prepared before a migration changed their table go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_tables_break_no_request() {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    for at in [
        world.serve().await,
        world
            .serve_through(&world.database.through_pgbouncer())
            .await,
    ] {
        let ada = world.ada();
        let ask_all = async || {
            // Several at once, for several connections.
            let asking = (0..8).map(|_| ask(at, "GET", "/notes/all", &ada));
            for answer in futures_util::future::join_all(asking).await {
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        };
        ask_all().await;
        let table = "ALTER TABLE vestibule_tenants.notes ADD COLUMN tag_";
        let number = uuid::Uuid::now_v7().simple();
        let sql = sqlx::AssertSqlSafe(format!("{table}{number} TEXT"));
        let mut superuser = world.superuser().await;
        sqlx::raw_sql(sql).execute(&mut superuser).await.unwrap();
        ask_all().await;
    }
}
