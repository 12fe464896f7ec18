//! Which of the application's migrations there are, and how many each account lacks.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    http::Problem,
    store::{Account, Page},
};

use super::{
    ApiState,
    operations::{Opened, failed},
};
use crate::admin::tokens::Reader;

pub(super) async fn status(
    State(state): State<ApiState>,
    _: Reader,
) -> Result<Json<Value>, Problem> {
    let opened = state.operations.open().await?;
    let spaces = &opened.spaces;
    let migrations = spaces.tenant_migrations().await.map_err(failed)?;
    let migrations: Vec<Value> = migrations
        .iter()
        .map(|one| json!({ "version": one.version, "description": one.description }))
        .collect();
    let accounts = all_accounts(opened).await?;
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.id).collect();
    let missing = spaces.all_migrations_missing(&ids).await.map_err(failed)?;
    let accounts: Vec<Value> = accounts
        .iter()
        .zip(missing)
        .map(|(account, missing)| {
            json!({ "id": account.id, "name": account.name, "missing": missing })
        })
        .collect();
    Ok(Json(
        json!({ "directory": "current", "migrations": migrations, "accounts": accounts }),
    ))
}

async fn all_accounts(opened: &Opened) -> Result<Vec<Account>, Problem> {
    let mut accounts = Vec::new();
    let mut page = Page {
        limit: 200,
        cursor: None,
    };
    loop {
        let part = opened.directory.accounts(&page).await.map_err(failed)?;
        accounts.extend(part.items);
        page.cursor = part.next_cursor;
        if page.cursor.is_none() {
            return Ok(accounts);
        }
    }
}
