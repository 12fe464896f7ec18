//! `import`: what it takes, what it refuses by line, and that it may be broken off anywhere.
//!
//! Each case runs on SQLite and on PostgreSQL.

use std::{fmt::Write as _, fs, os::unix::process::ExitStatusExt as _, time::Duration};

use serde_json::{Value, json};
use vestibule_sandbox::{Client, Sandbox, User};
use vestibule_testbed::Postgres;

use crate::world::{Answer, eventually, http};

#[macro_use]
mod ground;
mod refused;

use self::ground::{Ground, counts, expect, problems};

on_both! {
    json_lines
    csv
    a_dry_run_changes_nothing
    what_differs_is_named_and_changed_only_when_told
    what_was_removed_comes_back
    an_export_is_taken
    clients_are_looked_up
    killed_and_run_again
    servers_hear_of_it
    it_stands_in_the_activity
}

const WORLD: &str = r#"
{"kind":"user","tenant":"tenant_acme","authress_user_id":"user_ada","email":"ada@acme.example","name":"Ada","role":"owner"}
{"kind":"account","name":"Acme","tenant":"tenant_acme"}
{"kind":"account","name":"Globex","tenant":"tenant_globex","status":"suspended"}

{"kind":"client","tenant":"tenant_acme","client_id":"sc_robot01","name":"Robot","scopes":["notes:read","notes:write"]}
{"kind":"service_client","tenant":"tenant_globex","client_id":"sc_robot02","name":"Robot","scopes":"notes:read","status":"suspended"}
{"kind":"user","tenant":"tenant_globex","authress_user_id":"user_grace","status":"suspended","email":null,"name":""}
"#;

async fn json_lines(ground: Ground) {
    let report = ground.takes("world.jsonl", WORLD, &[]);
    assert_eq!(
        report,
        json!({
            "accounts": counts(2, 0, 0),
            "users": counts(2, 0, 0),
            "clients": counts(2, 0, 0),
            "rows_left_out": 0,
            "problems": [],
            "further_problems": 0,
            "dry_run": false,
            "done": true,
        })
    );
    let (acme, globex) = (
        ground.account("tenant_acme"),
        ground.account("tenant_globex"),
    );
    assert_eq!(
        (&acme["name"], &acme["status"]),
        (&json!("Acme"), &json!("active"))
    );
    assert_eq!(globex["status"], "suspended");
    let ada = ground.users(acme["id"].as_str().unwrap())[0].take();
    assert_eq!(ada["authress_user_id"], "user_ada");
    assert_eq!(ada["email"], "ada@acme.example");
    assert_eq!(
        (&ada["role"], &ada["status"]),
        (&json!("owner"), &json!("active"))
    );
    let grace = ground.users(globex["id"].as_str().unwrap())[0].take();
    assert_eq!(
        (&grace["role"], &grace["status"]),
        (&json!("member"), &json!("suspended"))
    );
    assert_eq!(
        (&grace["email"], &grace["name"]),
        (&Value::Null, &Value::Null)
    );
    let clients = ground.place.json(&["client", "list"]);
    let robots = clients["items"].as_array().unwrap();
    let robot = |id: &str| robots.iter().find(|it| it["client_id"] == id).unwrap();
    let one = robot("sc_robot01");
    assert_eq!(one["scopes"], json!(["notes:read", "notes:write"]));
    assert_eq!(one["account_id"], acme["id"]);
    let other = robot("sc_robot02");
    assert_eq!(
        (&other["status"], &other["scopes"]),
        (&json!("suspended"), &json!(["notes:read"]))
    );

    // Again: from standard input, and nothing is left to do.
    let all = ground.all();
    let again = ["import", "-", "--format", "jsonl", "--json"];
    let said = ground.place.run_with(&again, WORLD);
    let report = said.json();
    assert_eq!(
        (said.code, &report["users"]),
        (0, &counts(0, 0, 2)),
        "{said:?}"
    );
    assert_eq!(report["accounts"], counts(0, 0, 2));
    assert_eq!(report["clients"], counts(0, 0, 2));
    assert_eq!(ground.all(), all);
    let said = ground.place.run(&["import", "world.jsonl"]);
    assert!(said.stdout.contains("UNCHANGED\n"), "{said:?}");
    ground.end().await;
}

