//! Users: people.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    http::Problem,
    store::{Directory, PageOf, Status, User},
};

use super::{
    ApiState, accounts,
    accounts::Id,
    body::{Body, Search},
    operations::{Deed, Opened, failed, invalid, missing},
};
use crate::{
    admin::tokens::{Administrator, Reader, Stopper, Writer},
    routes::paging::Paging,
};

/// What machines have in a role's place; a user with it could pass for one.
pub(crate) const SERVICE_CLIENT_ROLE: &str = "service_client";

/// A user as administrators see him: with his account, to which they are not bound.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) authress_user_id: String,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) picture: Option<String>,
    pub(crate) role: String,
    pub(crate) status: Status,
    pub(crate) account_id: Uuid,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        let User {
            id,
            authress_user_id,
            email,
            name,
            picture,
            role,
            status,
            account_id,
        } = user;
        Self {
            id,
            authress_user_id,
            email,
            name,
            picture,
            role,
            status,
            account_id,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changing {
    role: String,
}

pub(super) async fn of_account(
    State(state): State<ApiState>,
    _: Reader,
    id: Id,
    Paging(page): Paging,
) -> Result<Json<PageOf<Person>>, Problem> {
    let directory = &state.operations.open().await?.directory;
    let account = accounts::found(directory, id?.0).await?;
    let users = directory.users(account.id, &page).await;
    Ok(people(users.map_err(failed)?))
}

pub(super) async fn search(
    State(state): State<ApiState>,
    _: Reader,
    Search(text): Search,
    Paging(page): Paging,
) -> Result<Json<PageOf<Person>>, Problem> {
    let directory = &state.operations.open().await?.directory;
    let users = directory
        .search_users(text.as_deref().unwrap_or_default(), &page)
        .await;
    Ok(people(users.map_err(failed)?))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    _: Reader,
    id: Id,
) -> Result<Json<Person>, Problem> {
    let directory = &state.operations.open().await?.directory;
    found(directory, id?.0).await.map(|it| Json(it.into()))
}

pub(super) async fn change(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
    Body(Changing { role }): Body<Changing>,
) -> Result<Json<Person>, Problem> {
    if role == SERVICE_CLIENT_ROLE {
        return Err(invalid(format!(
            "`{SERVICE_CLIENT_ROLE}` is the role of service clients, and no user's"
        )));
    }
    let opened = state.operations.open().await?;
    let user = found(&opened.directory, id?.0).await?;
    let user = opened.directory.set_user_role(user.id, &role).await;
    let user = user.map_err(failed)?;
    Ok(noted(opened, user, "user.set-role", &by))
}

pub(super) async fn suspend(
    State(state): State<ApiState>,
    Stopper(by): Stopper,
    id: Id,
) -> Result<Json<Person>, Problem> {
    let opened = state.operations.open().await?;
    let user = found(&opened.directory, id?.0).await?;
    let user = opened
        .directory
        .suspend_user(user.id)
        .await
        .map_err(failed)?;
    Ok(noted(opened, user, "user.suspend", &by))
}

pub(super) async fn resume(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Json<Person>, Problem> {
    let opened = state.operations.open().await?;
    let user = found(&opened.directory, id?.0).await?;
    let user = opened
        .directory
        .resume_user(user.id)
        .await
        .map_err(failed)?;
    Ok(noted(opened, user, "user.resume", &by))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: Id,
) -> Result<Json<Value>, Problem> {
    let opened = state.operations.open().await?;
    let user = found(&opened.directory, id?.0).await?;
    opened
        .directory
        .remove_user(user.id)
        .await
        .map_err(failed)?;
    opened.note(
        user.account_id,
        &Deed::new("user.remove", &by).about_user(user.id),
    );
    Ok(Json(json!({ "id": user.id, "removed": true })))
}

/// What was done to a user is written down; the user as he is now.
fn noted(opened: &Opened, user: User, what: &'static str, by: &Administrator) -> Json<Person> {
    opened.note(user.account_id, &Deed::new(what, by).about_user(user.id));
    Json(user.into())
}

async fn found(directory: &Directory, id: Uuid) -> Result<User, Problem> {
    let user = directory.user(id).await.map_err(failed)?;
    user.ok_or_else(|| {
        missing(format!(
            "there is no user with the id {id}; `vestibule user list --account <id>` shows an \
             account's"
        ))
    })
}

fn people(PageOf { items, next_cursor }: PageOf<User>) -> Json<PageOf<Person>> {
    Json(PageOf {
        items: items.into_iter().map(Person::from).collect(),
        next_cursor,
    })
}
