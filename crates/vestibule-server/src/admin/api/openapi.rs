//! `GET /admin/v1/openapi.json`: the OpenAPI 3.1 document of the admin API.
//!
//! Made from one list of operations; a test holds it against the routes.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::Json;
use serde_json::{Map, Value, json};

use crate::admin::tokens::Reader;

/// One thing that can be asked for.
struct Operation {
    method: &'static str,
    path: &'static str,
    /// The scope that it needs.
    scope: &'static str,
    summary: &'static str,
    takes: Takes,
    status: &'static str,
    /// The schema of the answer; none: it is no JSON document.
    gives: Option<&'static str>,
}

/// What a request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// A part of a list.
    Page,
    /// A part of a list of what was searched for.
    Search,
    /// A JSON body of this schema.
    Body(&'static str),
    /// `after` and `limit`.
    After,
    /// `since`.
    Since,
}

const fn get(
    path: &'static str,
    takes: Takes,
    summary: &'static str,
    gives: &'static str,
) -> Operation {
    Operation {
        method: "get",
        path,
        scope: "read",
        summary,
        takes,
        status: "200",
        gives: Some(gives),
    }
}

const fn change(
    method: &'static str,
    path: &'static str,
    scope: &'static str,
    summary: &'static str,
    gives: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        scope,
        summary,
        takes: Takes::Nothing,
        status: "200",
        gives: Some(gives),
    }
}

impl Operation {
    const fn taking(mut self, schema: &'static str) -> Self {
        self.takes = Takes::Body(schema);
        self
    }

    const fn creating(mut self) -> Self {
        self.status = "201";
        self
    }
}

#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    get("/accounts", Takes::Search, "Accounts: all, or those with the text in their name, or with this id or tenant", "AccountPage"),
    change("post", "/accounts", "write", "Make an account, with its own data space; 200 where `if_missing` found one", "Account").taking("NewAccount").creating(),
    get("/accounts/{id}", Takes::Nothing, "One account", "Account"),
    change("patch", "/accounts/{id}", "write", "Give an account another name", "Account").taking("Renaming"),
    change("delete", "/accounts/{id}", "write", "End an account with all of its data", "Deleted"),
    change("post", "/accounts/{id}/end", "write", "Suspend an account now, and have it end after some days", "Account").taking("Grace"),
    change("delete", "/accounts/{id}/end", "write", "An account is not to end any more; it stays suspended", "Account"),
    change("post", "/endings", "write", "End the accounts whose time has come", "DeletedPage"),
    change("post", "/accounts/{id}/suspend", "stop", "Refuse all callers of an account", "Account"),
    change("post", "/accounts/{id}/resume", "write", "Let the callers of an account in again", "Account"),
    Operation { method: "get", path: "/accounts/{id}/export", scope: "write", summary: "Everything that is kept of an account, as JSON lines", takes: Takes::Nothing, status: "200", gives: None },
    get("/accounts/{id}/users", Takes::Page, "The users of an account", "UserPage"),
    get("/accounts/{id}/clients", Takes::Page, "The service clients of an account", "ClientPage"),
    get("/accounts/{id}/activity", Takes::Page, "What happened in an account, the newest first", "ActivityPage"),
    Operation { method: "get", path: "/accounts/{id}/activity/export", scope: "read", summary: "What happened in an account, the oldest first, as JSON lines", takes: Takes::Since, status: "200", gives: None },
    get("/users", Takes::Search, "Users of all accounts whose e-mail or name begins with the text, or with this id", "UserPage"),
    get("/users/{id}", Takes::Nothing, "One user", "User"),
    change("patch", "/users/{id}", "write", "Give a user another role", "User").taking("Changing"),
    change("delete", "/users/{id}", "write", "Remove a user", "Removed"),
    change("post", "/users/{id}/suspend", "stop", "Refuse a user", "User"),
    change("post", "/users/{id}/resume", "write", "Let a user in again", "User"),
    get("/clients", Takes::Page, "The service clients of all accounts", "ClientPage"),
    change("post", "/clients", "write", "Let a service client in, for one account", "Client").taking("NewClient").creating(),
    get("/clients/{id}", Takes::Nothing, "One service client, by either id", "Client"),
    change("delete", "/clients/{id}", "write", "Forget a service client", "Removed"),
    change("post", "/clients/{id}/suspend", "stop", "Refuse a service client", "Client"),
    change("post", "/clients/{id}/resume", "write", "Let a service client in again", "Client"),
    get("/revocations", Takes::Nothing, "What is cut off", "RevocationPage"),
    change("post", "/revocations", "stop", "Cut off what was issued already, on every server within a second", "Revocation").taking("NewRevocation").creating(),
    get("/migrations", Takes::Nothing, "The application's migrations, and how many each account lacks", "Migrations"),
    get("/status", Takes::Nothing, "How this server is", "Status"),
    get("/refusals", Takes::After, "The last refusals of this server, the oldest first", "Refusals"),
    change("post", "/explain", "read", "Why a token, or a refused request of this server, was accepted or refused", "Explanation").taking("Asked"),
    get("/openapi.json", Takes::Nothing, "This document", "Document"),
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

