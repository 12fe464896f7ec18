//! First visits: who becomes a user, and of which account (contract §2.3, security rules 1, 2).

use serde_json::json;
use vestibule::{BearerToken, Reason};
use vestibule_sandbox::{Endpoint, Fault, Tenant, User};

use crate::app::{App, app, subject, with};

#[tokio::test]
async fn a_first_visit_and_the_next() {
    let app = app().await;
    let me = app.user("user_ada").me().await.ok();
    let row = app.row("user_ada").await.unwrap();
    assert_eq!(row.id.get_version_num(), 7);
    assert_eq!(
        me,
        json!({
            "kind": "user",
            "user": {
                "id": row.id,
                "authress_user_id": "user_ada",
                "email": "ada@acme.example",
                "name": "Ada",
                "picture": null,
                "role": "member",
                "status": "active",
            },
            "account": {
                "id": app.acme.id,
                "name": "Acme",
                "authress_tenant_id": "tenant_acme",
                "status": "active",
            },
            "token": {
                "issuer": app.sandbox.issuer(),
                "client_id": "app_web",
                "scopes": ["openid", "profile", "email"],
                "expires_at": "2026-11-24T10:00:00Z",
            },
        })
    );
    assert_eq!(row.account_id, app.acme.id);
    assert_eq!(app.user("user_ada").me().await.ok(), me);
    // A known user costs nothing more, whatever token he brings.
    assert_eq!(app.calls(&[Endpoint::User, Endpoint::Tenant]), 2);
    assert_eq!(app.users(&app.acme).await, 1);
}

/// Rule 1: the tenant vouches for the way in which people sign in.
#[tokio::test]
async fn by_connection() {
    let app = app().await;
    for azp in [
        json!("con_globex"),
        json!("con_acme2"),
        json!("CON_ACME"),
        json!("con_acme "),
    ] {
        let token = app.sandbox.user_token("user_ada").azp(azp);
        app.with(token)
            .me()
            .await
            .refused(Reason::ConnectionMismatch);
    }
    let token = app.sandbox.user_token("user_ada").without_claim("azp");
    app.with(token)
        .me()
        .await
        .refused(Reason::ConnectionMismatch);
    assert!(app.row("user_ada").await.is_none());
    app.user("user_ada").me().await.ok();
    // Once he is one of theirs, how he signs in is the provider's business.
    let token = app.sandbox.user_token("user_ada").azp("con_elsewhere");
    app.with(token).me().await.ok();
}

#[tokio::test]
async fn by_a_tenant_that_names_no_connection() {
    let app = app().await;
    app.sandbox.add_tenant(Tenant::new("tenant_acme"));
    for token in [
        app.sandbox.user_token("user_ada").azp("con_anything"),
        app.sandbox.user_token("user_alan").without_claim("azp"),
    ] {
        app.with(token).me().await.ok();
    }
}

/// A connection that cannot be read is not the same as none.
#[tokio::test]
async fn by_a_tenant_that_names_its_connection_strangely() {
    for connection in [json!("con_acme"), json!({ "connectionId": 7 }), json!([])] {
        let app = app().await;
        app.sandbox
            .add_tenant(Tenant::new("tenant_acme").member("connection", connection));
        let token = app.sandbox.user_token("user_ada").azp("con_acme");
        app.with(token)
            .me()
            .await
            .refused(Reason::ProviderUnavailable);
    }
}

#[tokio::test]
async fn by_tenant_alone() {
    let app = with("USER_PROVISIONING", "tenant").start().await;
    let token = app.sandbox.user_token("user_ada").azp("con_elsewhere");
    app.with(token).me().await.ok();
    let token = app.sandbox.user_token("user_alan").without_claim("azp");
    app.with(token).me().await.ok();
    let token = app.sandbox.user_token("user_grace").without_claim("aud");
    app.with(token).me().await.refused(Reason::NoTenant);
}

#[tokio::test]
async fn by_nobody() {
    let app = with("USER_PROVISIONING", "off").start().await;
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::ProvisioningOff);
    assert!(app.row("user_ada").await.is_none());
    assert_eq!(app.sandbox.calls(Endpoint::Tenant), 0);
    // Those made beforehand come in.
    let new = vestibule::store::NewUser {
        account_id: app.acme.id,
        provider: "authress".to_owned(),
        subject: "user_alan".to_owned(),
        profile: vestibule::store::Profile::default(),
    };
    app.directory.provision_user(&new).await.unwrap();
    let answer = crate::app::eventually(
        async || app.user("user_alan").me().await,
        |answer| answer.is_ok(),
    );
    assert_eq!(subject(&answer.await.ok()), "user_alan");
}

