//! JSON → answers. Lenient with what we can do without: unknown members, nulls and unexpected
//! types are common in real answers. Strict with what a decision rests on.

use serde_json::Value;

use super::{AuthressClient, AuthressTenant, AuthressUser, ProviderError};

/// Characters of a name.
const MAX_NAME: usize = 256;
/// Characters of an e-mail address (RFC 5321: 64 + 1 + 255).
const MAX_EMAIL: usize = 320;
/// Characters of a picture's address.
const MAX_PICTURE: usize = 2_048;

/// The user `id`.
pub(super) fn user(body: &[u8], id: &str) -> Result<AuthressUser, ProviderError> {
    let user = object(body)?;
    same(&user, "userId", id)?;
    Ok(AuthressUser {
        user_id: id.to_owned(),
        name: bounded(user.get("name"), MAX_NAME),
        email: bounded(user.get("email"), MAX_EMAIL),
        picture: bounded(user.get("picture"), MAX_PICTURE),
    })
}

/// A body from which [`user`] reads the same again.
pub(super) fn user_body(user: &AuthressUser) -> Vec<u8> {
    serde_json::json!({
        "userId": user.user_id,
        "name": user.name,
        "email": user.email,
        "picture": user.picture,
    })
    .to_string()
    .into_bytes()
}

/// The tenant `id`.
pub(super) fn tenant(body: &[u8], id: &str) -> Result<AuthressTenant, ProviderError> {
    let tenant = object(body)?;
    same(&tenant, "tenantId", id)?;
    Ok(AuthressTenant {
        tenant_id: id.to_owned(),
        name: bounded(tenant.pointer("/data/name"), MAX_NAME),
        connection_id: connection(&tenant)?,
    })
}

/// The service client `id`.
pub(super) fn client(body: &[u8], id: &str) -> Result<AuthressClient, ProviderError> {
    let client = object(body)?;
    same(&client, "clientId", id)?;
    let grants = match client.pointer("/options/grantTokenGeneration") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        // Anything else may mean yes, and yes is the dangerous answer.
        Some(_) => true,
    };
    Ok(AuthressClient {
        client_id: id.to_owned(),
        name: bounded(client.get("name"), MAX_NAME),
        grant_token_generation: grants,
    })
}

/// The connection that vouches for a tenant's people. One that cannot be read must not look like
/// none, for a tenant without a connection vouches for everybody.
fn connection(tenant: &Value) -> Result<Option<String>, ProviderError> {
    let id = match tenant.get("connection") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(connection)) => connection.get("connectionId"),
        Some(_) => return Err(ProviderError::Unusable("its connection is not an object")),
    };
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(_) => Err(ProviderError::Unusable("its connectionId is not a text")),
    }
}

fn object(body: &[u8]) -> Result<Value, ProviderError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        Ok(_) => Err(ProviderError::Unusable("it is not a JSON object")),
        Err(_) => Err(ProviderError::Unusable("it is not JSON")),
    }
}

/// An answer about somebody else is none.
fn same(answer: &Value, member: &str, id: &str) -> Result<(), ProviderError> {
    match answer.get(member).and_then(Value::as_str) {
        Some(found) if found == id => Ok(()),
        _ => Err(ProviderError::Unusable("it is not about what was asked")),
    }
}

fn bounded(value: Option<&Value>, max: usize) -> Option<String> {
    let text = value?.as_str()?;
    let fits = text.chars().take(max + 1).count() <= max && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read_user(extra: Value) -> AuthressUser {
        let mut body = json!({ "userId": "user_ada" });
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        user(body.to_string().as_bytes(), "user_ada").unwrap()
    }

    #[test]
    fn names_are_bounded_in_characters() {
        for (member, max) in [("name", 256), ("email", 320), ("picture", 2_048)] {
            let fits = "é".repeat(max);
            let read = |text: &str| {
                let user = read_user(json!({ member: text }));
                match member {
                    "name" => user.name,
                    "email" => user.email,
                    _ => user.picture,
                }
            };
            assert_eq!(read(&fits).as_deref(), Some(fits.as_str()));
            assert_eq!(read(&format!("{fits}x")), None);
            for control in ["a\u{0}b", "a\nb", "a\u{1b}[31m", "a\u{7f}", "a\u{85}b"] {
                assert_eq!(read(control), None, "{control:?}");
            }
        }
    }

    #[test]
    fn unknown_null_and_odd_members_do_no_harm() {
        let user = read_user(json!({
            "name": null, "email": 7, "picture": ["x"], "links": { "self": {} }, "brandNew": true,
        }));
        assert_eq!((user.name, user.email, user.picture), (None, None, None));
        let tenant = tenant(br#"{"tenantId":"t","data":null,"connection":null}"#, "t").unwrap();
        assert_eq!((tenant.name, tenant.connection_id), (None, None));
        let client = client(br#"{"clientId":"c","options":null}"#, "c").unwrap();
        assert!(!client.grant_token_generation);
    }

    #[test]
    fn an_answer_about_somebody_else_is_none() {
        for body in [
            r#"{"userId":"user_bob"}"#,
            r#"{"userId":"User_ada"}"#,
            r#"{"userId":7}"#,
            r#"{"userId":null}"#,
            "{}",
            "[]",
            "null",
            "",
            "<html>user_ada</html>",
            r#"{"userId":"user_ada""#,
        ] {
            assert!(
                matches!(
                    user(body.as_bytes(), "user_ada"),
                    Err(ProviderError::Unusable(_))
                ),
                "{body}"
            );
        }
        assert!(tenant(br#"{"tenantId":"other"}"#, "t").is_err());
        assert!(client(br#"{"clientId":"other"}"#, "c").is_err());
    }

    #[test]
    fn a_connection_that_cannot_be_read_is_not_no_connection() {
        let read = |connection: Value| {
            let body = json!({ "tenantId": "t", "connection": connection }).to_string();
            tenant(body.as_bytes(), "t").map(|tenant| tenant.connection_id)
        };
        assert_eq!(
            read(json!({ "connectionId": "con_1" })),
            Ok(Some("con_1".into()))
        );
        assert_eq!(read(json!({ "connectionId": "" })), Ok(Some(String::new())));
        assert_eq!(read(json!({ "connectionId": null })), Ok(None));
        assert_eq!(read(json!({})), Ok(None));
        for odd in [json!("con_1"), json!([]), json!({ "connectionId": 1 })] {
            assert!(read(odd).is_err());
        }
    }

    #[test]
    fn token_generation_is_off_only_when_it_says_so() {
        let read = |value: Value| {
            let body = json!({ "clientId": "c", "options": { "grantTokenGeneration": value } });
            client(body.to_string().as_bytes(), "c")
                .unwrap()
                .grant_token_generation
        };
        assert!(!read(json!(false)));
        assert!(!read(json!(null)));
        assert!(read(json!(true)));
        assert!(read(json!("true")));
    }

    proptest! {
        #[test]
        fn a_kept_user_reads_as_the_same_user(
            id in "[A-Za-z0-9|/._-]{1,40}",
            name in prop::option::of("\\PC{0,256}"),
            email in prop::option::of("\\PC{0,320}"),
        ) {
            let ada = AuthressUser { user_id: id.clone(), name, email, picture: None };
            let again = user(&user_body(&ada), &id).unwrap();
            // \PC leaves out control characters, and so does nothing else here.
            prop_assert_eq!(again, ada);
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = user(&body, "a");
            let _ = tenant(&body, "a");
            let _ = client(&body, "a");
        }
    }
}
