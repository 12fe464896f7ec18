//! What the command line prints, for programs and for people.

use std::fs;

use serde_json::{Value, json};
use vestibule_sandbox::User;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_document_wherever_it_is_asked_for() {
    let world = World::new(&[]).await;
    let acme = world.acme.as_str();
    for command in [
        &["account", "list"][..],
        &["account", "show", acme],
        &["account", "export", acme],
        &["account", "activity", acme],
        &["account", "rename", acme, "Acme"],
        &["user", "list", "--account", acme],
        &["client", "list", "--account", acme],
        &["migrate", "--status"],
        &["config", "check"],
    ] {
        let documents: Vec<Value> = (0..=command.len())
            .map(|place| {
                let mut arguments = command.to_vec();
                arguments.insert(place, "--json");
                // Not between an option and its value.
                if place > 0 && arguments[place - 1] == "--account" {
                    arguments.swap(place - 1, place);
                }
                let said = world.place.run(&arguments);
                assert_eq!((said.code, &*said.stderr), (0, ""), "{arguments:?}");
                said.json()
            })
            .collect();
        assert!(
            documents.iter().all(|it| *it == documents[0]),
            "{command:?}"
        );
        let people = world.place.run(command);
        assert_eq!(people.code, 0);
        assert!(!people.stdout.is_empty() && people.stderr.is_empty());
    }
    let said = world
        .place
        .run(&["--json", "account", "show", crate::support::NOBODY]);
    assert_eq!(said.code, 1);
    assert!(said.json()["error"]["message"].is_string());
}

/// Names come from strangers, and a terminal would obey them.
#[tokio::test(flavor = "multi_thread")]
async fn tables_show_what_could_deceive() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let names = [
        "A\u{202e}da",
        "Ada\u{61c}nimda",
        "Ad\u{ad}a",
        "A\\u{202e}da",
        "Ada \u{e0041}",
        "Zoë 測試",
    ];
    for (number, name) in names.iter().enumerate() {
        let id = format!("user_{number}");
        let user = User::new(&*id).name(*name).tenant("tenant_acme");
        world.sandbox.add_user(user);
        world.me(&server, &world.user(&id)).await.expect_ok();
    }
    // What the provider says with control characters in it is not even kept.
    for (number, name) in ["A\u{1b}[31mda", "A\nda", "A\u{9b}da"].iter().enumerate() {
        let id = format!("user_x{number}");
        let user = User::new(&*id).name(*name).tenant("tenant_acme");
        world.sandbox.add_user(user);
        let me = world.me(&server, &world.user(&id)).await.expect_ok();
        assert_eq!(me.json()["user"]["name"], Value::Null, "{name:?}");
    }
    let table = world.place.run(&["user", "list", "--account", &world.acme]);
    assert_eq!(table.code, 0, "{table:?}");
    let visible = |c: char| c == '\n' || c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic();
    assert!(table.stdout.chars().all(visible), "{table:?}");
    for shown in [
        "A\\u{202e}da",
        "Ada\\u{61c}nimda",
        "Ad\\u{ad}a",
        "A\\\\u{202e}da",
        "Ada \\u{e0041}",
        "Zoë 測試",
    ] {
        assert!(table.stdout.contains(shown), "{shown}: {}", table.stdout);
    }
    // A program gets the name as it is.
    let listed = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let listed = listed["items"].as_array().unwrap();
    assert!(listed.iter().any(|user| user["name"] == names[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_export_and_its_end() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let (ada, grace) = (world.user("user_ada"), world.user("user_grace"));
    let robot = world.robot("sc_robot01");
    let me = world.me(&server, &ada).await.expect_ok().json();
    world.me(&server, &grace).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();
    let acme = world.acme.as_str();

    let export = world.place.json(&["account", "export", acme]);
    assert_eq!(export["account"], me["account"]);
    let mut user = me["user"].clone();
    if let Some(account) = export["users"][0].get("account_id") {
        user["account_id"] = account.clone();
    }
    assert_eq!(export["users"], json!([user]));
    assert_eq!(export["service_clients"][0]["client_id"], "sc_robot01");
    assert_eq!(export["service_clients"].as_array().unwrap().len(), 1);
    assert_eq!(export["tables"]["vestibule_account"][0]["account_id"], acme);
    assert!(!export.to_string().contains("grace"));
    let lines = world.place.run(&["account", "export", acme]).stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines[0],
        json!({ "kind": "account", "value": me["account"] })
    );

    let file = world.place.path().join(format!("tenants/{acme}.db"));
    assert!(file.exists());
    let deleted = world.place.json(&["account", "delete", acme, "--yes"]);
    assert_eq!(
        (&deleted["id"], &deleted["deleted"]),
        (&json!(acme), &json!(true))
    );
    let left: Vec<_> = fs::read_dir(world.place.path().join("tenants"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(acme))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(world.place.run(&["account", "show", acme]).code, 1);
    let user = me["user"]["id"].as_str().unwrap();
    assert_eq!(world.place.run(&["user", "show", user]).code, 1);
    let clients = world.place.json(&["client", "list"]);
    assert_eq!(clients["items"][0]["client_id"], "sc_robot02");
    assert_eq!(clients["items"].as_array().unwrap().len(), 1);
    // Nothing of it is left in the directory's file, not even in a removed row.
    world.place.json(&["account", "show", &world.globex]);
    world.me(&server, &grace).await.expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_explained_to_people_without_being_shown() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.sandbox.user_token("user_ada");
    let ada = ada.claim("email", "ada@acme.example").mint();
    world.me(&server, &ada).await.expect_ok();
    let globex = world.sandbox.user_token("user_ada").tenant("tenant_globex");
    for (token, verdict) in [
        (ada, "verdict: accepted"),
        (globex.mint(), "tenant_mismatch"),
        (
            world.sandbox.login_code("sc_robot01", "user_ada").mint(),
            "wrong_type",
        ),
        (world.sandbox.access_key(), "access_key_shaped"),
        (world.user("user_ada") + "x", "refused"),
    ] {
        let said = world.place.run_with(&["token", "explain"], &token);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.contains(verdict), "{verdict}: {said:?}");
        for part in token.split('.').filter(|part| part.len() > 16) {
            for text in [&said.stdout, &said.stderr] {
                assert!(!text.contains(part) && !text.contains('@'), "{said:?}");
            }
        }
    }
}
