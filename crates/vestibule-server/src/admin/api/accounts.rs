//! Accounts: the customers of the platform.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vestibule::{
    clock::{Clock as _, SystemClock, Timestamp},
    http::Problem,
    store::{Account, Directory, PageOf, StoreError},
};

use super::{
    ApiState,
    body::{Body, Search},
    operations::{Deed, Opened, Operations, conflict, failed, invalid, missing},
};
use crate::{
    admin::tokens::{Administrator, Reader, Stopper, Writer},
    routes::paging::Paging,
};

/// Ten years.
const LONGEST_GRACE: u32 = 3_650;

/// As people call the cluster of DATABASE_URL.
pub(crate) const MAIN: &str = "main";

pub(super) type Id = Result<Path<Uuid>, PathRejection>;

/// What is needed to make an account.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// The customer's name.
    pub(crate) name: String,
    /// The id of the customer's tenant at Authress.
    pub(crate) tenant: String,
    /// Answer with the tenant's account where there is one already.
    #[serde(default)]
    pub(crate) if_missing: bool,
    /// PostgreSQL: the cluster on which its data are to lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renaming {
    name: String,
}

/// An account with the cluster that holds its data, where there are clusters.
#[derive(Debug, Serialize)]
pub(super) struct Placed {
    #[serde(flatten)]
    account: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// When it is to end, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
}

/// How long an account is to stay, suspended, before it ends.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grace {
    pub(crate) days: u32,
}

