//! The command line: exit codes, what stands on standard output, and the life of records.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{NOBODY, Place};
use vestibule_sandbox::{Client, Endpoint, Fault, Sandbox};

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    sandbox
}

#[test]
fn wrong_usage_is_code_2_and_standard_output_stays_empty() {
    let place = Place::new();
    for arguments in [
        &["nothing"][..],
        &["account", "create", "--name", "Acme"],
        &["account", "show", "acme"],
        &["account", "delete", NOBODY],
        &[
            "account",
            "create",
            "--name",
            " ",
            "--tenant",
            "tenant_acme",
        ],
        &[
            "account",
            "create",
            "--name",
            "Acme",
            "--tenant",
            "https://acme.example",
        ],
        &["client", "suspend", "sc_robot01.k1.acme.c2VjcmV0"],
        &["token", "explain", "secret.secret.secret"],
        &["user", "set-role", NOBODY, "service_client"],
    ] {
        let said = place.run(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(
            said.stdout.is_empty() && !said.stderr.is_empty(),
            "{said:?}"
        );
        assert!(
            !said.stderr.contains("c2VjcmV0") && !said.stderr.contains("secret."),
            "{said:?}"
        );
    }
}

#[test]
fn help_is_an_answer() {
    let said = Place::new().run(&["--help"]);
    assert_eq!(said.code, 0);
    for command in [
        "serve", "migrate", "account", "client", "user", "revoke", "token", "config", "doctor",
    ] {
        assert!(
            said.stdout.contains(&format!("\n  {command} ")),
            "{command}: {}",
            said.stdout
        );
    }
}

#[test]
fn all_wrong_settings_are_in_one_report_and_nothing_is_made() {
    let place = Place::new()
        .with("AUTHRESS_API_URL", "http://auth.acme.example")
        .with("AUTHRESS_ACCESS_KEY", "not-a-key-but-secret")
        .with("DATABASE_POOL_SIZE", "many")
        .with("TENANCY", "island")
        .with("VESTIBULE_LISTEN", "8080")
        .with("VESTIBULE_GRPC_LISTEN", "127.0.0.1:1")
        .with("VESTIBULE_LOG_FORMAT", "xml");
    for command in [
        &["serve", "--json"][..],
        &["config", "check", "--json"],
        &["doctor", "--json"],
    ] {
        let said = place.run(command);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(place.is_untouched());
        let document = said.json();
        let mut named: Vec<_> = document["error"]["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem["name"].as_str().unwrap())
            .collect();
        for name in &named {
            assert!(
                said.stderr.contains(&format!("\n  {name}: ")),
                "{name}: {}",
                said.stderr
            );
        }
        named.sort_unstable();
        assert_eq!(
            named,
            [
                "AUTHRESS_ACCESS_KEY",
                "AUTHRESS_API_URL",
                "DATABASE_POOL_SIZE",
                "TENANCY",
                "VESTIBULE_GRPC_LISTEN",
                "VESTIBULE_LISTEN",
                "VESTIBULE_LOG_FORMAT",
            ]
        );
        assert!(
            !said.stderr.contains("secret") && !said.stdout.contains("secret"),
            "{said:?}"
        );
    }
}

#[test]
fn a_command_needs_only_its_own_settings() {
    let place = Place::new()
        .with("AUTHRESS_API_URL", "nonsense")
        .with("VESTIBULE_LISTEN", "8080");
    assert_eq!(
        place.json(&["account", "list"]),
        serde_json::json!({ "items": [] })
    );
}

#[test]
fn a_settings_file_stands_behind_the_environment() {
    let place = Place::new().with("VESTIBULE_LOG_FORMAT", "text");
    let file = place.path().join("settings.toml");
    fs::write(
        &file,
        "database_pool_size = 0\nvestibule_log_format = \"xml\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let said = place.run(&["account", "list", "--config", file]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("DATABASE_POOL_SIZE"), "{said:?}");
    assert!(!said.stderr.contains("VESTIBULE_LOG_FORMAT"), "{said:?}");
}

#[test]
fn the_life_of_an_account() {
    let place = Place::new();
    let acme = place.json(&[
        "account",
        "create",
        "--name",
        "Acme",
        "--tenant",
        "tenant_acme",
    ]);
    let id = acme["id"].as_str().unwrap();
    assert_eq!(acme["name"], "Acme");
    assert_eq!(acme["authress_tenant_id"], "tenant_acme");
    assert_eq!(acme["status"], "active");

    let again = place.run(&[
        "account",
        "create",
        "--name",
        "Acme",
        "--tenant",
        "tenant_acme",
    ]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(
        again.stderr.contains(id) && again.stderr.contains("--if-missing"),
        "{again:?}"
    );
    let same = place.json(&[
        "account",
        "create",
        "--name",
        "Other",
        "--tenant",
        "tenant_acme",
        "--if-missing",
    ]);
    assert_eq!(same, acme);

    assert_eq!(place.json(&["account", "show", id]), acme);
    assert_eq!(
        place.json(&["account", "rename", id, "Acme & Sons"])["name"],
        "Acme & Sons"
    );
    assert_eq!(
        place.json(&["account", "rename", id, "--name", "Acme"])["name"],
        "Acme"
    );
    assert_eq!(
        place.json(&["account", "suspend", id])["status"],
        "suspended"
    );
    assert_eq!(place.json(&["account", "resume", id])["status"], "active");
    let items = place.json(&["account", "list"])["items"].clone();
    assert_eq!(items, serde_json::json!([acme]));
    let table = place.run(&["account", "list"]).stdout;
    assert!(
        table.starts_with("ID ") && table.contains(&format!("\n{id}  Acme  ")),
        "{table}"
    );
    let export = place.json(&["account", "export", id]);
    assert_eq!(export["account"], acme);

    place.json(&[
        "client",
        "add",
        "--client-id",
        "sc_robot01",
        "--account",
        id,
        "--name",
        "Robot",
    ]);
    assert_eq!(place.run(&["account", "delete", id]).code, 2);
    assert_eq!(
        place.json(&["account", "show", id]),
        acme,
        "not without --yes"
    );
    assert_eq!(
        place.json(&["account", "delete", id, "--yes"])["deleted"],
        true
    );
    let gone = place.run(&["account", "show", id]);
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("vestibule account list"), "{gone:?}");
    assert_eq!(
        place.json(&["client", "list"]),
        serde_json::json!({ "items": [] })
    );
}

#[test]
fn what_is_not_there_is_code_1() {
    let place = Place::new();
    for arguments in [
        &["account", "show", NOBODY][..],
        &["account", "rename", NOBODY, "Acme"],
        &["account", "suspend", NOBODY],
        &["account", "resume", NOBODY],
        &["account", "export", NOBODY],
        &["account", "delete", NOBODY, "--yes"],
        &["user", "list", "--account", NOBODY],
        &["user", "show", NOBODY],
        &["user", "set-role", NOBODY, "owner"],
        &["user", "suspend", NOBODY],
        &["user", "resume", NOBODY],
        &["user", "remove", NOBODY],
        &[
            "client",
            "add",
            "--client-id",
            "sc_robot01",
            "--account",
            NOBODY,
            "--name",
            "Robot",
        ],
        &["client", "list", "--account", NOBODY],
        &["client", "suspend", "sc_robot01"],
        &["client", "resume", NOBODY],
        &["client", "remove", "sc_robot01"],
        &["account", "move", NOBODY, "--to", "eu"],
        &["revoke", "--client", "sc_robot01", "--kid", "k1"],
    ] {
        let mut with_json = arguments.to_vec();
        with_json.insert(0, "--json");
        let said = place.run(&with_json);
        assert_eq!(said.code, 1, "{arguments:?}: {said:?}");
        assert!(!said.stderr.is_empty(), "{arguments:?}");
        let document = said.json();
        assert_eq!(
            document["error"]["kind"], "failed",
            "{arguments:?}: {said:?}"
        );
        assert!(document["error"]["message"].is_string());
    }
}

#[test]
fn only_the_owner_can_read_the_files() {
    let place = Place::new();
    place.account("Acme", "tenant_acme");
    let mut files = vec![
        place.path().join("vestibule.db"),
        place.path().join("tenants"),
    ];
    files.extend(
        fs::read_dir(place.path().join("tenants"))
            .unwrap()
            .map(|file| file.unwrap().path()),
    );
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
}

#[test]
fn commands_run_side_by_side() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let place = &place;
            scope.spawn(move || {
                let tenant = format!("tenant_{}", number % 3);
                place.json(&[
                    "account",
                    "create",
                    "--name",
                    "Acme",
                    "--tenant",
                    &tenant,
                    "--if-missing",
                ]);
            });
        }
    });
    assert_eq!(
        place.json(&["account", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn migrate_shows_what_there_is() {
    let place = Place::new();
    place.account("Acme", "tenant_acme");
    let status = place.json(&["migrate", "--status"]);
    assert!(status.is_object(), "{status}");
    assert!(place.json(&["migrate"]).is_object());
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
    let findings = |level: &str| {
        let said = place.run(&["doctor", "--json"]);
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
    assert_eq!(findings("problem"), (0, vec![]));
    assert_eq!(findings("warning"), (0, vec!["applications".to_owned()]));

    sandbox.add_client(Client::new("sc_robot01").grant_token_generation(true));
    assert_eq!(
        findings("problem"),
        (1, vec!["client_token_generation".to_owned()])
    );
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