/// An address is a claim; an Authress user id is an identity.
#[tokio::test]
async fn e_mail_finds_and_links_nobody() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    let ada = app.row("user_ada").await.unwrap();
    let same = |id: &str| User::new(id).name("Ada").email("ada@acme.example");
    app.sandbox
        .add_user(same("user_twin").tenant("tenant_acme"));
    app.sandbox
        .add_user(same("user_thief").tenant("tenant_globex"));
    let twin = app.user("user_twin").me().await.ok();
    let thief = app.user("user_thief").me().await.ok();
    for (me, account) in [(&twin, &app.acme), (&thief, &app.globex)] {
        assert_ne!(me["user"]["id"], json!(ada.id));
        assert_eq!(me["account"]["id"], json!(account.id));
        assert_eq!(me["user"]["role"], "member");
    }
    assert_eq!(app.row("user_ada").await.unwrap(), ada);
    // A tenant's domain, or an address in the token, lets nobody in either.
    app.sandbox.add_user(same("user_third"));
    let token = app.sandbox.user_token("user_third");
    let token = token
        .claim("email", "ada@acme.example")
        .claim("email_verified", true);
    app.with(token).me().await.refused(Reason::NoTenant);
}

#[tokio::test]
async fn subjects_differ_in_every_letter() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    for id in ["USER_ADA", "user_ada ", "user_ada|x", "auth0|user/ada~1"] {
        app.sandbox.add_user(User::new(id).tenant("tenant_globex"));
        let me = app.user(id).me().await.ok();
        assert_eq!(subject(&me), id);
        assert_eq!(me["account"]["id"], json!(app.globex.id));
    }
    assert_eq!(app.users(&app.acme).await, 1);
}

#[tokio::test]
async fn people_whose_token_a_client_obtained() {
    let by_client = |app: &App| app.sandbox.user_token("user_ada").client_id("sc_robot01");
    let app = app().await;
    app.with(by_client(&app))
        .me()
        .await
        .refused(Reason::ClientIssuedUser);
    assert!(app.row("user_ada").await.is_none());

    let app = with("AUTHRESS_ALLOW_CLIENT_ISSUED_USERS", "true")
        .start()
        .await;
    let me = app.with(by_client(&app)).me().await.ok();
    assert_eq!(
        (me["kind"].as_str(), subject(&me)),
        (Some("user"), "user_ada")
    );
    assert_eq!(me["token"]["client_id"], "sc_robot01");
    // Still not our own client, and still no client as the person.
    let own = app
        .sandbox
        .user_token("user_ada")
        .client_id(app.sandbox.server_client_id());
    app.with(own).me().await.refused(Reason::OwnClient);
    let itself = app.sandbox.user_token("sc_robot01").client_id("sc_robot01");
    app.with(itself).me().await.refused(Reason::SubjectMismatch);
}

/// Rule 2.
#[tokio::test]
async fn accepted_applications() {
    let app = with("AUTHRESS_APPLICATIONS", "app_web,app_phone")
        .start()
        .await;
    app.user("user_ada").me().await.ok();
    let of = |application: &str| app.sandbox.user_token("user_ada").client_id(application);
    app.with(of("app_phone")).me().await.ok();
    for application in [
        "app_other",
        "app_we",
        "app_web2",
        "APP_WEB",
        "app_web,app_phone",
    ] {
        app.with(of(application))
            .me()
            .await
            .refused(Reason::NotAnApplication);
    }
    // Machines are no applications.
    app.client("sc_robot01").me().await.ok();
}

#[tokio::test]
async fn audiences_of_the_api() {
    let app = with("API_AUDIENCES", "api_notes,https://api.acme.example")
        .start()
        .await;
    let to = |audiences: serde_json::Value| app.sandbox.user_token("user_ada").audience(audiences);
    for wrong in [
        json!(["tenant_acme"]),
        json!("tenant_acme"),
        json!([]),
        json!(["tenant_acme", "api_other"]),
    ] {
        app.with(to(wrong))
            .me()
            .await
            .refused(Reason::WrongAudience);
    }
    let token = app.sandbox.user_token("user_ada").without_claim("aud");
    app.with(token).me().await.refused(Reason::WrongAudience);
    // The API itself is no tenant.
    app.with(to(json!(["api_notes"])))
        .me()
        .await
        .refused(Reason::NoTenant);
    app.with(to(json!(["api_notes", "tenant_acme"])))
        .me()
        .await
        .ok();
    app.with(to(json!(["https://api.acme.example", "tenant_acme"])))
        .me()
        .await
        .ok();
    app.client("sc_robot01").me().await.ok();
}

