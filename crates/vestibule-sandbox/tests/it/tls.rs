//! TLS with the throw-away authority.

use reqwest::Certificate;
use vestibule_sandbox::Sandbox;

use crate::ask::{builder, http};

#[tokio::test]
async fn the_authority_proves_the_name_and_the_address() {
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    assert!(sandbox.url().starts_with("https://localhost:"));
    let authority = Certificate::from_pem(sandbox.ca_pem().unwrap().as_bytes()).unwrap();
    let client = builder().tls_certs_only([authority]).build().unwrap();
    let port = sandbox.port();
    for origin in [
        sandbox.url().to_owned(),
        format!("https://127.0.0.1:{port}"),
    ] {
        let url = format!("{origin}/.well-known/openid-configuration/jwks");
        let response = client.get(url).send().await.unwrap();
        assert_eq!(response.status(), reqwest::StatusCode::OK);
    }
    // Nobody else trusts it, and plain HTTP gets nowhere.
    assert!(http().get(sandbox.url()).send().await.is_err());
    let plain = format!("http://127.0.0.1:{port}/");
    assert!(http().get(plain).send().await.is_err());
}

#[tokio::test]
async fn the_environment_names_the_authoritys_file() {
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    let variables = sandbox.environment();
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["AUTHRESS_API_URL", "AUTHRESS_ACCESS_KEY", "SSL_CERT_FILE"]
    );
    let path = sandbox.ca_pem_path().unwrap().to_owned();
    assert_eq!(variables[2].1, path.display().to_string());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, sandbox.ca_pem().unwrap());
    drop(sandbox);
    assert!(!path.exists(), "the file goes with the sandbox");

    let plain = Sandbox::builder().start().await.unwrap();
    assert!(plain.ca_pem().is_none() && plain.ca_pem_path().is_none());
    assert_eq!(plain.environment().len(), 2);
}
