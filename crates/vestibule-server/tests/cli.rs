//! The command line: exit codes, what stands on standard output, and the life of records.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{NOBODY, Place};

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
        .with("VESTIBULE_GRPC_LISTEN", "grpc")
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
        &["account", "move", NOBODY, "--cluster", "eu"],
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

#[test]
fn the_admin_listener_stays_on_this_machine_unless_allowed() {
    let place = Place::new()
        .with("AUTHRESS_API_URL", "https://auth.example.com")
        .with(
            "AUTHRESS_ACCESS_KEY",
            "sc_own01.k1.test.MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH",
        )
        .with("VESTIBULE_LISTEN", "127.0.0.1:0")
        .with("VESTIBULE_ADMIN_LISTEN", "0.0.0.0:0");
    let said = place.run(&["serve"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(
        said.stderr.contains("--allow admin-beyond-loopback"),
        "{}",
        said.stderr
    );
    assert!(place.is_untouched());
}
