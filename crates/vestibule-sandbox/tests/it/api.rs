//! The endpoints, as Authress answers them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vestibule_sandbox::{Client, Endpoint, Sandbox, SigningKey, Tenant, User};

use crate::ask::{acme, ask, ask_as, get, http, open, verifies};

#[tokio::test]
async fn a_user_is_found_by_his_id() {
    let sandbox = acme().await;
    let (status, ada) = get(&sandbox, "/v1/users/user_ada").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        ada,
        json!({
            "userId": "user_ada",
            "name": "Ada",
            "email": "ada@acme.example",
            "linkedIdentities":
                [{ "connection": { "connectionId": "con_acme", "userId": "user_ada" } }],
        })
    );
    assert_eq!(
        get(&sandbox, "/v1/users/user_eve").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn ids_are_decoded_exactly_once() {
    let sandbox = acme().await;
    for id in ["saml|a/b c", "a%2Fb", "ü@acme.example"] {
        sandbox.add_user(User::new(id));
    }
    for (path, id) in [
        ("/v1/users/saml%7Ca%2Fb%20c", "saml|a/b c"),
        ("/v1/users/a%252Fb", "a%2Fb"),
        ("/v1/users/%C3%BC%40acme.example", "ü@acme.example"),
    ] {
        assert_eq!(get(&sandbox, path).await.1["userId"], id);
        assert_eq!(sandbox.calls_for(path), 1);
    }
    assert_eq!(
        get(&sandbox, "/v1/users/a%2Fb").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn records_change_and_can_be_nonsense() {
    let sandbox = acme().await;
    sandbox
        .update_user("user_ada", |ada| ada.name("Ada L.").member("email", 7))
        .unwrap();
    let (_, ada) = get(&sandbox, "/v1/users/user_ada").await;
    assert_eq!((&ada["name"], &ada["email"]), (&json!("Ada L."), &json!(7)));
    assert!(sandbox.update_user("user_eve", |eve| eve).is_err());
    sandbox.remove_user("user_ada").unwrap();
    assert_eq!(
        get(&sandbox, "/v1/users/user_ada").await.0,
        StatusCode::NOT_FOUND
    );
    assert!(sandbox.remove_user("user_ada").is_err());
}

#[tokio::test]
async fn users_are_listed_in_pages() {
    let sandbox = acme().await;
    for number in 0..250 {
        sandbox.add_user(User::new(format!("user_{number:03}")).tenant("tenant_many"));
    }
    let mut seen = Vec::new();
    let mut path = "/v1/users?tenantId=tenant_many&limit=100".to_owned();
    loop {
        let (status, page) = get(&sandbox, &path).await;
        assert_eq!(status, StatusCode::OK);
        let users = page["users"].as_array().unwrap();
        seen.extend(
            users
                .iter()
                .map(|user| user["userId"].as_str().unwrap().to_owned()),
        );
        assert!(page["links"]["self"]["href"].is_string());
        let Some(cursor) = page["pagination"]["next"]["cursor"].as_str() else {
            assert!(page["links"].get("next").is_none());
            break;
        };
        assert!(
            page["links"]["next"]["href"]
                .as_str()
                .unwrap()
                .contains(cursor)
        );
        path = format!("/v1/users?tenantId=tenant_many&limit=100&cursor={cursor}");
    }
    let all: Vec<String> = (0..250).map(|number| format!("user_{number:03}")).collect();
    assert_eq!(seen, all);

    let count = async |query: &str| {
        let (_, page) = get(&sandbox, &format!("/v1/users{query}")).await;
        page["users"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 100);
    assert_eq!(count("?filter=ADA").await, 1);
    assert_eq!(count("?tenantId=tenant_acme").await, 1);
    for bad in ["?limit=0", "?limit=101", "?limit=x", "?cursor=%21"] {
        let status = get(&sandbox, &format!("/v1/users{bad}")).await.0;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn tenants_are_made_changed_listed_and_deleted() {
    let sandbox = acme().await;
    let (_, acme) = get(&sandbox, "/v1/tenants/tenant_acme").await;
    assert_eq!(acme["tenantId"], "tenant_acme");
    assert_eq!(acme["data"]["name"], "Acme");
    assert_eq!(acme["connection"]["connectionId"], "con_acme");
    let wanted = json!({ "tenantId": "tenant_new", "data": { "name": "New" },
        "domains": [{ "domain": "new.example" }], "unheardOf": 1 });
    let make = || ask(&sandbox, Method::POST, "/v1/tenants", Some(wanted.clone()));
    assert_eq!(make().await.0, StatusCode::CREATED);
    assert_eq!(make().await.0, StatusCode::CONFLICT);
    let path = "/v1/tenants/tenant_new";
    let (_, new) = get(&sandbox, path).await;
    assert_eq!(new["domains"], json!([{ "domain": "new.example" }]));
    let renamed = json!({ "data": { "name": "Newer" } });
    ask(&sandbox, Method::PUT, path, Some(renamed)).await;
    assert_eq!(get(&sandbox, path).await.1["data"]["name"], "Newer");
    let (_, list) = get(&sandbox, "/v1/tenants?limit=1").await;
    assert_eq!(list["tenants"][0]["tenantId"], "tenant_acme");
    assert!(list["pagination"]["next"]["cursor"].is_string());
    assert!(list.get("links").is_none());
    let ada = json!({ "userId": "user_ada" });
    let linked = ask(
        &sandbox,
        Method::PATCH,
        "/v1/tenants/tenant_new/users",
        Some(ada),
    )
    .await;
    assert_eq!(linked.0, StatusCode::OK);
    assert_eq!(
        open(&sandbox.user_token("user_ada").mint()).1["aud"],
        json!(["tenant_new"])
    );
    ask(&sandbox, Method::DELETE, path, None).await;
    assert_eq!(get(&sandbox, path).await.0, StatusCode::NOT_FOUND);
    sandbox.add_tenant(Tenant::new("tenant_bare"));
    let (_, bare) = get(&sandbox, "/v1/tenants/tenant_bare").await;
    assert!(bare.get("connection").is_none());
}

#[tokio::test]
async fn clients_show_their_options_and_keys() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01").name("Robot").tag("team", "a"));
    let (_, robot) = get(&sandbox, "/v1/clients/sc_robot01").await;
    assert_eq!(robot["options"]["grantTokenGeneration"], false);
    assert_eq!(robot["tags"]["team"], "a");
    let kid = sandbox.client_key("sc_robot01").kid().to_owned();
    assert_eq!(robot["verificationKeys"][0]["keyId"], kid);
    sandbox.add_client(Client::new("sc_robot01").grant_token_generation(true));
    let (_, robot) = get(&sandbox, "/v1/clients/sc_robot01").await;
    assert_eq!(robot["options"]["grantTokenGeneration"], true);
    let (_, list) = get(&sandbox, "/v1/clients").await;
    assert_eq!(list["clients"].as_array().unwrap().len(), 2);
    assert_eq!(
        get(&sandbox, "/v1/clients?limit=21").await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        get(&sandbox, "/v1/clients/sc_none").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn access_keys_are_made_and_deleted_over_the_api() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01"));
    let path = "/v1/clients/sc_robot01/access-keys";
    let (status, made) = ask(&sandbox, Method::POST, path, None).await;
    assert_eq!(status, StatusCode::CREATED);
    let text = made["accessKey"].as_str().unwrap();
    assert_eq!(text.split('.').count(), 4);
    assert_eq!(text.split('.').nth(1), made["keyId"].as_str());

    // A key of our own: only its public half is sent.
    let own = SigningKey::stranger("own");
    let mut spki = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    spki.extend(own.public_key());
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.encode(spki);
    let body = Some(json!({ "publicKey": public }));
    let (status, made) = ask(&sandbox, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(made.get("accessKey").is_none());
    let own = own.with_kid(made["keyId"].as_str().unwrap());
    let token = sandbox.client_token("sc_robot01").key(&own).mint();
    assert!(verifies(&token).await);

    let one = format!("{path}/{}", own.kid());
    let deleted = ask(&sandbox, Method::DELETE, &one, None).await;
    assert_eq!(deleted.0, StatusCode::NO_CONTENT);
    assert!(!verifies(&token).await);
    assert_eq!(
        ask(&sandbox, Method::DELETE, &one, None).await.0,
        StatusCode::NOT_FOUND
    );
    for _ in 0..3 {
        assert_eq!(
            ask(&sandbox, Method::POST, path, None).await.0,
            StatusCode::CREATED
        );
    }
    let sixth = ask(&sandbox, Method::POST, path, None).await;
    assert_eq!(sixth.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_permission_is_200_without_body_or_404() {
    let sandbox = acme().await;
    let path = "/v1/users/user_ada/resources/notes%2F1/permissions/notes%3Aread";
    assert_eq!(get(&sandbox, path).await.0, StatusCode::NOT_FOUND);
    sandbox.allow("user_ada", "notes/1", "notes:read");
    assert_eq!(get(&sandbox, path).await, (StatusCode::OK, Value::Null));
    sandbox.deny("user_ada", "notes/1", "notes:read");
    assert_eq!(get(&sandbox, path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn callers_are_known_or_refused() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01"));
    sandbox.add_client(Client::new("sc_check01").grant_user_permissions_access(true));
    let own = || sandbox.client_token(sandbox.server_client_id());
    let ada = "/v1/users/user_ada";
    let status = async |token: Option<String>, path: &str| {
        let asked = ask_as(&sandbox, token.as_deref(), Method::GET, path, None);
        asked.await.0.as_u16()
    };
    assert_eq!(status(Some(own().mint()), ada).await, 200);
    let refused = [
        own().tamper_signature().mint(),
        own().sign_with(&SigningKey::stranger("k1")).mint(),
        own().kid("unknown").mint(),
        own().expires_in(-61).mint(),
        own().without_claim("exp").mint(),
        own().audience("other.accounts.authress.io").mint(),
        own().sub("sc_robot01").mint(),
        own().issuer(sandbox.client_issuer("sc_none")).mint(),
        own().issuer("https://elsewhere.example").mint(),
        own().unsigned().mint(),
        sandbox.access_key(),
        "garbage".to_owned(),
    ];
    for token in refused {
        assert_eq!(status(Some(token.clone()), ada).await, 401, "{token}");
    }
    assert_eq!(status(None, ada).await, 401);
    // Known, but without the right.
    assert_eq!(
        status(Some(sandbox.client_token("sc_robot01").mint()), ada).await,
        403
    );
    // A user sees himself and nobody else.
    let by_ada = || Some(sandbox.user_token("user_ada").mint());
    assert_eq!(status(by_ada(), ada).await, 200);
    assert_eq!(status(by_ada(), "/v1/users").await, 403);
    assert_eq!(status(by_ada(), "/v1/users/user_eve").await, 403);
    // A client with that one grant asks for permissions and nothing else.
    let checker = || Some(sandbox.client_token("sc_check01").mint());
    let permission = format!("{ada}/resources/x/permissions/y");
    assert_eq!(status(checker(), &permission).await, 404);
    assert_eq!(status(checker(), ada).await, 403);
}

#[tokio::test]
async fn refusals_have_the_providers_body() {
    let sandbox = acme().await;
    let (_, one) = ask_as(&sandbox, None, Method::GET, "/v1/users", None).await;
    let (_, two) = get(&sandbox, "/v1/tenants/none").await;
    assert_eq!(one["errorCode"], "Unauthorized");
    assert_eq!(two["errorCode"], "NotFound");
    assert!(one["title"].is_string() && two["title"].is_string());
    assert_ne!(one["errorId"], two["errorId"]);
    let (status, _) = ask(&sandbox, Method::PUT, "/v1/users/user_ada", None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&sandbox, "/v2/users").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        get(&sandbox, "/v1/users/%FF").await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn client_credentials_give_a_token_of_the_account() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01"));
    let url = format!("{}/api/authentication/oauth/tokens", sandbox.url());
    let secret = sandbox.client_access_key("sc_robot01");
    let json = json!({ "grant_type": "client_credentials", "client_id": "sc_robot01",
        "client_secret": secret });
    let response = http().post(&url).json(&json).send().await.unwrap();
    let answer: Value = response.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let (_, claims) = open(token);
    assert_eq!(claims["sub"], "sc_robot01");
    assert_eq!(claims["iss"], sandbox.issuer());
    assert!(verifies(token).await);

    let form = format!(
        "grant_type=client_credentials&client_id=sc_robot01&client_secret={}",
        secret
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    );
    let send = async |body: &str| {
        let request = http().post(&url).body(body.to_owned());
        let kind = "application/x-www-form-urlencoded";
        let request = request.header("content-type", kind);
        request.send().await.unwrap().status()
    };
    assert_eq!(send(&form).await, StatusCode::OK);
    assert_eq!(
        send(&form.replace("robot01&", "server01&")).await,
        StatusCode::UNAUTHORIZED
    );
    let password = form.replace("client_credentials", "password");
    assert_eq!(send(&password).await, StatusCode::BAD_REQUEST);
    // A withdrawn key opens nothing.
    sandbox.remove_client_keys("sc_robot01").unwrap();
    assert_eq!(send(&form).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn calls_are_counted_and_logged() {
    let sandbox = acme().await;
    get(&sandbox, "/v1/users/user_ada?x=1").await;
    get(&sandbox, "/v1/users/user_eve").await;
    ask_as(
        &sandbox,
        None,
        Method::GET,
        "/.well-known/openid-configuration/jwks",
        None,
    )
    .await;
    assert_eq!(sandbox.calls(Endpoint::User), 2);
    assert_eq!(sandbox.calls(Endpoint::Jwks), 1);
    assert_eq!(sandbox.all_calls(), 3);
    let log = sandbox.call_log();
    assert_eq!(
        (log[0].method.as_str(), log[0].path.as_str()),
        ("GET", "/v1/users/user_ada")
    );
    assert_eq!(log[0].query.as_deref(), Some("x=1"));
    assert!(log[0].authorized && !log[2].authorized);
    sandbox.reset_calls();
    assert_eq!(
        (sandbox.all_calls(), sandbox.calls_for("/v1/users/user_ada")),
        (0, 0)
    );
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let sandbox = acme().await;
    let client = http();
    let url = format!("{}/.well-known/openid-configuration", sandbox.url());
    for _ in 0..5 {
        let found: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
        let jwks = format!("{}/.well-known/openid-configuration/jwks", sandbox.url());
        assert_eq!(found["jwks_uri"], jwks);
    }
    assert_eq!(sandbox.connections(), 1);
}

#[tokio::test]
async fn a_stopped_sandbox_is_gone_and_its_port_free() {
    let sandbox = acme().await;
    let port = sandbox.port();
    let url = sandbox.url().to_owned();
    let clone = sandbox.clone();
    drop(sandbox);
    assert!(
        http().get(&url).send().await.is_ok(),
        "a clone keeps it alive"
    );
    drop(clone);
    let again = async {
        loop {
            if let Ok(sandbox) = Sandbox::builder().port(port).start().await {
                return sandbox;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(5);
    let again = tokio::time::timeout(limit, again).await.unwrap();
    assert_eq!(again.url(), url);
    again.stop();
    assert!(http().get(&url).send().await.is_err());
}

#[tokio::test]
async fn the_demo_world_is_two_companies_three_people_and_two_robots() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let world = sandbox.add_demo_world();
    let users: usize = world.iter().map(|tenant| tenant.users.len()).sum();
    let clients: usize = world.iter().map(|tenant| tenant.clients.len()).sum();
    assert_eq!((world.len(), users, clients), (2, 3, 2));
    for tenant in world {
        let (_, record) = get(&sandbox, &format!("/v1/tenants/{}", tenant.id)).await;
        assert_eq!(record["data"]["name"], tenant.name);
        for user in tenant.users {
            let (_, record) = get(&sandbox, &format!("/v1/users/{}", user.id)).await;
            assert_eq!(record["name"], user.name);
            let (_, claims) = open(&sandbox.user_token(user.id).mint());
            assert_eq!(claims["aud"], json!([tenant.id]));
            assert_eq!(claims["azp"], tenant.connection);
        }
        for client in tenant.clients {
            let (_, record) = get(&sandbox, &format!("/v1/clients/{}", client.id)).await;
            assert_eq!(record["name"], client.name);
        }
    }
}
