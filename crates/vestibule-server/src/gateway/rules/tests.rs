//! Which rule a request meets, and which files are none.

use super::*;

#[derive(Deserialize)]
struct File {
    rules: Vec<WrittenRule>,
}

fn read(text: &str) -> Result<Rules, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    Rules::new(file.rules, &["orders".to_owned()])
}

fn rules() -> Rules {
    read(
        r#"
        [[rules]]
        path = "/"
        callers = "either"
        [[rules]]
        path = "/public"
        callers = "public"
        allow = ["semicolon", "doubled_slash"]
        [[rules]]
        path = "/public/but-not-this"
        callers = "user"
        [[rules]]
        path = "/orders"
        methods = ["POST", "DELETE"]
        callers = "user"
        roles = ["owner", "admin"]
        scopes = ["orders:write"]
        preflight = true
        [[rules]]
        host = "*.acme.example"
        path = "/orders"
        callers = "machine"
        [[rules]]
        host = "api.acme.example"
        path = "/"
        callers = "user"
        permission = "orders:read"
        resource = "/{account_id}{path}"
        "#,
    )
    .unwrap()
}

fn shown(method: &str, host: &str, target: &str) -> Result<String, Unjudgeable> {
    let rules = rules();
    let found = rules.find(method, host, target)?;
    Ok(found.map_or_else(|| "none".to_owned(), |rule| rule.shown.clone()))
}

#[test]
fn the_most_specific_rule_applies() {
    for (method, host, target, expected) in [
        ("GET", "other.example", "/", "* */"),
        ("GET", "other.example", "/publicity", "* */"),
        ("GET", "other.example", "/public/a?b=c", "* */public"),
        (
            "GET",
            "other.example",
            "/public/but-not-this/a",
            "* */public/but-not-this",
        ),
        ("GET", "other.example", "/orders", "* */"),
        ("POST", "other.example", "/orders/1", "POST,DELETE */orders"),
        (
            "OPTIONS",
            "other.example",
            "/orders/1",
            "POST,DELETE */orders",
        ),
        ("post", "other.example", "/orders/1", "* */"),
        (
            "POST",
            "eu.acme.example:8443",
            "/orders",
            "* *.acme.example/orders",
        ),
        ("POST", "acme.example", "/orders", "POST,DELETE */orders"),
        (
            "POST",
            "evilacme.example",
            "/orders",
            "POST,DELETE */orders",
        ),
        (
            "POST",
            "API.acme.example.",
            "/orders",
            "* api.acme.example/",
        ),
    ] {
        assert_eq!(
            shown(method, host, target).unwrap(),
            expected,
            "{method} {host} {target}"
        );
    }
    assert!(
        read("[[rules]]\npath = \"/a\"\ncallers = \"user\"")
            .unwrap()
            .find("GET", "", "/b")
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_host_with_two_meanings_is_refused() {
    for host in [
        "other.example, api.acme.example",
        "other.example@api.acme.example",
        "api.acme.example:80:80",
        "api.acme.example:http",
        "api.acme.example..",
        "api%2eacme.example",
        "api.acme.example/",
        "[::1",
        "é.example",
    ] {
        let found = shown("GET", host, "/orders");
        assert_eq!(found, Err(Unjudgeable::Host), "{host}");
    }
    for host in ["", "[::1]", "[::1]:80", "10.0.0.1:80", "a_b.example:"] {
        assert!(shown("GET", host, "/orders").is_ok(), "{host}");
    }
}

/// Of two rules that both fit, the same one applies when they change places.
#[test]
fn the_order_in_the_file_does_not_count() {
    for (rules, method, host, expected) in [
        (
            [
                ("*.acme.example", "[]", "machine", "false"),
                ("*.aaa.acme.example", "[]", "user", "false"),
            ],
            "GET",
            "x.aaa.acme.example",
            "* *.aaa.acme.example/",
        ),
        (
            [
                ("a.example", "['PUT']", "machine", "true"),
                ("a.example", "['POST']", "user", "true"),
            ],
            "OPTIONS",
            "a.example",
            "PUT a.example/",
        ),
        (
            [
                ("a.example", "['PUT']", "machine", "true"),
                ("a.example", "['OPTIONS']", "user", "false"),
            ],
            "OPTIONS",
            "a.example",
            "OPTIONS a.example/",
        ),
    ] {
        let written = rules.map(|(host, methods, callers, preflight)| {
            format!(
                "[[rules]]\nhost = '{host}'\npath = '/'\nmethods = {methods}\n\
                 callers = '{callers}'\npreflight = {preflight}\n"
            )
        });
        for file in [written.concat(), written.iter().rev().cloned().collect()] {
            let rules = read(&file).unwrap();
            let found = rules.find(method, host, "/").unwrap().unwrap();
            assert_eq!(found.shown, expected, "{file}");
        }
    }
}

#[test]
fn a_path_with_two_meanings_is_refused() {
    for (target, expected) in [
        ("/orders;x", Unjudgeable::Odd(Oddity::Semicolon)),
        ("//public", Unjudgeable::Odd(Oddity::DoubledSlash)),
        (
            "/public%2Fbut-not-this",
            Unjudgeable::Odd(Oddity::EncodedSlash),
        ),
        // Allowed, but another rule's path to some.
        ("/public//but-not-this", Unjudgeable::TwoRules),
        ("/public/but-not-this;x/a", Unjudgeable::TwoRules),
        ("/public/../orders", Unjudgeable::Path(BadPath::DotSegment)),
    ] {
        assert_eq!(
            shown("GET", "other.example", target).unwrap_err(),
            expected,
            "{target}"
        );
    }
    assert_eq!(
        shown("GET", "other.example", "/public//a;v=1").unwrap(),
        "* */public"
    );
}

#[test]
fn mistakes_are_named() {
    for (text, says) in [
        ("path = \"/\"", "missing field `callers`"),
        ("path = \"/\"\ncallers = \"anybody\"", "anybody"),
        (
            "path = \"orders\"\ncallers = \"user\"",
            "does not begin with a slash",
        ),
        ("path = \"/a/../b\"\ncallers = \"user\"", "`..`"),
        ("path = \"/a//b\"\ncallers = \"user\"", "doubled_slash"),
        ("path = \"/\"\ncallers = \"user\"\nscope = [\"a\"]", "scope"),
        (
            "path = \"/\"\ncallers = \"user\"\nmethods = [\"get\"]",
            "capitals",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\nallow = [\"dots\"]",
            "encoded_slash",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\nhost = \"API.example\"",
            "small letters",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\nhost = \"api.example:80\"",
            "without port",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\npermission = \"a\"",
            "belong together",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\npermission = \"a\"\nresource = \"{user}\"",
            "{path}",
        ),
        (
            "path = \"/\"\ncallers = \"user\"\naudience = \"bills\"",
            "AUDIENCES",
        ),
        (
            "path = \"/\"\ncallers = \"public\"\nscopes = [\"a\"]",
            "public",
        ),
    ] {
        let problems = read(&format!("[[rules]]\n{text}")).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].contains(says),
            "{text}: {problems:?}"
        );
    }
    let twice = "[[rules]]\npath = \"/a\"\nmethods = [\"GET\"]\ncallers = \"user\"\n\
                 [[rules]]\npath = \"/a/\"\nmethods = [\"GET\", \"PUT\"]\ncallers = \"public\"";
    assert!(read(twice).unwrap_err()[0].contains("same requests"));
}