async fn csv(ground: Ground) {
    let accounts = "\u{feff}tenant,name,status\r\ntenant_acme,\"Acme, \"\"the\"\" one\",\r\n\r\n\
                    tenant_globex,Globex,suspended\r\n";
    let report = ground.takes("accounts.csv", accounts, &["--kind", "accounts"]);
    assert_eq!(report["accounts"], counts(2, 0, 0));
    let acme = ground.account("tenant_acme");
    assert_eq!(acme["name"], "Acme, \"the\" one");
    let id = acme["id"].as_str().unwrap();
    let users = format!(
        "role,authress_user_id,account_id,tenant,email\n\
         owner,user_ada,{id},,ada@acme.example\n\
         ,user_alan,,tenant_acme,\n\
         admin,user_both,{id},tenant_acme,"
    );
    let report = ground.takes("users.csv", &users, &["--kind", "users"]);
    assert_eq!(report["users"], counts(3, 0, 0));
    let listed = ground.users(id);
    let roles: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["role"])
        .collect();
    assert_eq!(roles, ["owner", "member", "admin"]);
    assert_eq!(listed[0]["email"], "ada@acme.example");
    assert_eq!(listed[1]["email"], Value::Null);
    let clients =
        "tenant,client_id,name,scopes\ntenant_acme,sc_robot01,Robot,notes:read  notes:write\n";
    let arguments = ["--kind", "clients", "--format", "csv"];
    let report = ground.takes("clients.txt", clients, &arguments);
    assert_eq!(report["clients"], counts(1, 0, 0));
    let clients = ground.place.json(&["client", "list"]);
    assert_eq!(
        clients["items"][0]["scopes"],
        json!(["notes:read", "notes:write"])
    );
    // An empty cell says nothing, so that it is no other value.
    let report = ground.takes("users.csv", &users, &["--kind", "users"]);
    assert_eq!(report["users"], counts(0, 0, 3));

    for (content, problem) in [
        ("tenant;name\na;b\n", "1: column 1 is none of"),
        ("tenant,rank\na,b\n", "1: column 2 is none of"),
        (
            "tenant,name,tenant\n",
            "1: the column `tenant` is there twice",
        ),
        ("\"tenant,name\na,b\n", "1: has a quote that is not closed"),
    ] {
        let refused = ground.refuses("bad.csv", content, &["--kind", "accounts"]);
        expect(&refused, &[problem]);
        assert!(
            refused[0].ends_with("no line after it was read"),
            "{refused:?}"
        );
    }
    ground.end().await;
}

async fn a_dry_run_changes_nothing(ground: Ground) {
    ground.place.account("Acme", "tenant_acme");
    let before = (ground.all(), ground.count("changes").await);
    let report = ground.takes("world.jsonl", WORLD, &["--dry-run"]);
    assert_eq!(report["dry_run"], true);
    assert_eq!(report["done"], false);
    assert_eq!((ground.all(), ground.count("changes").await), before);
    let done = ground.takes("world.jsonl", WORLD, &[]);
    for kind in ["accounts", "users", "clients"] {
        assert_eq!(report[kind], done[kind], "{kind}");
    }
    assert_eq!(done["accounts"], counts(1, 0, 1));
    // What is wrong is found without doing anything, and by the same words.
    let wrong = format!(
        "{WORLD}{{\"kind\":\"user\",\"tenant\":\"tenant_none\",\"authress_user_id\":\"a\"}}"
    );
    let dry = ground.import("wrong.jsonl", &wrong, &["--dry-run"]);
    assert_eq!(dry.code, 1, "{dry:?}");
    expect(&problems(&dry.json()), &["9: its tenant has no account"]);
    assert_eq!(
        problems(&dry.json()),
        ground.refuses("wrong.jsonl", &wrong, &[])
    );
    let text = ground.place.run(&["import", "wrong.jsonl", "--dry-run"]);
    assert!(text.stdout.contains("line 9: its tenant"), "{text:?}");
    assert!(
        text.stdout
            .contains("This was a dry run: nothing was changed."),
        "{text:?}"
    );
    ground.end().await;
}

