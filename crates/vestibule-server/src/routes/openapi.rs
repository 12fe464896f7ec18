//! `GET /openapi.json`: the OpenAPI 3.1 document of the public API.
//!
//! The bodies below describe what the library serialises; nothing is made from them but the
//! document. Tests hold them against the real thing.
#![expect(dead_code, reason = "schemas only")]

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use uuid::Uuid;

use super::{activity, authorize, health, keys, me, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Vestibule",
        description = "Who calls, and for which account. Every refusal is a problem (RFC 9457) with a `code`; the same code is in the header `X-Vestibule-Code`.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(
        me::me,
        authorize::authorize,
        authorize::authorize_below,
        users::list,
        users::show,
        activity::list,
        keys::published,
        health::alive,
        health::ready,
        document,
    ),
    tags(
        (name = "callers", description = "The caller and its account"),
        (name = "forward-auth", description = "For proxies"),
        (name = "operation", description = "For load balancers, and this document"),
    ),
    modifiers(&Bearer, &OneIdEach),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some("An access token of Authress".to_owned());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Gives each operation an id of its own, as OpenAPI demands: a handler of several methods gives
/// all of them its one name.
struct OneIdEach;

impl Modify for OneIdEach {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations = [
                ("get", &mut item.get),
                ("head", &mut item.head),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
                ("options", &mut item.options),
                ("trace", &mut item.trace),
            ];
            let several = operations.iter().filter(|(_, it)| it.is_some()).count() > 1;
            for (method, operation) in operations {
                if let Some(id) = operation.as_mut().and_then(|it| it.operation_id.as_mut())
                    && several
                {
                    *id = format!("{id}_{method}");
                }
            }
        }
    }
}

/// Whether the caller is a person or software.
#[derive(ToSchema)]
#[schema(as = PrincipalKind, rename_all = "lowercase")]
pub(crate) enum KindBody {
    User,
    Machine,
}

/// Whether somebody may come in.
#[derive(ToSchema)]
#[schema(as = Status, rename_all = "lowercase")]
pub(crate) enum StatusBody {
    Active,
    Suspended,
}

/// A person; for a service client, predefined values.
#[derive(ToSchema)]
#[schema(as = User)]
pub(crate) struct UserBody {
    /// UUIDv7.
    id: Uuid,
    /// The subject at the provider.
    authress_user_id: String,
    /// As the provider has it.
    #[schema(required)]
    email: Option<String>,
    /// As the provider has it.
    #[schema(required)]
    name: Option<String>,
    /// As the provider has it.
    #[schema(required)]
    picture: Option<String>,
    /// Local; `service_client` for service clients.
    role: String,
    status: StatusBody,
}

/// A customer of the platform.
#[derive(ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountBody {
    /// UUIDv7.
    id: Uuid,
    name: String,
    /// The Authress tenant that this account is.
    authress_tenant_id: String,
    status: StatusBody,
}

/// What may be known of the token.
#[derive(ToSchema)]
#[schema(as = TokenFacts)]
pub(crate) struct TokenBody {
    issuer: String,
    /// The application or service client that holds the token.
    client_id: String,
    /// A user's as the provider granted them; a machine's as registered here.
    scopes: Vec<String>,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// The caller and its account.
#[derive(ToSchema)]
#[schema(as = Principal)]
pub(crate) struct PrincipalBody {
    kind: KindBody,
    user: UserBody,
    account: AccountBody,
    token: TokenBody,
}

/// One page of users.
#[derive(ToSchema)]
#[schema(as = UserPage)]
pub(crate) struct UserPageBody {
    items: Vec<UserBody>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A sign-in (first use of a token), a refusal, or a job's session.
#[derive(ToSchema)]
#[schema(as = ActivityEntry)]
pub(crate) struct ActivityBody {
    /// UUIDv7.
    id: Uuid,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    /// `sign_in`, `refusal`, or `system_session` for a job of the application's own.
    kind: String,
    #[schema(required)]
    user_id: Option<Uuid>,
    #[schema(required)]
    client_id: Option<String>,
    /// Why it was refused; a job's reason.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    request_id: Option<String>,
}

/// One page of activity.
#[derive(ToSchema)]
#[schema(as = ActivityPage)]
pub(crate) struct ActivityPageBody {
    items: Vec<ActivityBody>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// What went wrong (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    r#type: String,
    title: String,
    status: u16,
    /// For programs: `invalid_token`, `not_found` and so on.
    code: String,
    /// Names the request in the operator's log.
    request_id: Uuid,
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1"))
)]
pub(crate) async fn document() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| Document::openapi().to_json().unwrap_or_default().into());
    (
        [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-cache"),
        ],
        TEXT.clone(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use vestibule::{
        clock::Timestamp,
        store::{Account, PageOf, Status, User},
        tenancy::activity::ActivityEntry,
    };

    use super::{super::endpoints, *};

    fn parsed() -> Value {
        serde_json::from_str(&Document::openapi().to_json().unwrap()).unwrap()
    }

    #[test]
    fn version() {
        let document = parsed();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            document["components"]["securitySchemes"]["bearer"]["scheme"],
            "bearer"
        );
    }

    /// Every method of every path of the router is in the document, and the other way round.
    #[test]
    fn the_document_and_the_router_agree() {
        let routed: BTreeSet<(String, String)> = endpoints()
            .iter()
            .flat_map(|endpoint| {
                // The document has no form for "and everything below".
                let path = endpoint.path.replace("{*path}", "{path}");
                endpoint
                    .methods
                    .iter()
                    .map(move |method| (path.clone(), method.to_string()))
            })
            // A HEAD comes with every GET, and the empty path below is part of `{path}`.
            .filter(|(path, method)| {
                path != "/v1/authorize/" && (method != "HEAD" || path.starts_with("/v1/authorize"))
            })
            .collect();
        let document = parsed();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().unwrap();
                item.keys()
                    .map(move |method| (path.clone(), method.to_ascii_uppercase()))
            })
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        found.push(target);
                    }
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = parsed();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    fn members(value: &impl serde::Serialize) -> BTreeSet<String> {
        let value = serde_json::to_value(value).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    fn schema(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let document = parsed();
        let schema = &document["components"]["schemas"][name];
        let required = schema["required"].as_array().unwrap();
        (
            schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect(),
            required
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect(),
        )
    }

    #[test]
    fn schemas_are_those_of_the_real_thing() {
        let user = User {
            id: Uuid::nil(),
            authress_user_id: String::new(),
            email: None,
            name: None,
            picture: None,
            role: String::new(),
            status: Status::Active,
            account_id: Uuid::nil(),
        };
        let account = Account {
            id: Uuid::nil(),
            name: String::new(),
            authress_tenant_id: String::new(),
            status: Status::Suspended,
        };
        let page = PageOf::<User> {
            items: Vec::new(),
            next_cursor: None,
        };
        let entry = ActivityEntry {
            id: Uuid::nil(),
            at: Timestamp::from_secs(0),
            kind: String::new(),
            user_id: None,
            client_id: None,
            reason: None,
            request_id: None,
        };
        for (name, real) in [
            ("User", members(&user)),
            ("Account", members(&account)),
            ("UserPage", members(&page)),
            ("ActivityPage", members(&page)),
            ("ActivityEntry", members(&entry)),
        ] {
            let (properties, required) = schema(name);
            assert_eq!(properties, real, "{name}");
            assert_eq!(required, real, "{name}");
        }
    }
}
