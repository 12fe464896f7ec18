//! The command line where it needs the provider: clients, tokens, settings, the doctor.

#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::Place;
use vestibule_sandbox::{Client, Endpoint, Fault, Sandbox};

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn service_clients_are_looked_up() {
    let sandbox = sandbox().await;
    sandbox.add_client(Client::new("sc_powerful1").grant_token_generation(true));
    let place = Place::new().with_sandbox(&sandbox);
    let id = place.account("Acme", "tenant_acme");
    let add = |client: &str, more: &[&str]| {
        let mut arguments = vec![
            "client",
            "add",
            "--client-id",
            client,
            "--account",
            &id,
            "--name",
            "Robot",
            "--json",
        ];
        arguments.extend(more);
        place.run(&arguments)
    };

    let said = add(
        "sc_robot01",
        &["--scope", "notes:read", "--scope", "notes:write"],
    );
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let robot = said.json();
    assert_eq!(robot["client_id"], "sc_robot01");
    assert_eq!(
        robot["scopes"],
        serde_json::json!(["notes:read", "notes:write"])
    );
    assert_eq!(robot["account_id"], id.as_str());
    let again = add("sc_robot01", &[]);
    assert_eq!(again.code, 1, "{again:?}");

    let powerful = add("sc_powerful1", &[]);
    assert_eq!(powerful.code, 1, "{powerful:?}");
    assert!(
        powerful.stderr.contains("--allow-token-generation"),
        "{powerful:?}"
    );
    let named = add("sc_powerful1", &["--allow-token-generation"]);
    assert_eq!(named.code, 0, "{named:?}");
    assert!(named.stderr.contains("grantTokenGeneration"), "{named:?}");

    let own = add(sandbox.server_client_id(), &["--allow-token-generation"]);
    assert_eq!(own.code, 1, "{own:?}");
    assert!(own.stderr.contains("AUTHRESS_ACCESS_KEY"), "{own:?}");

    let unknown = add("sc_unknown1", &[]);
    assert_eq!(unknown.code, 0, "{unknown:?}");
    assert!(unknown.stderr.contains("does not know"), "{unknown:?}");

    sandbox.fail(Endpoint::Client, Fault::Status(503));
    let unseen = add("sc_robot02", &[]);
    assert_eq!(unseen.code, 0, "{unseen:?}");
    assert!(
        unseen.stderr.contains("could not be looked up"),
        "{unseen:?}"
    );

    let items = place.json(&["client", "list", "--account", &id])["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 4);
    assert_eq!(place.json(&["client", "list"])["items"], items);
    assert_eq!(
        place.json(&["client", "suspend", "sc_robot01"])["status"],
        "suspended"
    );
    let by_id = robot["id"].as_str().unwrap();
    assert_eq!(place.json(&["client", "resume", by_id])["status"], "active");
    assert_eq!(place.json(&["client", "remove", by_id])["removed"], true);
    assert_eq!(place.run(&["client", "suspend", "sc_robot01"]).code, 1);
}

#[test]
fn without_a_provider_a_client_is_added_unseen() {
    let place = Place::new();
    let id = place.account("Acme", "tenant_acme");
    let said = place.run(&[
        "client",
        "add",
        "--client-id",
        "sc_robot01",
        "--account",
        &id,
        "--name",
        "Robot",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr.contains("warning") && said.stderr.contains("AUTHRESS_API_URL"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_without_secrets() {
    let sandbox = sandbox().await;
    let place = Place::new()
        .with_sandbox(&sandbox)
        .with("VESTIBULE_ADMIN_TOKEN", "admin-token-that-is-secret")
        .with(
            "PROVIDER_PROXY",
            "http://proxy-user:proxy-password@127.0.0.1:3128",
        )
        .with("TOKEN_CACHE_SIZE", "17");
    let said = place.run(&["config", "check"]);
    assert_eq!(said.code, 0, "{said:?}");
    let document = place.json(&["config", "check"]);
    let key = sandbox.access_key();
    let secret = key.rsplit('.').next().unwrap();
    for text in [said.stdout, document.to_string()] {
        assert!(
            text.contains(sandbox.url()) && text.contains("TOKEN_CACHE_SIZE"),
            "{text}"
        );
        for hidden in [secret, "that-is-secret", "proxy-user", "proxy-password"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
    let settings = document["settings"].as_array().unwrap();
    let value = |name: &str| {
        let setting = settings
            .iter()
            .find(|setting| setting["name"] == name)
            .unwrap();
        (
            setting["value"].as_str().unwrap(),
            setting["set"].as_bool().unwrap(),
        )
    };
    assert_eq!(value("TOKEN_CACHE_SIZE"), ("17", true));
    assert_eq!(value("TOKEN_CACHE_TTL"), ("300", false));
    assert_eq!(value("AUTHRESS_ISSUERS"), (sandbox.issuer(), false));
    assert_eq!(value("VESTIBULE_ADMIN_TOKEN"), ("(set)", true));
    assert!(
        !place.path().join("vestibule.db").exists(),
        "looking makes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_explained() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    let account = place.account("Acme", "tenant_acme");
    let explain = |token: &str| {
        let said = place.run_with(&["token", "explain", "--json"], token);
        assert_eq!(said.code, 0, "{said:?}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!said.stdout.contains(signature) && !said.stderr.contains(signature));
        said.json()
    };

    let newcomer = explain(&sandbox.user_token("user_ada").mint());
    assert_eq!(newcomer["verdict"], "newcomer", "{newcomer}");
    assert_eq!(newcomer["claims"]["sub"], "user_ada");
    let users = place.json(&["user", "list", "--account", &account]);
    assert_eq!(
        users["items"].as_array().unwrap().len(),
        0,
        "explaining makes nobody"
    );

    let expired = explain(&sandbox.user_token("user_ada").expires_in(-3_600).mint());
    assert_eq!(expired["verdict"], "refused");
    assert_eq!(expired["reason"], "expired", "{expired}");
    assert_eq!(expired["code"], "token_expired");
    let broken = explain(&sandbox.user_token("user_ada").tamper_signature().mint());
    assert_eq!(broken["reason"], "bad_signature", "{broken}");
    assert_eq!(broken["code"], "invalid_token");
    let stranger = explain(&sandbox.client_token("sc_robot01").mint());
    assert_eq!(stranger["reason"], "unregistered_client", "{stranger}");

    place.json(&[
        "client",
        "add",
        "--client-id",
        "sc_robot01",
        "--account",
        &account,
        "--name",
        "Robot",
    ]);
    let robot = explain(&format!(
        "Bearer {}\n",
        sandbox.client_token("sc_robot01").mint()
    ));
    assert_eq!(robot["verdict"], "accepted", "{robot}");
    assert_eq!(robot["principal"]["kind"], "machine");
    assert_eq!(robot["principal"]["account"]["id"], account.as_str());

    let key = place.run_with(&["token", "explain", "--json"], &sandbox.access_key());
    assert_eq!(key.json()["verdict"], "refused");
    assert_eq!(place.run_with(&["token", "explain"], " \n").code, 2);
    let text = place.run_with(&["token", "explain"], "a.b.c");
    assert!(text.stdout.contains("verdict: refused"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    let account = place.account("Acme", "tenant_acme");
    place.json(&[
        "client",
        "add",
        "--client-id",
        "sc_robot01",
        "--account",
        &account,
        "--name",
        "Robot",
    ]);
    let allowing = |level: &str, more: &[&str]| {
        let said = place.run(&[&["doctor", "--json"], more].concat());
        let document = said.json();
        let found: Vec<String> = document["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["level"] == level)
            .map(|finding| finding["name"].as_str().unwrap().to_owned())
            .collect();
        (said.code, found)
    };
    let findings = |level: &str| allowing(level, &[]);
    assert_eq!(findings("problem"), (0, vec![]));
    assert_eq!(findings("warning"), (0, vec!["applications".to_owned()]));

    sandbox.add_client(Client::new("sc_robot01").grant_token_generation(true));
    assert_eq!(
        findings("problem"),
        (1, vec!["client_token_generation".to_owned()])
    );
    let allowed = allowing("warning", &["--allow-token-generation", "sc_robot01"]);
    let expected = ["applications", "client_token_generation"].map(str::to_owned);
    assert_eq!(allowed, (0, expected.to_vec()));
    sandbox.add_client(Client::new("sc_robot01"));

    let file = place.path().join("vestibule.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, found) = findings("problem");
    assert!(
        code == 0 || found == ["file_modes"],
        "mended, or named: {found:?}"
    );

    sandbox.fail(Endpoint::Client, Fault::Status(503));
    assert_eq!(findings("problem"), (1, vec!["provider".to_owned()]));
    assert_eq!(findings("warning").1, ["applications", "client_unseen"]);
}
