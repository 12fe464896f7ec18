use std::{env, process::Command};

use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use super::{super::testing::*, *};
use crate::provider::{AuthressApi, Found};

const ORIGIN: &str = "VESTIBULE_TEST_ORIGIN";
const EXPECTED: &str = "VESTIBULE_TEST_EXPECTED";

/// The environment of a process cannot be changed safely while it runs, so the test that needs
/// another one runs itself in a process of its own.
fn in_another_environment(origin: &str, roots: &str, expected: &str) -> bool {
    let nobody = "http://127.0.0.1:1";
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "provider::transport::tests::the_other_process",
        ])
        .env(ORIGIN, origin)
        .env(EXPECTED, expected)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .envs(
            [
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "ALL_PROXY",
                "http_proxy",
                "https_proxy",
                "all_proxy",
            ]
            .map(|name| (name, nobody)),
        )
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("1 passed") || !output.status.success(),
        "{shown}"
    );
    output.status.success()
}

#[tokio::test]
#[ignore = "run by the tests below, in an environment of its own"]
async fn the_other_process() {
    let (Ok(origin), Ok(expected)) = (env::var(ORIGIN), env::var(EXPECTED)) else {
        return;
    };
    let api = AuthressApi::new(&settings(&origin), Arc::new(clock()));
    let found = match api {
        Ok(api) => match api.get_user("user_ada").await {
            Ok(Found::Gone) => "answered".to_owned(),
            other => format!("{other:?}"),
        },
        Err(error) => error.problems[0].name.clone(),
    };
    assert_eq!(found, expected);
}

/// A server that speaks TLS and answers everything with 404; and its certificate.
async fn tls_server() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
                    .await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (origin, made.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_cert_file_is_honoured_and_proxies_of_the_environment_are_not() {
    let (origin, pem) = tls_server().await;
    let (_, stranger) = tls_server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (roots, strangers) = (file("roots.pem", &pem), file("strangers.pem", &stranger));
    assert!(in_another_environment(&origin, &roots, "answered"));
    assert!(in_another_environment(
        &origin,
        &strangers,
        "Err(Unreachable)"
    ));
    let missing = folder.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    assert!(in_another_environment(&origin, missing, "SSL_CERT_FILE"));
    // Plain http, which needs no roots, goes straight too.
    let plain = TestServer::start(|_| Reply::json(404, "{}")).await;
    assert!(in_another_environment(&plain.origin, missing, "answered"));
    assert!(!in_another_environment(
        &plain.origin,
        missing,
        "something else"
    ));
}

#[tokio::test]
async fn an_origin_that_is_not_configured_is_not_called() {
    let transport = Transport::new(&settings("http://127.0.0.1:1")).unwrap();
    let url = Url::parse("http://127.0.0.1:2/x").unwrap();
    let failed = transport.get(url, None, transport.deadline()).await;
    assert!(matches!(
        failed.unwrap_err().error,
        ProviderError::Unusable(_)
    ));
}

#[tokio::test]
async fn the_cause_of_a_failure_shows_no_address() {
    let transport = Transport::new(&settings("http://127.0.0.1:1")).unwrap();
    let url = Url::parse("http://127.0.0.1:1/v1/users/ada%40acme.example").unwrap();
    let failed = transport
        .get(url, None, transport.deadline())
        .await
        .unwrap_err();
    assert_eq!(failed.error, ProviderError::Unreachable);
    assert!(!failed.cause.is_empty());
    assert!(!failed.cause.contains("acme"), "{}", failed.cause);
}
