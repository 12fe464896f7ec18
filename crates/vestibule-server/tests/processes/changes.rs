//! Changes by the command line take effect on every running server within a second.

use std::time::Duration;

use serde_json::Value;
use vestibule_sandbox::Endpoint;

use crate::{
    support::Running,
    world::{Answer, World, eventually},
};

const BOUND: Duration = Duration::from_secs(1);

/// Two servers on one database, and callers whom both know.
struct Two {
    world: World,
    servers: [Running; 2],
}

impl Two {
    fn start(world: World) -> Self {
        let servers = [world.place.serve(), world.place.serve()];
        Self { world, servers }
    }

    /// Runs a command; from its end on, both servers must answer so within the bound.
    async fn changes(&self, command: &[&str], token: &str, expected: impl Fn(&Answer) -> bool) {
        let said = self.world.place.run(command);
        assert_eq!(said.code, 0, "{command:?}: {said:?}");
        let what = command.join(" ");
        eventually(BOUND, &what, async || {
            let mut all = true;
            for server in &self.servers {
                all &= expected(&self.world.me(server, token).await);
            }
            all
        })
        .await;
    }

    async fn refuses(&self, command: &[&str], token: &str, status: u16, code: &str) {
        self.changes(command, token, |answer| {
            (answer.status, answer.code()) == (status, code)
        })
        .await;
    }

    async fn admits(&self, command: &[&str], token: &str) {
        self.changes(command, token, |answer| answer.status == 200)
            .await;
    }

    async fn shows(&self, command: &[&str], token: &str, pointer: &str, value: &str) {
        self.changes(command, token, |answer| {
            answer.json().pointer(pointer) == Some(&Value::from(value))
        })
        .await;
    }

    async fn knows(&self, token: &str) -> Value {
        self.world.me(&self.servers[1], token).await.expect_ok();
        let me = self.world.me(&self.servers[0], token).await;
        me.expect_ok().json()["user"]["id"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_users_and_accounts() {
    let two = Two::start(World::new(&[]).await);
    let acme = two.world.acme.as_str();
    let (token, robot) = (two.world.user("user_ada"), two.world.robot("sc_robot01"));
    let grace = two.world.user("user_grace");
    let ada = two.knows(&token).await;
    let ada = ada.as_str().unwrap();
    two.knows(&robot).await;
    two.knows(&grace).await;

    let suspended = "user_suspended";
    two.refuses(&["user", "suspend", ada], &token, 403, suspended)
        .await;
    two.admits(&["user", "resume", ada], &token).await;
    let set_role = ["user", "set-role", ada, "owner"];
    two.shows(&set_role, &token, "/user/role", "owner").await;

    let suspend = ["account", "suspend", acme];
    two.refuses(&suspend, &token, 403, "account_suspended")
        .await;
    for server in &two.servers {
        // A server may have read Ada anew before it heard of the change: the robot has its own
        // second.
        eventually(BOUND, "the robot is refused", async || {
            two.world.me(server, &robot).await.code() == "account_suspended"
        })
        .await;
        two.world.me(server, &grace).await.expect_ok();
    }
    two.admits(&["account", "resume", acme], &token).await;
    two.admits(&["account", "show", acme], &robot).await;
    let rename = ["account", "rename", acme, "Acme & Sons"];
    two.shows(&rename, &token, "/account/name", "Acme & Sons")
        .await;

    // Role and status survive a user's return, and so does his id.
    two.refuses(&["user", "suspend", ada], &token, 403, suspended)
        .await;
    two.refuses(&["user", "remove", ada], &token, 403, suspended)
        .await;
    eventually(BOUND, "he is back, and still refused", async || {
        two.world
            .me(&two.servers[0], &token)
            .await
            .expect(403, suspended);
        two.world.place.run(&["user", "show", ada]).code == 0
    })
    .await;
    two.shows(&["user", "resume", ada], &token, "/user/role", "owner")
        .await;
    assert_eq!(two.knows(&token).await, ada);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_service_clients() {
    let two = Two::start(World::new(&[]).await);
    let acme = two.world.acme.as_str();
    let robot = two.world.robot("sc_robot01");
    let other = two.world.robot("sc_robot02");
    two.knows(&robot).await;
    two.knows(&other).await;
    let client = |verb: &'static str| ["client", verb, "sc_robot01"];
    two.refuses(&client("suspend"), &robot, 403, "client_suspended")
        .await;
    two.admits(&client("resume"), &robot).await;
    // Its token was verified before, so it may learn why; a new one is a stranger's.
    two.refuses(&client("remove"), &robot, 401, "unknown_client")
        .await;
    let asked = two.world.sandbox.calls(Endpoint::ClientJwks);
    let again = two.world.sandbox.client_token("sc_robot01");
    let again = again.claim("jti", 2).mint();
    for server in &two.servers {
        let refused = two.world.me(server, &again).await;
        refused.expect(401, "invalid_token");
        two.world.me(server, &other).await.expect_ok();
    }
    assert_eq!(two.world.sandbox.calls(Endpoint::ClientJwks), asked);
    let add = ["client", "add", "--client-id", "sc_robot01", "--name", "R"];
    let add = [&add[..], &["--account", acme, "--scope", "notes:read"]].concat();
    two.admits(&add, &robot).await;
    let me = two.world.me(&two.servers[1], &again).await.expect_ok();
    assert_eq!(
        me.json()["token"]["scopes"],
        serde_json::json!(["notes:read"])
    );
}

/// A refusal is remembered, but no longer than its cause lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_lets_its_people_in_at_once() {
    let world = World::new(&[]).await;
    let id = world.globex.clone();
    world.place.json(&["account", "delete", &id, "--yes"]);
    let two = Two::start(world);
    let grace = two.world.user("user_grace");
    for _ in 0..3 {
        for server in &two.servers {
            let refused = two.world.me(server, &grace).await;
            refused.expect(401, "unknown_account");
        }
    }
    assert!(two.world.sandbox.calls(Endpoint::User) <= 2);
    assert!(two.world.sandbox.calls(Endpoint::Tenant) <= 2);
    let create = ["account", "create", "--name", "Globex"];
    let create = [&create[..], &["--tenant", "tenant_globex"]].concat();
    two.admits(&create, &grace).await;

    // And a deleted one refuses them, its users with it.
    let accounts = two.world.place.json(&["account", "list"]);
    let items = accounts["items"].as_array().unwrap();
    let globex = items.iter().find(|account| account["name"] == "Globex");
    let globex = globex.unwrap()["id"].as_str().unwrap();
    assert_ne!(globex, id);
    let delete = ["account", "delete", globex, "--yes"];
    two.refuses(&delete, &grace, 401, "unknown_account").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_is_nobody() {
    let mut world = World::new(&[]).await;
    let token = world.user("user_ada");
    let server = world.place.serve();
    let me = world.me(&server, &token).await.expect_ok().json();
    let ada = me["user"]["id"].as_str().unwrap();
    drop(server);
    // Else his next request would make him anew.
    world.place.set("USER_PROVISIONING", "off");
    let two = Two::start(world);
    two.knows(&token).await;
    two.refuses(&["user", "remove", ada], &token, 401, "unknown_user")
        .await;
}
