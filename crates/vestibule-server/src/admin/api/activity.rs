//! An account's activity.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use vestibule::{
    clock::Timestamp,
    http::Problem,
    store::PageOf,
    tenancy::{SessionError, activity::ActivityEntry},
};

use super::{
    ApiState, accounts,
    accounts::Id,
    body::parameter,
    operations::{Deed, invalid, session_failed},
};
use crate::{admin::tokens::Reader, routes::paging::Paging};

pub(super) async fn of_account(
    State(state): State<ApiState>,
    _: Reader,
    id: Id,
    Paging(page): Paging,
) -> Result<Json<PageOf<ActivityEntry>>, Problem> {
    let opened = state.operations.open().await?;
    let account = accounts::found(&opened.directory, id?.0).await?;
    let entries = opened.spaces.activity(account.id, &page).await;
    entries.map(Json).map_err(session_failed)
}

/// All entries, or those since a time, one JSON object a line, the oldest first. They are read some
/// at a time, as fast as the caller takes them; no connection waits for him.
pub(super) async fn export(
    State(state): State<ApiState>,
    Reader(by): Reader,
    id: Id,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let since = parameter(query.as_deref().unwrap_or_default(), "since")?;
    let since = since.map(|text| text.parse::<Timestamp>()).transpose();
    let since = since.map_err(|why| invalid(format!("`since` {why}")))?;
    let opened = state.operations.open().await?;
    let account = accounts::found(&opened.directory, id?.0).await?;
    let mut entries = Box::pin(opened.spaces.activity_since(account.id, since));
    // What fails at once is a refusal; what fails later breaks the answer off.
    let first = entries.try_next().await.map_err(session_failed)?;
    // Not in the activity, which would never come to an end.
    Deed::new("account.activity.export", &by).log(Some(account.id));
    let lines = stream::iter(first.map(Ok)).chain(entries).map(lines_of);
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/jsonl")], body).into_response())
}

fn lines_of(entries: Result<Vec<ActivityEntry>, SessionError>) -> Result<Bytes, axum::BoxError> {
    let mut lines = Vec::new();
    for entry in entries? {
        serde_json::to_writer(&mut lines, &entry)?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}