pub(super) async fn show(_: Reader) -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn document() -> Value {
    let mut paths: BTreeMap<String, BTreeMap<&str, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        let item = paths
            .entry(format!("/admin/v1{}", operation.path))
            .or_default();
        item.insert(operation.method, described(operation));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vestibule: admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What administrators do. Each operation names the scope that its token \
                needs: `read` sees, `stop` suspends and revokes, `write` does everything else.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "VESTIBULE_ADMIN_TOKEN, or one of `[[admin_tokens]]`",
                },
            },
            "schemas": schemas(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let words: Vec<&str> = operation
        .path
        .split(['/', '{', '}', '.'])
        .filter(|word| !word.is_empty())
        .collect();
    let mut parameters = Vec::new();
    if operation.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
        }));
    }
    let mut query = |name: &str, kind: Value, meaning: &str| {
        parameters.push(json!({
            "name": name, "in": "query", "required": false, "schema": kind, "description": meaning,
        }));
    };
    if operation.takes == Takes::Search {
        query(
            "search",
            json!({ "type": "string", "maxLength": 256 }),
            "What is looked for",
        );
    }
    match operation.takes {
        Takes::Page | Takes::Search => {
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 });
            query("limit", limit, "Largest number of items");
            query(
                "cursor",
                json!({ "type": "string" }),
                "`next_cursor` of the page before",
            );
        }
        Takes::After => {
            query(
                "after",
                json!({ "type": "integer" }),
                "`next` of the answer before",
            );
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 50 });
            query("limit", limit, "Largest number of items");
        }
        Takes::Since => {
            query(
                "since",
                json!({ "type": "string", "format": "date-time" }),
                "Only what happened then and later",
            );
        }
        Takes::Nothing | Takes::Body(_) => {}
    }
    let answer = match operation.gives {
        Some(schema) => json!({ "application/json": { "schema": named(schema) } }),
        None => json!({ "application/jsonl": { "schema": { "type": "string" } } }),
    };
    let problem = |what: &str| {
        json!({
            "description": what,
            "content": { "application/problem+json": { "schema": named("Problem") } },
        })
    };
    let answered = json!({ "description": operation.summary, "content": answer });
    let mut responses = Map::new();
    if operation.path == "/accounts" && operation.method == "post" {
        responses.insert("200".to_owned(), answered.clone());
    }
    responses.insert(operation.status.to_owned(), answered);
    for (status, what) in [
        ("400", "The request cannot be used; `detail` says why"),
        ("401", "No admin token, or none of ours"),
        ("403", "The token lacks the scope"),
        (
            "404",
            "There is no such thing; `detail` says how to find it",
        ),
        (
            "409",
            "Things are not as the request needs them; `detail` says what to do",
        ),
        ("429", "Too many wrong tokens from this address"),
        (
            "503",
            "The database does not answer, or not to this server's login",
        ),
    ] {
        responses.insert(status.to_owned(), problem(what));
    }
    let described = json!({
        "operationId": format!("{}_{}", operation.method, words.join("_")),
        "summary": operation.summary,
        "description": format!("Needs the scope `{}`.", operation.scope),
        "parameters": parameters,
        "responses": responses,
    });
    let Value::Object(mut described) = described else {
        return described;
    };
    if let Takes::Body(schema) = operation.takes {
        let body = json!({
            "required": true,
            "content": { "application/json": { "schema": named(schema) } },
        });
        described.insert("requestBody".to_owned(), body);
    }
    Value::Object(described)
}