/// Security rule 5: a value with `://` is a URL, and a URL is no tenant.
#[tokio::test]
async fn tenants_among_other_audiences() {
    let app = app().await;
    let to = |audiences: serde_json::Value| app.sandbox.user_token("user_ada").audience(audiences);
    for none in [
        json!(["https://api.authress.io"]),
        json!("https://tenant_acme"),
        json!(["tenant_acme://"]),
    ] {
        app.with(to(none)).me().await.refused(Reason::NoTenant);
    }
    let both = json!(["tenant_acme", "https://api.authress.io", "tenant_acme"]);
    app.with(to(both)).me().await.ok();
    // A known user's token may name others beside his own.
    app.with(to(json!(["tenant_globex", "tenant_acme"])))
        .me()
        .await
        .ok();
    app.with(to(json!(["tenant_globex", "tenant_none"])))
        .me()
        .await
        .refused(Reason::TenantMismatch);
    for odd in ["TENANT_ACME", "tenant_acme ", "tenant_acm", "tenant_acme2"] {
        app.with(to(json!([odd])))
            .me()
            .await
            .refused(Reason::TenantMismatch);
    }
}

#[tokio::test]
async fn a_tenant_claim_of_ones_own() {
    let app = with("AUTHRESS_TENANT_CLAIM", "org").start().await;
    let of = |org: serde_json::Value| app.sandbox.user_token("user_ada").claim("org", org);
    app.user("user_ada").me().await.refused(Reason::NoTenant);
    for odd in [json!(7), json!(null), json!({}), json!([7])] {
        app.with(of(odd)).me().await.refused(Reason::BadClaim);
    }
    app.with(of(json!("tenant_acme"))).me().await.ok();
    // `aud` means nothing then, to nobody.
    let token = of(json!(["tenant_acme"])).audience(json!(["tenant_globex"]));
    app.with(token).me().await.ok();
    app.with(of(json!("tenant_globex")))
        .me()
        .await
        .refused(Reason::TenantMismatch);
    let twice = of(json!("tenant_acme")).double_claim("org", "tenant_globex");
    app.with(twice).me().await.refused(Reason::DuplicateMember);
}

#[tokio::test]
async fn known_users_without_a_tenant_where_allowed() {
    let app = with("AUTHRESS_REQUIRE_TENANT", "false").start().await;
    let without = |who: &str| app.sandbox.user_token(who).without_claim("aud");
    // A new user needs one all the same.
    app.with(without("user_ada"))
        .me()
        .await
        .refused(Reason::NoTenant);
    app.user("user_ada").me().await.ok();
    let me = app.with(without("user_ada")).me().await.ok();
    assert_eq!(me["account"]["id"], json!(app.acme.id));
    let urls = app
        .sandbox
        .user_token("user_ada")
        .audience("https://api.authress.io");
    app.with(urls).me().await.ok();
    // What it names, it must name rightly.
    let abroad = app.sandbox.user_token("user_ada").tenant("tenant_globex");
    app.with(abroad).me().await.refused(Reason::TenantMismatch);
}

/// The record of a tenant must be the record of that tenant.
#[tokio::test]
async fn answers_about_somebody_else() {
    let app = app().await;
    app.sandbox.add_user(
        User::new("user_ada")
            .member("userId", "user_grace")
            .tenant("tenant_acme"),
    );
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::ProviderUnavailable);
    app.sandbox
        .add_tenant(Tenant::new("tenant_globex").member("tenantId", "tenant_acme"));
    app.user("user_grace")
        .me()
        .await
        .refused(Reason::ProviderUnavailable);
    assert_eq!(app.users(&app.acme).await + app.users(&app.globex).await, 0);
}

/// Whoever explains a token says what a first visit would come to, and makes none.
#[tokio::test]
async fn a_first_visit_can_be_foretold() {
    let app = app().await;
    let authenticator = app.entrance.vestibule.authenticator();
    let foretold = async |token: String| {
        let token = BearerToken::parse(&token).unwrap();
        let verified = authenticator.cached_verify_token(&token).await.unwrap();
        authenticator.first_visit(&verified).await
    };
    let ada = || app.sandbox.user_token("user_ada");
    let account = foretold(ada().mint()).await.unwrap().unwrap();
    assert_eq!(account.id, app.acme.id);
    assert!(app.row("user_ada").await.is_none(), "nobody was made");
    let robot = app.sandbox.client_token("sc_robot01").mint();
    assert_eq!(foretold(robot).await.unwrap(), None);
    for (token, reason) in [
        (ada().azp("con_globex"), Reason::ConnectionMismatch),
        (ada().without_claim("aud"), Reason::NoTenant),
        (
            app.sandbox.user_token("user_nobody").tenant("tenant_acme"),
            Reason::UnknownUser,
        ),
    ] {
        let refused = foretold(token.claim("n", 1).mint()).await.unwrap_err();
        assert_eq!(refused.reason, reason);
    }
    app.sandbox.fail(Endpoint::User, Fault::Status(503));
    let alan = app.sandbox.user_token("user_alan").mint();
    let refused = foretold(alan).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ProviderUnavailable);
    app.sandbox.heal();
    // Who is known has made his first visit.
    app.user("user_ada").me().await.ok();
    assert_eq!(foretold(ada().mint()).await.unwrap(), None);
}