/// What ended, and what of it is left: nothing, or the deletion has failed.
#[derive(Debug, Serialize)]
pub(super) struct Deleted {
    id: Uuid,
    name: String,
    deleted: bool,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Reader,
    Search(text): Search,
    Paging(page): Paging,
) -> Result<Json<PageOf<Placed>>, Problem> {
    let Opened {
        directory, spaces, ..
    } = state.operations.open().await?;
    let found = match text {
        Some(text) => directory.search_accounts(&text, &page).await,
        None => directory.accounts(&page).await,
    };
    let PageOf { items, next_cursor } = found.map_err(failed)?;
    let places = spaces.placements().await.map_err(failed)?;
    let endings = directory.endings().await.map_err(failed)?;
    let items = items
        .into_iter()
        .map(|account| placed(account, places.as_ref(), &endings))
        .collect();
    Ok(Json(PageOf { items, next_cursor }))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    _: Reader,
    id: Id,
) -> Result<Json<Placed>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    with_cluster(opened, account).await.map(Json)
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Writer(by): Writer,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<Placed>), Problem> {
    let opened = state.operations.open().await?;
    // The name of the cluster of DATABASE_URL.
    let cluster = new.cluster.as_deref().filter(|name| *name != MAIN);
    if let Some(account) = of_tenant(&opened.directory, &new.tenant).await? {
        return existing(opened, account, new.if_missing).await;
    }
    let created = opened
        .spaces
        .create_account_on(cluster, &new.name, &new.tenant)
        .await;
    match created {
        Ok(account) => {
            opened.note(account.id, &Deed::new("account.create", &by));
            let account = with_cluster(opened, account).await?;
            Ok((StatusCode::CREATED, Json(account)))
        }
        // Somebody was faster.
        Err(StoreError::AlreadyExists(_)) => {
            match of_tenant(&opened.directory, &new.tenant).await? {
                Some(account) => existing(opened, account, new.if_missing).await,
                None => Err(conflict(
                    "an account with this name or tenant was made and removed just now: try again",
                )),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

pub(super) async fn rename(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
    Body(new): Body<Renaming>,
) -> Result<Json<Account>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    let renamed = opened.directory.rename_account(account.id, &new.name).await;
    let renamed = renamed.map_err(failed)?;
    opened.note(account.id, &Deed::new("account.rename", &by));
    Ok(Json(renamed))
}

pub(super) async fn suspend(
    State(state): State<ApiState>,
    Stopper(by): Stopper,
    id: Id,
) -> Result<Json<Account>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    let account = opened.directory.suspend_account(account.id).await;
    let account = account.map_err(failed)?;
    opened.note(account.id, &Deed::new("account.suspend", &by));
    Ok(Json(account))
}

pub(super) async fn resume(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Json<Account>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    let account = opened.directory.resume_account(account.id).await;
    let account = account.map_err(failed)?;
    opened.note(account.id, &Deed::new("account.resume", &by));
    Ok(Json(account))
}

pub(super) async fn delete(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Json<Deleted>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    end(opened, account, &by).await.map(Json)
}

/// Suspends the account now, and has it end later.
pub(super) async fn plan_end(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
    Body(Grace { days }): Body<Grace>,
) -> Result<Json<Placed>, Problem> {
    if days > LONGEST_GRACE {
        return Err(invalid(format!("days are at most {LONGEST_GRACE}")));
    }
    let opened = state.operations.open().await?;
    let ends_at = SystemClock.now() + Duration::from_secs(86_400 * u64::from(days));
    let account = found(&opened.directory, id?.0).await?;
    let account = opened.directory.plan_end(account.id, ends_at).await;
    let account = account.map_err(failed)?;
    opened.note(account.id, &Deed::new("account.plan-end", &by));
    with_cluster(opened, account).await.map(Json)
}

/// The account is not to end any more; it stays suspended.
pub(super) async fn cancel_end(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Json<Placed>, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    let was_to_end = opened.directory.cancel_end(account.id).await;
    if !was_to_end.map_err(failed)? {
        return Err(conflict(format!("account {} is not to end", account.id)));
    }
    opened.note(account.id, &Deed::new("account.cancel-end", &by));
    with_cluster(opened, account).await.map(Json)
}

/// Ends the accounts whose time has come.
pub(super) async fn end_due(
    State(state): State<ApiState>,
    Writer(by): Writer,
) -> Result<Json<PageOf<Deleted>>, Problem> {
    let items = ended(&state.operations, &by).await?;
    Ok(Json(PageOf {
        items,
        next_cursor: None,
    }))
}

/// Ends the accounts whose time has come; those.
pub(super) async fn ended(
    operations: &Operations,
    by: &Administrator,
) -> Result<Vec<Deleted>, Problem> {
    let opened = operations.open().await?;
    let now = SystemClock.now();
    let mut items = Vec::new();
    for (id, ends_at) in opened.directory.endings().await.map_err(failed)? {
        if ends_at > now {
            break;
        }
        // Another server may have ended it meanwhile.
        if let Some(account) = opened.directory.account(id).await.map_err(failed)? {
            items.push(end(opened, account, by).await?);
        }
    }
    Ok(items)
}

async fn end(opened: &Opened, account: Account, by: &Administrator) -> Result<Deleted, Problem> {
    // What is still to be written about it would find no place.
    opened.settle().await;
    let deleted = opened.spaces.delete_account(account.id).await;
    deleted.map_err(failed)?;
    Deed::new("account.delete", by).log(Some(account.id));
    Ok(Deleted {
        id: account.id,
        name: account.name,
        deleted: true,
    })
}

/// Everything that is kept of the account, as JSON lines.
pub(super) async fn export(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Response, Problem> {
    let opened = state.operations.open().await?;
    let account = found(&opened.directory, id?.0).await?;
    let mut lines = Vec::new();
    opened
        .spaces
        .export_account(account.id, &mut lines)
        .await
        .map_err(failed)?;
    // Not in the activity, which is part of what was exported.
    Deed::new("account.export", &by).log(Some(account.id));
    Ok(([(CONTENT_TYPE, "application/jsonl")], lines).into_response())
}

/// The account, or a word on how to find it.
pub(super) async fn found(directory: &Directory, id: Uuid) -> Result<Account, Problem> {
    let account = directory.account(id).await.map_err(failed)?;
    account.ok_or_else(|| {
        missing(format!(
            "there is no account with the id {id}; `vestibule account list` shows them"
        ))
    })
}

async fn of_tenant(directory: &Directory, tenant: &str) -> Result<Option<Account>, Problem> {
    directory
        .find_account_by_tenant(tenant)
        .await
        .map_err(failed)
}

async fn existing(
    opened: &Opened,
    account: Account,
    wanted: bool,
) -> Result<(StatusCode, Json<Placed>), Problem> {
    if wanted {
        let account = with_cluster(opened, account).await?;
        return Ok((StatusCode::OK, Json(account)));
    }
    Err(conflict(format!(
        "tenant {} has an account already, {}; --if-missing answers with it",
        account.authress_tenant_id, account.id
    )))
}

/// The account, on PostgreSQL with the cluster that holds its data.
async fn with_cluster(opened: &Opened, account: Account) -> Result<Placed, Problem> {
    let places = opened.spaces.placements().await.map_err(failed)?;
    let endings = opened.directory.endings().await.map_err(failed)?;
    Ok(placed(account, places.as_ref(), &endings))
}

fn placed(
    account: Account,
    places: Option<&BTreeMap<Uuid, String>>,
    endings: &[(Uuid, Timestamp)],
) -> Placed {
    let ending = endings.iter().find(|(id, _)| *id == account.id);
    let ends_at = ending.map(|(_, at)| *at);
    let cluster = places.map(|places| {
        let cluster = places.get(&account.id);
        cluster.map_or_else(|| MAIN.to_owned(), Clone::clone)
    });
    Placed {
        account,
        cluster,
        ends_at,
    }
}