fn named(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object of which `required` are always there.
fn object(required: &[&str], members: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": members })
}

fn page_of(schema: &str) -> Value {
    object(
        &["items", "next_cursor"],
        json!({
            "items": { "type": "array", "items": named(schema) },
            "next_cursor": { "type": ["string", "null"] },
        }),
    )
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let uuid = || json!({ "type": "string", "format": "uuid" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let status = || json!({ "type": "string", "enum": ["active", "suspended"] });
    let number = || json!({ "type": "integer" });
    let truth = || json!({ "type": "boolean" });
    let any = || json!({ "type": "object" });
    json!({
        "Account": object(&["id", "name", "authress_tenant_id", "status"], json!({
            "id": uuid(), "name": text(), "authress_tenant_id": text(), "status": status(),
            "cluster": text(), "ends_at": time(),
        })),
        "Grace": object(&["days"], json!({ "days": number() })),
        "DeletedPage": page_of("Deleted"),
        "AccountPage": page_of("Account"),
        "NewAccount": object(&["name", "tenant"], json!({
            "name": text(), "tenant": text(), "if_missing": truth(), "cluster": text(),
        })),
        "Renaming": object(&["name"], json!({ "name": text() })),
        "Deleted": object(&["id", "name", "deleted"], json!({
            "id": uuid(), "name": text(), "deleted": truth(),
        })),
        "User": object(
            &["id", "authress_user_id", "email", "name", "picture", "role", "status", "account_id"],
            json!({
                "id": uuid(), "authress_user_id": text(), "email": maybe(), "name": maybe(),
                "picture": maybe(), "role": text(), "status": status(), "account_id": uuid(),
            }),
        ),
        "UserPage": page_of("User"),
        "Changing": object(&["role"], json!({ "role": text() })),
        "Removed": object(&["id", "removed"], json!({ "id": uuid(), "removed": truth() })),
        "Client": object(
            &["id", "client_id", "name", "scopes", "status", "account_id"],
            json!({
                "id": uuid(), "client_id": text(), "name": text(), "scopes": texts(),
                "status": status(), "account_id": uuid(), "warning": text(),
            }),
        ),
        "ClientPage": page_of("Client"),
        "NewClient": object(&["client_id", "account_id", "name"], json!({
            "client_id": text(), "account_id": uuid(), "name": text(), "scopes": texts(),
            "allow_token_generation": truth(),
        })),
        "Activity": object(
            &["id", "at", "kind", "user_id", "client_id", "reason", "request_id"],
            json!({
                "id": uuid(), "at": time(),
                "kind": { "type": "string", "enum": [
                    "sign_in", "refusal", "system_session", "provisioning", "admin_action",
                ] },
                "user_id": maybe(), "client_id": maybe(), "reason": maybe(), "request_id": maybe(),
            }),
        ),
        "ActivityPage": page_of("Activity"),
        "Revocation": object(&["kind", "which", "issued_before"], json!({
            "kind": { "type": "string", "enum": ["token", "user", "account", "issuer", "key"] },
            "which": text(), "issued_before": maybe(),
        })),
        "RevocationPage": page_of("Revocation"),
        "NewRevocation": object(&["kind"], json!({
            "kind": { "type": "string", "enum": ["token", "user", "account", "issuer", "key"] },
            "which": text(), "token": text(), "client_id": text(), "kid": text(),
            "issued_before": time(),
        })),
        "Migrations": object(&["directory", "migrations", "accounts"], json!({
            "directory": text(),
            "migrations": { "type": "array", "items": any() },
            "accounts": { "type": "array", "items": any() },
        })),
        "Status": object(
            &["version", "started_at", "now", "ready", "issuers", "token_cache", "token"],
            json!({
                "version": text(), "started_at": time(), "now": time(), "ready": any(),
                "issuers": { "type": "array", "items": any() }, "token_cache": any(),
                "token": any(),
            }),
        ),
        "Refusals": object(&["items", "next"], json!({
            "items": { "type": "array", "items": any() }, "next": number(),
        })),
        "Asked": object(&[], json!({ "token": text(), "request_id": uuid() })),
        "Explanation": object(&["verdict", "steps"], json!({
            "verdict": { "type": "string", "enum": ["accepted", "newcomer", "refused"] },
            "reason": maybe(), "meaning": maybe(), "code": maybe(), "remedy": maybe(),
            "steps": { "type": "array", "items": any() },
            "header": any(), "claims": any(), "further_claims": texts(),
            "principal": {}, "request": {},
        })),
        "Document": any(),
        "Problem": object(&["type", "title", "status", "code", "request_id"], json!({
            "type": text(), "title": text(), "status": number(), "code": text(),
            "request_id": uuid(), "detail": text(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_has_the_routes_and_no_others() {
        let source = include_str!("mod.rs");
        let routed: BTreeSet<&str> = source
            .split("\"/admin/v1")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let described: BTreeSet<&str> = OPERATIONS.iter().map(|it| it.path).collect();
        assert_eq!(routed, described);
        let names: BTreeSet<String> = DOCUMENT["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].to_string())
            .collect();
        assert_eq!(names.len(), OPERATIONS.len(), "{names:?}");
    }

    #[test]
    fn what_is_named_is_there() {
        let text = DOCUMENT.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                DOCUMENT["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }
}
