//! An application: one route for each thing that a handler can want.

use axum::{
    Json, Router,
    extract::{
        Path, Query,
        rejection::{JsonRejection, QueryRejection},
    },
    routing::get,
};
use http::StatusCode;
use serde_json::{Value, json};
use vestibule::{
    Code, Machine, Principal, Problem, TenantSession, User, store::Page, tenancy::activity,
};

pub fn router() -> Router {
    Router::new()
        .route("/me", get(me))
        .route("/maybe", get(maybe))
        .route(
            "/person",
            get(async |User(principal): User| Json(principal)),
        )
        .route(
            "/machine",
            get(async |Machine(principal): Machine| Json(principal)),
        )
        .route("/role/{role}", get(role))
        .route("/scope/{scope}", get(scope))
        .route("/notes", get(notes).post(add_note))
        .route("/notes/{id}", get(note))
        .route("/activity", get(activity_page))
        .route("/panic", get(panicking))
        .fallback(async || Problem::new(Code::NotFound))
}

async fn me(principal: Principal) -> Json<Principal> {
    Json(principal)
}

async fn maybe(principal: Option<Principal>) -> Json<Value> {
    Json(match principal {
        None => json!("anonymous"),
        Some(principal) => json!(principal),
    })
}

async fn role(principal: Principal, Path(role): Path<String>) -> Result<StatusCode, Problem> {
    principal.require_role(&role)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn scope(principal: Principal, Path(scope): Path<String>) -> Result<StatusCode, Problem> {
    principal.require_scope(&scope)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn notes(session: TenantSession) -> Result<Json<Vec<String>>, Problem> {
    let notes = session.query("SELECT text FROM notes ORDER BY id");
    let notes: Vec<(String,)> = notes.fetch_all().await?;
    Ok(Json(notes.into_iter().map(|(text,)| text).collect()))
}

async fn note(session: TenantSession, Path(id): Path<i64>) -> Result<Json<String>, Problem> {
    let note = session.query("SELECT text FROM notes WHERE id = $1");
    Ok(Json(note.bind(id).fetch_scalar().await?))
}

async fn add_note(
    session: TenantSession,
    text: Result<Json<String>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(text) = text?;
    let note = session
        .query("INSERT INTO notes (id, text) SELECT COALESCE(MAX(id), 0) + 1, $1 FROM notes");
    note.bind(text).execute().await?;
    Ok(StatusCode::CREATED)
}

#[derive(serde::Deserialize)]
struct Limit {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn activity_page(
    session: TenantSession,
    limit: Result<Query<Limit>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Limit { limit, cursor }) = limit?;
    let page = Page {
        limit: limit.unwrap_or(200),
        cursor,
    };
    Ok(Json(json!(activity::page(&session, &page).await?)))
}

/// Writes, and comes to grief.
async fn panicking(session: TenantSession) -> StatusCode {
    let note = session.query("INSERT INTO notes (id, text) VALUES (1, 'half done')");
    note.execute().await.unwrap();
    panic!("this handler always does");
}