async fn what_differs_is_named_and_changed_only_when_told(ground: Ground) {
    ground.takes("world.jsonl", WORLD, &[]);
    let other = r#"{"kind":"account","name":"Acme \u001b[31mInc.","tenant":"tenant_acme","status":"suspended"}
{"kind":"user","tenant":"tenant_acme","authress_user_id":"user_ada","role":"member","status":"suspended","name":"Another"}
{"kind":"client","tenant":"tenant_acme","client_id":"sc_robot01","name":"Robot","scopes":["notes:write","notes:read"]}
{"kind":"client","tenant":"tenant_globex","client_id":"sc_robot02","name":"Robot 2","scopes":[],"status":"active"}
"#;
    // A name cannot have it, whoever says so.
    let refused = ground.refuses("other.jsonl", other, &["--update"]);
    expect(&refused, &["1: a name is 1 to 256 characters"]);
    let other = other.replace("\\u001b[31m", "\\u202e");
    let refused = ground.refuses("other.jsonl", &other, &[]);
    expect(
        &refused,
        &[
            "1: is here already with name “Acme”, not “Acme \\u{202e}Inc.”, and status “active”, \
             not “suspended”; --update gives it the file's",
            "2: is here already with role “owner”, not “member”, and status “active”, not",
            "4: is here already with name “Robot”, not “Robot 2”, and scopes “notes:read”, not “”, \
             and status",
        ],
    );
    let report = ground.takes("other.jsonl", &other, &["--update"]);
    assert_eq!(report["accounts"], counts(0, 1, 0));
    assert_eq!(report["users"], counts(0, 1, 0));
    assert_eq!(report["clients"], counts(0, 1, 1));
    let acme = ground.account("tenant_acme");
    assert_eq!(acme["status"], "suspended");
    let ada = ground.users(acme["id"].as_str().unwrap())[0].take();
    assert_eq!(
        (&ada["role"], &ada["status"]),
        (&json!("member"), &json!("suspended"))
    );
    // Of whoever is here, the provider says it.
    assert_eq!(ada["name"], "Ada");
    let report = ground.takes("other.jsonl", &other, &[]);
    assert_eq!(report["users"], counts(0, 0, 1));
    ground.end().await;
}

async fn what_was_removed_comes_back(ground: Ground) {
    ground.takes("world.jsonl", WORLD, &[]);
    let (acme, globex) = (ground.id_of("tenant_acme"), ground.id_of("tenant_globex"));
    let ada = ground.users(&acme)[0]["id"].as_str().unwrap().to_owned();
    ground.place.json(&["user", "suspend", &ada]);
    ground.place.json(&["user", "remove", &ada]);
    // Where he was, he is who he was.
    let line =
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"user_ada","name":"Ada"}"#;
    let report = ground.takes("back.jsonl", line, &[]);
    assert_eq!(report["users"], counts(1, 0, 0));
    let back = ground.users(&acme)[0].take();
    assert_eq!(back["id"], ada.as_str());
    let (owner, suspended) = (json!("owner"), json!("suspended"));
    assert_eq!((&back["role"], &back["status"]), (&owner, &suspended));
    // Another role, or an end of the suspension, must be told.
    ground.place.json(&["user", "remove", &ada]);
    let other =
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"user_ada","status":"active"}"#;
    let refused = ground.refuses("other.jsonl", other, &[]);
    expect(
        &refused,
        &["1: is here already with status “suspended”, not “active”"],
    );
    // Elsewhere he is new, with the file's role, and suspended still.
    let elsewhere =
        r#"{"kind":"user","tenant":"tenant_globex","authress_user_id":"user_ada","role":"admin"}"#;
    ground.takes("elsewhere.jsonl", elsewhere, &[]);
    let users = ground.users(&globex);
    let moved = users.as_array().unwrap().iter();
    let moved = moved
        .clone()
        .find(|user| user["authress_user_id"] == "user_ada")
        .unwrap();
    assert_ne!(moved["id"], ada.as_str());
    assert_eq!(
        (&moved["role"], &moved["status"]),
        (&json!("admin"), &suspended)
    );
    assert_eq!(ground.users(&acme), json!([]));
    ground.end().await;
}

