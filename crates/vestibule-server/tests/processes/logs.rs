//! What is never logged, whatever is sent and however talkative the log is set.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use vestibule_sandbox::{Sandbox, SigningKey};

use crate::world::{Answer, World};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_no_key_no_e_mail_over_http() {
    is_clean(Sandbox::builder().start().await.unwrap()).await;
}

/// The libraries below have logs of their own, which differ with TLS.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_no_key_no_e_mail_over_tls() {
    is_clean(Sandbox::builder().tls(true).start().await.unwrap()).await;
}

/// What a caller sends in `Authorization`.
pub(crate) fn credentials(world: &World, round: usize) -> Vec<String> {
    let sandbox = &world.sandbox;
    let stranger = SigningKey::stranger("k-stranger");
    let ada = || sandbox.user_token("user_ada").claim("jti", round);
    let robot = || sandbox.client_token("sc_robot01").claim("jti", round);
    let own = sandbox.server_client_id();
    let tokens = [
        ada(),
        robot(),
        ada().claim("email", "ada@acme.example"),
        ada().tamper_signature(),
        ada().sign_with(&stranger),
        ada().key(&stranger),
        ada().unsigned(),
        ada().expires_in(-100),
        ada().issuer("https://evil.example"),
        ada().issuer("ada@acme.example"),
        ada().tenant("tenant_globex"),
        ada().audience("tenant_none").sub("alan@acme.example"),
        ada().typ("JWT"),
        ada().double_claim("sub", "user_grace"),
        ada().raw_claims("ada@acme.example, not JSON at all"),
        ada().header("jku", "https://evil.example/ada@acme.example"),
        sandbox.user_token("user_nobody").tenant("tenant_acme"),
        sandbox.login_code("sc_robot01", "user_ada"),
        sandbox.id_token("user_ada"),
        sandbox.oauth_token("sc_robot01"),
        sandbox.client_token("sc_nobody1"),
        sandbox.client_token(own),
        robot().audience("elsewhere"),
    ];
    let mut sent: Vec<_> = tokens
        .iter()
        .map(|token| format!("Bearer {}", token.mint()))
        .collect();
    let token = ada().mint();
    let access_key = sandbox.access_key();
    sent.extend([
        format!("Bearer {access_key}"),
        format!("Basic {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {}", token.repeat(20)),
        format!("Bearer x.{token}.y"),
        "Bearer ada@acme.example".to_owned(),
        token,
    ]);
    sent
}

/// Some thirty requests each; `LOG_ROUNDS=340` makes ten thousand.
fn rounds() -> usize {
    let rounds = std::env::var("LOG_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// The first of these, all longer than a piece, that the text holds.
pub(crate) fn holds_one_of<'s>(text: &str, secrets: &'s [String]) -> Option<&'s str> {
    const PIECE: usize = 16;
    let mut beginnings: HashMap<&[u8], Vec<&str>> = HashMap::new();
    for secret in secrets {
        let beginning = &secret.as_bytes()[..PIECE];
        beginnings.entry(beginning).or_default().push(secret);
    }
    let pieces = text.as_bytes().windows(PIECE).enumerate();
    pieces.into_iter().find_map(|(at, piece)| {
        let rest = &text.as_bytes()[at..];
        let mut begun = beginnings.get(piece)?.iter();
        begun
            .find(|secret| rest.starts_with(secret.as_bytes()))
            .copied()
    })
}

async fn is_clean(sandbox: Sandbox) {
    let settings = [
        ("VESTIBULE_LOG", "trace"),
        ("VESTIBULE_ACCESS_LOG", "all"),
        ("VESTIBULE_ADMIN_TOKEN", "0123456789-admin-token"),
    ];
    let world = World::beside(sandbox, &settings);
    let mut server = world.place.serve();
    let mut secrets: Vec<String> = vec!["0123456789-admin-token".to_owned()];
    let mut refused = BTreeMap::new();
    let mut requests = 0;
    for round in 0..rounds() {
        for credentials in credentials(&world, round) {
            let path = [
                "/v1/me",
                "/v1/authorize/ada@acme.example",
                "/v1/users?q=ada@acme.example",
            ];
            let request = world
                .http
                .get(format!("{}{}", server.public, path[round % 3]));
            let answer = Answer::of(request.header("authorization", &credentials)).await;
            requests += 1;
            if answer.status != 200 {
                let problem = answer.json();
                let id = problem["request_id"].as_str().unwrap().to_owned();
                refused.insert(id, (answer.status, answer.code().to_owned()));
            }
            let parts = credentials.split(['.', ' ']).filter(|part| part.len() > 24);
            secrets.extend(parts.map(str::to_owned));
        }
    }
    assert!(requests >= 300, "{requests}");
    assert!(refused.len() > 200 && refused.len() < requests);
    // The command line talks to the provider and the directory too.
    world
        .place
        .json(&["user", "list", "--account", &world.acme]);

    let log = server.whole_log();
    assert!(
        log.lines().count() > requests,
        "trace says more than one line per request"
    );
    assert_eq!(holds_one_of(&log, &secrets), None);
    // The server's own tokens for the provider are not known here, but they begin like all.
    for begins in ["eyJ", "MC4CAQAwBQYDK2Vw", "acme.example", "@", "Bearer "] {
        let line = log.lines().find(|line| line.contains(begins));
        assert!(line.is_none(), "{begins}: {}", line.unwrap());
    }

    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let access = lines
        .iter()
        .filter(|line| line["target"] == "vestibule::access");
    let mut seen = 0;
    for line in access {
        seen += 1;
        let id = line["request_id"].as_str().unwrap();
        match refused.remove(id) {
            None => {
                assert_eq!(line["status"], 200, "{line}");
                assert!(line["principal.kind"].is_string() && line["account.id"].is_string());
                assert!(line.get("reason").is_none(), "{line}");
            }
            Some((status, code)) => {
                assert_eq!(line["status"], status, "{line}");
                let reason = line["reason"].as_str().unwrap();
                assert!(!reason.is_empty(), "{code}: {line}");
            }
        }
    }
    assert_eq!(seen, requests);
    assert!(refused.is_empty(), "without a line: {refused:?}");
}
