//! An account's activity.

use axum::{Json, extract::State};
use vestibule::{http::Problem, store::PageOf, tenancy::activity::ActivityEntry};

use super::{ApiState, accounts, accounts::Id, operations::session_failed};
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