async fn an_export_is_taken(ground: Ground) {
    ground.takes("world.jsonl", WORLD, &[]);
    let (acme, globex) = (ground.id_of("tenant_acme"), ground.id_of("tenant_globex"));
    let mut exported = String::new();
    for account in [&acme, &globex] {
        let said = ground.place.run(&["account", "export", account]);
        assert_eq!(said.code, 0, "{said:?}");
        exported.push_str(&said.stdout);
    }
    let rows = exported.matches(r#"{"kind":"row""#).count();
    assert!(rows > 0, "{exported}");
    // Where it came from, nothing is to be done.
    let report = ground.takes("export.jsonl", &exported, &[]);
    assert_eq!(report["users"], counts(0, 0, 2));
    let other = Ground::on_sqlite().await;
    let report = other.takes("export.jsonl", &exported, &[]);
    assert_eq!(report["accounts"], counts(2, 0, 0));
    assert_eq!(report["users"], counts(2, 0, 0));
    assert_eq!(report["clients"], counts(2, 0, 0));
    assert_eq!(report["rows_left_out"], rows, "{report}");
    let theirs = other.users(&other.id_of("tenant_acme"))[0].take();
    let ours = ground.users(&acme)[0].take();
    for part in ["authress_user_id", "email", "name", "role", "status"] {
        assert_eq!(theirs[part], ours[part], "{part}");
    }
    assert_ne!(theirs["id"], ours["id"]);
    // People without their account's line are nobody's.
    let people: String = exported
        .lines()
        .filter(|line| !line.contains(r#""kind":"account""#))
        .map(|line| format!("{line}\n"))
        .collect();
    let refused = other.refuses("people.jsonl", &people, &[]);
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|it| it.contains("its account is on no line")),
        "{refused:?}"
    );
    ground.end().await;
}

async fn clients_are_looked_up(mut ground: Ground) {
    ground.place.account("Acme", "tenant_acme");
    for id in ["sc_mighty", "sc_allowed"] {
        let client = Client::new(id).grant_token_generation(true);
        ground.sandbox.add_client(client);
    }
    let line = |id: &str| {
        format!(r#"{{"kind":"client","tenant":"tenant_acme","client_id":"{id}","name":"Robot"}}"#)
    };
    let content = [
        "sc_robot01",
        "sc_mighty",
        "sc_allowed",
        "sc_server01",
        "sc_nobody",
    ];
    let content = content.map(line).join("\n");
    let allowed = ["--allow-token-generation", "sc_allowed"];
    let refused = ground.refuses("clients.jsonl", &content, &allowed);
    expect(
        &refused,
        &[
            "2: can obtain tokens of any user",
            "4: is the service client of AUTHRESS_ACCESS_KEY",
        ],
    );
    let said = ground.import(
        "clients.jsonl",
        &content,
        &[&allowed[..], &["--keep-going"]].concat(),
    );
    assert_eq!(said.json()["clients"], counts(3, 0, 0), "{said:?}");
    for warning in [
        "that Authress does not know",
        "can obtain tokens of any user",
    ] {
        assert!(said.stderr.contains(warning), "{said:?}");
    }
    // Nobody to ask: said, and left to `doctor`.
    for name in ["AUTHRESS_API_URL", "AUTHRESS_ACCESS_KEY"] {
        ground.place.unset(name);
    }
    let said = ground.import("unseen.jsonl", line("sc_unseen"), &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr.contains("were not looked up at Authress: 1"),
        "{said:?}"
    );
    ground.end().await;
}

async fn killed_and_run_again(ground: Ground) {
    const USERS: i64 = 20_000;
    let mut content = String::from(
        "{\"kind\":\"account\",\"name\":\"Acme\",\"tenant\":\"tenant_acme\"}\n\
         {\"kind\":\"account\",\"name\":\"Globex\",\"tenant\":\"tenant_globex\"}\n",
    );
    for number in 0..USERS {
        let tenant = ["tenant_acme", "tenant_globex"][usize::from(number % 3 == 0)];
        let role = ["member", "admin"][usize::from(number % 7 == 0)];
        writeln!(
            content,
            r#"{{"kind":"user","tenant":"{tenant}","authress_user_id":"user_{number}","email":"{number}@a.example","role":"{role}"}}"#
        )
        .unwrap();
    }
    ground.write("many.jsonl", &content);
    // The tables are there before anybody looks into them.
    ground.place.json(&["account", "list"]);
    let mut child = ground.place.spawn(&["import", "many.jsonl", "--json"]);
    eventually(Duration::from_secs(60), "some are there", async || {
        ground.count("users").await >= 2_000
    })
    .await;
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let there = ground.count("users").await;
    assert!((2_000..USERS).contains(&there), "{there}");
    assert_eq!(there % 500, 0, "a part of a batch");

    let report = ground.takes("many.jsonl", &content, &[]);
    let (new, known) = (USERS.abs_diff(there), there.unsigned_abs());
    assert_eq!(report["users"], counts(new, 0, known), "{report}");
    assert_eq!(report["accounts"], counts(0, 0, 2));
    assert_eq!(ground.count("users").await, USERS);
    let said = ground.place.run(&["import", "many.jsonl", "--json"]);
    assert_eq!(said.json()["users"], counts(0, 0, USERS.unsigned_abs()));
    // Where nobody watches, a line now and then.
    assert!(
        said.stderr
            .contains("5000 of 20000 users and clients checked\n"),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("20000 of 20000 users and clients written\n"),
        "{said:?}"
    );
    assert!(!said.stderr.contains('\r'), "{said:?}");
    ground.end().await;
}

async fn servers_hear_of_it(mut ground: Ground) {
    const BOUND: Duration = Duration::from_secs(1);
    ground.place.set("USER_PROVISIONING", "off");
    ground
        .sandbox
        .add_user(User::new("user_late").tenant("tenant_acme"));
    ground.place.account("Acme", "tenant_acme");
    let (server, http) = (ground.place.serve(), http());
    let me = async |token: &str| {
        let url = format!("{}/v1/me", server.public);
        Answer::of(http.get(url).bearer_auth(token)).await
    };
    let mint = |id: &str| ground.sandbox.user_token(id).mint();
    let (ada, late) = (mint("user_ada"), mint("user_late"));
    let robot = ground.sandbox.client_token("sc_robot01").mint();
    for token in [&ada, &late] {
        let refused = me(token).await;
        assert_eq!(refused.code(), "unknown_user", "{refused:?}");
    }
    assert_eq!(me(&robot).await.status, 401);
    let line = |id: &str, role: &str| {
        format!(
            r#"{{"kind":"user","tenant":"tenant_acme","authress_user_id":"{id}","role":"{role}"}}"#
        )
    };
    let client = r#"{"kind":"client","tenant":"tenant_acme","client_id":"sc_robot01","name":"Robot","scopes":["a"]}"#;
    let content = [line("user_ada", "owner"), client.to_owned()].join("\n");
    ground.takes("ada.jsonl", &content, &[]);
    eventually(BOUND, "Ada is let in", async || {
        me(&ada).await.status == 200
    })
    .await;
    assert_eq!(me(&ada).await.json()["user"]["role"], "owner");
    eventually(BOUND, "the robot is let in", async || {
        me(&robot).await.status == 200
    })
    .await;

    // Among so many others that a server takes everything for changed; and Ada's new role.
    let mut content = String::new();
    for number in 0..5_000 {
        writeln!(content, "{}", line(&format!("user_{number}"), "member")).unwrap();
    }
    let others = [line("user_late", "admin"), line("user_ada", "member")].join("\n");
    content.push_str(&others);
    ground.takes("many.jsonl", &content, &["--update"]);
    eventually(BOUND, "the last one is let in", async || {
        me(&late).await.status == 200
    })
    .await;
    assert_eq!(me(&late).await.json()["user"]["role"], "admin");
    eventually(BOUND, "Ada is a member", async || {
        me(&ada).await.json()["user"]["role"] == "member"
    })
    .await;
    drop(server);
    ground.end().await;
}

async fn it_stands_in_the_activity(ground: Ground) {
    ground.takes("world.jsonl", WORLD, &[]);
    let told = |account: &str| {
        let said = ground.place.run(&["account", "export", account]);
        said.stdout
            .lines()
            .filter(|line| line.contains("vestibule_activity"))
            .filter_map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                Some(line["value"]["reason"].as_str()?.to_owned())
            })
            .collect::<Vec<_>>()
    };
    let (acme, globex) = (ground.id_of("tenant_acme"), ground.id_of("tenant_globex"));
    let import =
        "import accounts: 1 created users: 1 created clients: 1 created by the command line";
    assert_eq!(told(&acme), [import]);
    assert_eq!(told(&globex), [import]);
    // Nothing was done.
    ground.takes("world.jsonl", WORLD, &[]);
    assert_eq!(told(&acme), [import]);
    ground.end().await;
}

