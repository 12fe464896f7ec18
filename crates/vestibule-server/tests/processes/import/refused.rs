//! What an import refuses, by line, and what it takes all the same when it is told to.

use std::{fmt::Write as _, fs};

use serde_json::json;

use super::{
    WORLD,
    ground::{Ground, counts, expect, problems},
};
use crate::support::{NOBODY, Place};

on_both! {
    one_thing_on_two_lines
    what_another_account_has_stays_there
    odd_bytes
    fields_that_cannot_be
    whose_it_is
    good_lines_are_taken_when_told
    only_the_first_problems_are_told
}

async fn one_thing_on_two_lines(ground: Ground) {
    let twins = format!(
        "{WORLD}{}",
        r#"{"kind":"account","name":"Acme","tenant":"tenant_acme"}
{"kind":"user","tenant":"tenant_globex","authress_user_id":"user_ada"}
{"kind":"client","tenant":"tenant_acme","client_id":"sc_robot02","name":"Robot"}
{"kind":"user","tenant":"tenant_acme","authress_user_id":"sc_robot02"}
"#
    );
    let refused = ground.refuses("twins.jsonl", &twins, &[]);
    expect(
        &refused,
        &[
            "9: is the same tenant as line 3",
            "10: is the same user as line 2",
            "11: is the same service client as line 7",
        ],
    );
    // The first of two counts.
    let said = ground.import("twins.jsonl", &twins, &["--keep-going"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.json()["users"], counts(3, 0, 0));
    let acme = ground.users(&ground.id_of("tenant_acme"));
    assert_eq!(acme.as_array().unwrap().len(), 2, "{acme}");
    ground.end().await;
}

async fn what_another_account_has_stays_there(ground: Ground) {
    ground.takes("world.jsonl", WORLD, &[]);
    let (acme, globex) = (ground.id_of("tenant_acme"), ground.id_of("tenant_globex"));
    let theft = format!(
        r#"{{"kind":"user","tenant":"tenant_globex","authress_user_id":"user_ada","role":"owner"}}
{{"kind":"client","account_id":"{globex}","client_id":"sc_robot01","name":"Robot"}}
{{"kind":"account","name":"New","tenant":"tenant_new"}}
{{"kind":"user","tenant":"tenant_new","authress_user_id":"user_grace"}}
"#
    );
    let before = ground.all();
    for arguments in [&[][..], &["--update"]] {
        let refused = ground.refuses("theft.jsonl", &theft, arguments);
        let (of_acme, of_globex) = (
            format!("belongs to account {acme} already"),
            format!("belongs to account {globex} already"),
        );
        expect(
            &refused,
            &[
                &format!("1: {of_acme}"),
                &format!("2: {of_acme}"),
                &format!("4: {of_globex}"),
            ],
        );
    }
    let said = ground.import("theft.jsonl", &theft, &["--update", "--keep-going"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.json()["accounts"], counts(1, 0, 0));
    let after = ground.all();
    assert_eq!(after["clients"], before["clients"]);
    assert_eq!(after["users"][0], before["users"][0]);
    assert_eq!(after["users"][1], before["users"][1]);
    assert_eq!(after["users"][2], json!([]));
    ground.end().await;
}

async fn odd_bytes(ground: Ground) {
    let good = br#"{"kind":"account","name":"Acme","tenant":"tenant_acme"}"#;
    let row = format!(
        r#"{{"kind":"row","table":"notes","value":{{"text":"{}"}}}}"#,
        "x".repeat(1 << 20)
    );
    let long = format!(
        r#"{{"kind":"account","name":"{}","tenant":"t"}}"#,
        "x".repeat(1 << 20)
    );
    let lines: [&[u8]; 12] = [
        good,
        b"{\"kind\":\"account\",\"name\":\"A\xff\",\"tenant\":\"t\"}",
        b"{\"kind\":\"account\",\"name\":\"A\0\",\"tenant\":\"t\"}",
        br#"{"kind":"account","name":"A\u0000","tenant":"t"}"#,
        long.as_bytes(),
        row.as_bytes(),
        br#"{"kind":"account","name":"A,"tenant":"t"}"#,
        br#"{"kind":"account","name":"A","tenant":"t""#,
        br#""sc_robot01.k1.acme.c2VjcmV0""#,
        br#"{"kind":"account","name":"A","name":"B","tenant":"t"}"#,
        b"[]",
        b"\xfe\xff",
    ];
    let refused = ground.refuses("odd.jsonl", lines.join(&b'\n'), &[]);
    expect(
        &refused,
        &[
            "2: is not UTF-8 at byte 28",
            "3: is not JSON: control character",
            "4: a name is 1 to 256 characters without control characters",
            "5: is longer than 64 KiB",
            "7: is not JSON: expected `,` or `}`, at column 30",
            "8: is not JSON: EOF while parsing an object",
            "9: has a text where an object belongs",
            "10: duplicate field `name`",
            "11: ",
            "12: is not UTF-8 at byte 1",
        ],
    );
    assert!(!refused.concat().contains("c2VjcmV0"), "{refused:?}");
    let said = ground.import("odd.jsonl", lines.join(&b'\n'), &["--keep-going"]);
    let report = said.json();
    assert_eq!(report["rows_left_out"], 1, "{report}");
    assert_eq!(report["accounts"], counts(1, 0, 0), "{report}");

    let long = format!("tenant_acme,{},", "x".repeat(1 << 20));
    let lines: [&[u8]; 11] = [
        b"tenant,authress_user_id,name",
        b"tenant_acme,user_good,Good",
        b"tenant_acme,user_1,A\xff",
        b"tenant_acme,user_2,A\0",
        b"tenant_acme,user_3,\"A",
        b"tenant_acme,user_4,A\"B\"",
        b"tenant_acme,user_5,\"A\"B",
        b"tenant_acme,user_6",
        b"tenant_acme,user_7,A\rtenant_acme,user_8,B",
        long.as_bytes(),
        b"tenant_acme,user_9,\"A \"\"B\"\"\"",
    ];
    let content = lines.join(&b'\n');
    let refused = ground.refuses("odd.csv", &content, &["--kind", "users"]);
    expect(
        &refused,
        &[
            "3: is not UTF-8 at byte 21",
            "4: has a control character at byte 21",
            "5: has a quote that is not closed",
            "6: has a quote in the middle of a field",
            "7: has a quote in the middle of a field",
            "8: has 2 fields, and the first line 3",
            "9: has a control character at byte 21",
            "10: is longer than 64 KiB",
        ],
    );
    let said = ground.import("odd.csv", &content, &["--kind", "users", "--keep-going"]);
    assert_eq!(said.json()["users"], counts(2, 0, 0), "{said:?}");
    let users = ground.users(&ground.id_of("tenant_acme"));
    assert_eq!(users[1]["name"], "A \"B\"");

    // Another kind of file altogether, and none.
    let utf16: Vec<u8> = "tenant,name\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let refused = ground.refuses(
        "utf16.csv",
        [&[0xff, 0xfe][..], &utf16].concat(),
        &["--kind", "accounts"],
    );
    expect(&refused, &["1: is not UTF-8 at byte 1"]);
    for content in ["", "\n\n", "\u{feff}"] {
        ground.takes("empty.jsonl", content, &[]);
        ground.takes("empty.csv", content, &["--kind", "users"]);
    }
    ground.end().await;
}

async fn fields_that_cannot_be(ground: Ground) {
    ground.place.account("Acme", "tenant_acme");
    const SECRET: &str = "sc_robot01.k1.acme.c2VjcmV0";
    let lines = [
        r#"{"kind":"account","tenant":"t"}"#,
        r#"{"kind":"account","name":"A","tenant":"t t"}"#,
        r#"{"kind":"account","name":"A","tenant":"t","status":"gone"}"#,
        r#"{"kind":"account","name":"A","tenant":"t","id":"0190a8f2-0000-7000-8000-000000000001"}"#,
        r#"{"kind":"acount","name":"A","tenant":"t"}"#,
        r#"{"name":"A","tenant":"t"}"#,
        r#"{"kind":"user","tenant":"tenant_acme"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"a\n"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"a","role":"Admin"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"a","role":"service_client"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"a","rol":"admin"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":5}"#,
        r#"{"kind":"client","tenant":"tenant_acme","client_id":"sc_robot01.k1.acme.c2VjcmV0","name":"A"}"#,
        r#"{"kind":"client","tenant":"sc_robot01.k1.acme.c2VjcmV0","client_id":"sc_1","name":"A"}"#,
        r#"{"kind":"client","account_id":"sc_robot01.k1.acme.c2VjcmV0","client_id":"sc_2","name":"A"}"#,
        r#"{"kind":"client","tenant":"tenant_acme","client_id":"sc_3","name":"A","scopes":["a b"]}"#,
        r#"{"kind":"client","tenant":"tenant_acme","client_id":"sc_4","name":"A","scopes":7}"#,
        r#"{"kind":"client","tenant":"tenant_acme","client_id":"sc_5"}"#,
        r#"{"kind":"user","tenant":"sc_robot01.k1.acme.c2VjcmV0","authress_user_id":"sc_robot01.k1.acme.c2VjcmV0"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"sc_robot01.k1.acme.c2VjcmV0"}"#,
        r#"{"kind":"user","tenant":"tenant_acme","authress_user_id":"sc_robot01.k1.acme.c2VjcmV0"}"#,
    ];
    let content = lines.join("\n");
    assert!(content.contains(SECRET));
    let refused = ground.refuses("fields.jsonl", &content, &[]);
    expect(
        &refused,
        &[
            "1: `name` is missing",
            "2: a tenant id is 1 to 128 characters",
            "3: a status is `active` or `suspended`",
            "4: `id` is given by this database",
            "5: unknown variant `acount`, expected one of",
            "6: missing field `kind`",
            "7: `authress_user_id` is missing",
            "8: a user's id at the provider is",
            "9: a role begins with a-z",
            "10: `service_client` is the role of service clients",
            "11: unknown field `rol`, expected one of",
            "12: invalid type: integer `5`, expected a string",
            "13: a service client's id has 1 to 128 characters",
            "14: its tenant has no account",
            "15: `account_id` is not an account's id",
            "16: a scope is 1 to 128 characters",
            "17: `scopes` is a list of texts",
            "18: `name` is missing",
            "19: its tenant has no account",
            "20: is the same user as line 19",
            "21: is the same user as line 19",
        ],
    );
    assert!(!refused.concat().contains("c2VjcmV0"), "{refused:?}");
    ground.end().await;
}

async fn whose_it_is(ground: Ground) {
    let acme = ground.place.account("Acme", "tenant_acme");
    let globex = ground.place.account("Globex", "tenant_globex");
    let line = |owner: &str, number: u32| {
        format!(r#"{{"kind":"user",{owner}"authress_user_id":"user_{number}"}}"#)
    };
    let content = [
        line("", 1),
        line(
            &format!(r#""tenant":"tenant_acme","account_id":"{globex}","#),
            2,
        ),
        line(
            &format!(r#""tenant":"tenant_acme","account_id":"{acme}","#),
            3,
        ),
        line(&format!(r#""account_id":"{NOBODY}","#), 4),
        line(
            &format!(r#""tenant":"tenant_new","account_id":"{acme}","#),
            5,
        ),
        r#"{"kind":"account","name":"New","tenant":"tenant_new"}"#.to_owned(),
        // Before its account's line or after it.
        line(r#""tenant":"tenant_new","#, 7),
    ]
    .join("\n");
    let refused = ground.refuses("owners.jsonl", &content, &[]);
    expect(
        &refused,
        &[
            "1: `tenant` or `account_id` is missing",
            "2: its tenant has another account than `account_id`",
            "4: there is no account with its `account_id`",
            "5: its tenant has another account than `account_id`",
        ],
    );
    ground.end().await;
}

async fn good_lines_are_taken_when_told(ground: Ground) {
    let mixed = format!(
        "{WORLD}nonsense\n{{\"kind\":\"user\",\"tenant\":\"tenant_acme\",\"authress_user_id\":\"user_alan\"}}"
    );
    let refused = ground.place.run(&["import", "mixed.jsonl"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    ground.write("mixed.jsonl", &mixed);
    let refused = ground.place.run(&["import", "mixed.jsonl"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["line 9: is not JSON", "Nothing was changed", "--keep-going"] {
        assert!(refused.stdout.contains(part), "{refused:?}");
    }
    assert_eq!(ground.all()["accounts"], json!([]));
    let said = ground.import("mixed.jsonl", &mixed, &["--keep-going"]);
    let report = said.json();
    assert_eq!((said.code, &report["done"]), (1, &json!(true)), "{report}");
    assert_eq!(report["users"], counts(3, 0, 0));
    expect(&problems(&report), &["9: is not JSON"]);
    ground.end().await;
}

async fn only_the_first_problems_are_told(ground: Ground) {
    let mut content = String::new();
    for number in 0..1_234 {
        writeln!(content, "nonsense {number}").unwrap();
    }
    let report = ground.import("nonsense.jsonl", &content, &[]).json();
    let told = problems(&report);
    assert_eq!(
        (told.len(), &report["further_problems"]),
        (100, &json!(1_134))
    );
    assert!(told[99].starts_with("100: "), "{told:?}");
    let said = ground.place.run(&["import", "nonsense.jsonl"]);
    assert!(said.stdout.contains("and 1134 further lines"), "{said:?}");
    ground.end().await;
}

/// What the command line itself says wrongly.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage() {
    let place = Place::new();
    fs::write(place.path().join("file.csv"), "tenant,name\n").unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    for (arguments, word) in [
        (&["import"][..], "<FILE>"),
        (&["import", "file"], "--format"),
        (&["import", "-"], "--format"),
        (&["import", "file.csv"], "--kind"),
        (
            &["import", "file", "--format", "jsonl", "--kind", "users"],
            "--kind",
        ),
        (&["import", "none.jsonl"], "none.jsonl"),
        (&["import", ".", "--format", "jsonl"], "directory"),
        (&["import", "file.csv", "--kind", "people"], "people"),
        (
            &[
                "import",
                "file.csv",
                "--kind",
                "users",
                "--server",
                "http://127.0.0.1:1",
            ],
            "--server",
        ),
    ] {
        let said = place.run(arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains(word), "{said:?}");
        assert!(!place.database().exists(), "{arguments:?}");
    }
}
