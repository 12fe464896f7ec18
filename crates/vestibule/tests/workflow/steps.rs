//! The workflow step by step, for callers without axum (contract §8).

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use vestibule::{
    BearerToken, Code, PrincipalKind, Reason, SessionError, TenantRepository, TenantSession,
    provider::Found, token::TokenClass,
};
use vestibule_sandbox::Endpoint;

use crate::app::{App, app};

struct Notes(TenantSession);

impl TenantRepository for Notes {
    fn new(session: TenantSession) -> Self {
        Self(session)
    }
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, value);
    headers
}

fn tokens(app: &App) -> [String; 2] {
    [
        app.sandbox.user_token("user_ada").mint(),
        app.sandbox.client_token("sc_robot01").mint(),
    ]
}

#[tokio::test]
async fn from_headers_to_a_principal() {
    let app = app().await;
    let authenticator = app.entrance.vestibule.authenticator();
    let kinds = [PrincipalKind::User, PrincipalKind::Machine];
    for (token, kind) in tokens(&app).iter().zip(kinds) {
        let principal = authenticator.validate_token(&headers(token)).await.unwrap();
        assert_eq!((principal.kind(), principal.account()), (kind, &app.acme));
        assert_eq!(&principal.user_with_account().account, principal.account());
    }
    let nothing = authenticator.validate_token(&HeaderMap::new()).await;
    assert_eq!(nothing.unwrap_err().reason, Reason::MissingToken);
    let refusal = authenticator
        .validate_token(&headers("a.b.c"))
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.code()),
        (Reason::BadBase64, Code::InvalidToken)
    );
    assert!(refusal.caller.is_none());
}

#[tokio::test]
async fn one_step_after_the_other() {
    let app = app().await;
    let authenticator = app.entrance.vestibule.authenticator();
    let [user, machine] = tokens(&app);
    let bearer = BearerToken::parse(&user).unwrap();
    let user = authenticator.cached_verify_token(&bearer).await.unwrap();
    let bearer = BearerToken::parse(&machine).unwrap();
    let machine = authenticator.cached_verify_token(&bearer).await.unwrap();
    assert_eq!(
        [user.class(), machine.class()],
        [TokenClass::User, TokenClass::Machine]
    );
    // Each kind has its own way, and none goes the other's.
    let ada = authenticator.validate_user_token(&user).await.unwrap();
    let robot = authenticator
        .validate_machine_token(&machine)
        .await
        .unwrap();
    assert_eq!(ada.user().authress_user_id, "user_ada");
    assert_eq!(robot.user().authress_user_id, "sc_robot01");
    for refusal in [
        authenticator.validate_user_token(&machine).await,
        authenticator.validate_machine_token(&user).await,
    ] {
        assert_eq!(refusal.unwrap_err().reason, Reason::SubjectMismatch);
    }
}

#[tokio::test]
async fn authress_itself() {
    let app = app().await;
    let authress = app.entrance.vestibule.authress();
    let [user, _] = tokens(&app);
    let verified = authress.verify_token(&user).await.unwrap();
    assert_eq!(verified.subject(), "user_ada");
    let reason = authress
        .verify_token(&format!("Bearer {user}"))
        .await
        .unwrap_err();
    assert_eq!(reason, Reason::MalformedAuthorization);
    // Asked afresh each time: this way goes through no memory.
    for calls in 1..=2 {
        let found = authress.users().get_user("user_ada").await;
        assert!(matches!(&found, Ok(Found::Present(ada)) if ada.name.as_deref() == Some("Ada")));
        assert_eq!(app.sandbox.calls(Endpoint::User), calls);
    }
    let found = authress.tenants().get_tenant("tenant_acme").await;
    let Ok(Found::Present(tenant)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(tenant.connection_id.as_deref(), Some("con_acme"));
    let nobody = authress.users().get_user("user_nobody").await;
    assert_eq!(nobody, Ok(Found::Gone));
}

#[tokio::test]
async fn a_session_outside_of_a_request() {
    let app = app().await;
    let vestibule = &app.entrance.vestibule;
    let [user, _] = tokens(&app);
    let ada = vestibule
        .authenticator()
        .validate_token(&headers(&user))
        .await
        .unwrap();
    for (keep, text) in [(true, "kept"), (false, "not kept")] {
        let Notes(notes) = vestibule.get_repository(&ada).unwrap();
        let note = notes
            .query("INSERT INTO notes (id, text) SELECT COALESCE(MAX(id), 0) + 1, $1 FROM notes")
            .bind(text);
        note.execute().await.unwrap();
        let late = notes.clone();
        match keep {
            true => notes.commit().await.unwrap(),
            false => notes.rollback().await.unwrap(),
        }
        let closed = late.query("SELECT 1").fetch_scalar::<i64>().await;
        assert!(
            matches!(closed, Err(SessionError::SessionClosed)),
            "{closed:?}"
        );
    }
    let notes = app.user("user_alan").get("/notes").await.ok();
    assert_eq!(notes, serde_json::json!(["kept"]));
}
