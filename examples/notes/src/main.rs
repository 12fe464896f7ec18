//! Notes: a multi-tenant application in one file. Copy it and put your own tables in place of
//! `notes`.
//!
//! No handler names an account, and no query has a tenant in its `WHERE`: the session of a
//! request sees the caller's account and nothing else.

#![expect(clippy::print_stderr, reason = "it tells who started it how it goes")]

use std::{env, error::Error, net::SocketAddr, process::ExitCode};

use axum::{
    Json, Router,
    extract::{Path, rejection::JsonRejection, rejection::PathRejection},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use uuid::Uuid;
use vestibule::{
    Code, Principal, Problem, Repository, Service, SessionError, StartError, TenantRepository,
    TenantService, TenantSession, Vestibule,
};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("notes: {error}");
    match error.downcast_ref() {
        Some(StartError::Settings(_)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let vestibule = Vestibule::from_env().await?;
    vestibule
        .migrate_tenants(sqlx::migrate!("./migrations"))
        .await?;

    let address = env::var("VESTIBULE_LISTEN").ok();
    let address = address.filter(|address| !address.is_empty());
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let listener = TcpListener::bind(address).await?;
    eprintln!("notes: listening on http://{}", listener.local_addr()?);
    // With the address of each caller, for TOKEN_REFUSAL_LIMIT.
    let service = router(&vestibule).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(interrupted())
        .await?;
    vestibule.shutdown().await;
    Ok(())
}

fn router(vestibule: &Vestibule) -> Router {
    Router::new()
        .route("/notes", get(list).post(create))
        .route("/notes/{id}", get(read).delete(remove))
        .layer(vestibule.layer())
}

async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}

// Handlers: extract, call, answer. A status below 400 commits; anything else rolls back. A body
// or an id that cannot be read becomes a problem response by `?`, as every other error does.

async fn list(Repository(notes): Repository<NotesRepository>) -> Result<Json<Vec<Note>>, Problem> {
    Ok(Json(notes.list().await?))
}

async fn create(
    principal: Principal,
    Service(notes): Service<NotesService>,
    body: Result<Json<NewNote>, JsonRejection>,
) -> Result<(StatusCode, Json<Note>), Problem> {
    let Json(new) = body?;
    let note = notes.write_down(&principal, new.text).await?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn read(
    Repository(notes): Repository<NotesRepository>,
    id: Result<Path<Uuid>, PathRejection>,
) -> Result<Json<Note>, Problem> {
    let Path(id) = id?;
    let note = notes.find(id).await?.ok_or(Code::NotFound)?;
    Ok(Json(note))
}

async fn remove(
    Repository(notes): Repository<NotesRepository>,
    id: Result<Path<Uuid>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    if notes.remove(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Code::NotFound.into())
    }
}

#[derive(Serialize, sqlx::FromRow)]
struct Note {
    id: Uuid,
    text: String,
    created_by: Uuid,
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

/// What the application does with notes; may use several repositories in one transaction.
struct NotesService {
    notes: NotesRepository,
}

impl TenantService for NotesService {
    fn new(session: TenantSession) -> Self {
        Self {
            notes: NotesRepository::new(session),
        }
    }
}

impl NotesService {
    const LONGEST: usize = 10_000;

    async fn write_down(&self, author: &Principal, text: String) -> Result<Note, Problem> {
        if text.trim().is_empty() || text.len() > Self::LONGEST {
            return Err(Code::InvalidRequest.into());
        }
        let note = Note {
            id: Uuid::now_v7(),
            text,
            created_by: author.user().id,
        };
        self.notes.insert(&note).await?;
        Ok(note)
    }
}

/// Where notes are kept. The same SQL runs on every database that vestibule supports.
struct NotesRepository {
    session: TenantSession,
}

impl TenantRepository for NotesRepository {
    fn new(session: TenantSession) -> Self {
        Self { session }
    }
}

impl NotesRepository {
    async fn list(&self) -> Result<Vec<Note>, SessionError> {
        self.session
            .query("SELECT id, text, created_by FROM notes ORDER BY id")
            .fetch_all()
            .await
    }

    async fn find(&self, id: Uuid) -> Result<Option<Note>, SessionError> {
        self.session
            .query("SELECT id, text, created_by FROM notes WHERE id = $1")
            .bind(id)
            .fetch_optional()
            .await
    }

    async fn insert(&self, note: &Note) -> Result<(), SessionError> {
        self.session
            .query("INSERT INTO notes (id, text, created_by) VALUES ($1, $2, $3)")
            .bind(note.id)
            .bind(note.text.as_str())
            .bind(note.created_by)
            .execute()
            .await?;
        Ok(())
    }

    async fn remove(&self, id: Uuid) -> Result<bool, SessionError> {
        let removed = self
            .session
            .query("DELETE FROM notes WHERE id = $1")
            .bind(id)
            .execute()
            .await?;
        Ok(removed > 0)
    }
}