/// An id means nothing without the provider that gave it.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_another_provider() {
    let ground = Ground::on_sqlite().await;
    drop(ground.place.serve());
    let other = Sandbox::builder().start().await.unwrap();
    let mut place = ground.place;
    for (name, value) in other.environment() {
        place.set(name, &value);
    }
    fs::write(place.path().join("world.jsonl"), WORLD).unwrap();
    let said = place.run(&["import", "world.jsonl"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("belongs to the provider"), "{said:?}");
    assert_eq!(place.json(&["account", "list"])["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_go_to_the_cluster_that_is_named() {
    let content = r#"{"kind":"account","name":"Acme","tenant":"tenant_acme","cluster":"eu"}
{"kind":"account","name":"Globex","tenant":"tenant_globex","cluster":"main"}
{"kind":"user","tenant":"tenant_acme","authress_user_id":"user_ada"}
"#;
    let files = Ground::on_sqlite().await;
    let refused = files.refuses("world.jsonl", content, &[]);
    expect(
        &refused,
        &[
            "1: there are clusters on PostgreSQL only",
            "3: its tenant has no account",
        ],
    );
    let mut ground = Ground::on_postgres().await;
    let refused = ground.refuses("world.jsonl", content, &[]);
    expect(
        &refused,
        &["1: there is no cluster eu", "3: its tenant has no account"],
    );
    let other = Postgres::own().await;
    let eu = other.postgres().database().await;
    let named = |url: String| format!("eu={url}");
    ground
        .place
        .set("VESTIBULE_CLUSTERS", &named(eu.application_url()));
    ground
        .place
        .set("VESTIBULE_ADMIN_CLUSTERS", &named(eu.owner_url()));
    ground.place.json(&["migrate"]);
    ground.takes("world.jsonl", content, &[]);
    assert_eq!(ground.account("tenant_acme")["cluster"], "eu");
    assert_eq!(ground.account("tenant_globex")["cluster"], "main");
    let report = ground.takes("world.jsonl", content, &[]);
    assert_eq!(report["accounts"], counts(0, 0, 2));
    let refused = ground.refuses(
        "world.jsonl",
        content.replace("\"main\"", "\"eu\""),
        &["--update"],
    );
    expect(
        &refused,
        &["2: its account lies on main, not on eu: see `vestibule account move`"],
    );
    ground.end().await;
}
