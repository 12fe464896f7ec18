//! Service clients: software that signs its own tokens.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    clock::SystemClock,
    error::Code,
    http::Problem,
    provider::{AuthressApi, Found},
    store::{Directory, PageOf, ServiceClient, StoreError},
};

use super::{
    ApiState, accounts,
    accounts::Id,
    body::Body,
    operations::{Deed, Opened, conflict, failed, invalid, missing},
};
use crate::{
    admin::tokens::{Administrator, Reader, Stopper, Writer},
    routes::paging::Paging,
};

/// Its id here, or its id at Authress.
type EitherId = Result<Path<String>, PathRejection>;

/// What is needed to let a service client in.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClient {
    /// Its id at Authress.
    pub(crate) client_id: String,
    /// The account that it belongs to.
    pub(crate) account_id: Uuid,
    /// A name for people.
    pub(crate) name: String,
    /// What it may do here.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Let it in although it can obtain tokens of any user.
    #[serde(default)]
    pub(crate) allow_token_generation: bool,
}

/// A registered client, with what is to be said of it.
#[derive(Debug, Serialize)]
pub(super) struct Added {
    #[serde(flatten)]
    client: ServiceClient,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

pub(super) async fn of_account(
    State(state): State<ApiState>,
    _: Reader,
    id: Id,
    Paging(page): Paging,
) -> Result<Json<PageOf<ServiceClient>>, Problem> {
    let directory = &state.operations.open().await?.directory;
    let account = accounts::found(directory, id?.0).await?;
    let clients = directory.clients(account.id, &page).await;
    clients.map(Json).map_err(failed)
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Reader,
    Paging(page): Paging,
) -> Result<Json<PageOf<ServiceClient>>, Problem> {
    let directory = &state.operations.open().await?.directory;
    let clients = directory.all_clients(&page).await;
    clients.map(Json).map_err(failed)
}

pub(super) async fn show(
    State(state): State<ApiState>,
    _: Reader,
    id: EitherId,
) -> Result<Json<ServiceClient>, Problem> {
    let directory = &state.operations.open().await?.directory;
    found(directory, &id?.0).await.map(Json)
}

pub(super) async fn add(
    State(state): State<ApiState>,
    Writer(by): Writer,
    Body(new): Body<NewClient>,
) -> Result<(StatusCode, Json<Added>), Problem> {
    check_client_id(&new.client_id).map_err(invalid)?;
    let provider = state.operations.provider();
    let own = provider.map(|provider| provider.access_key.client_id());
    if own == Some(new.client_id.as_str()) {
        return Err(conflict(format!(
            "{} is the service client of AUTHRESS_ACCESS_KEY, with which this server calls \
             Authress: it can never be a caller. Make another service client at Authress",
            new.client_id
        )));
    }
    let opened = state.operations.open().await?;
    accounts::found(&opened.directory, new.account_id).await?;
    let warning = ask_provider(&state, &new).await?;
    let added = opened
        .directory
        .add_client(new.account_id, &new.client_id, &new.name, &new.scopes)
        .await;
    let client = added.map_err(|error| match error {
        StoreError::AlreadyExists(_) => conflict(format!(
            "{} is registered already, and a service client belongs to one account only; \
             `vestibule client list` shows it",
            new.client_id
        )),
        error => failed(error),
    })?;
    note(opened, &client, "client.add", &by);
    Ok((StatusCode::CREATED, Json(Added { client, warning })))
}

pub(super) async fn suspend(
    State(state): State<ApiState>,
    Stopper(by): Stopper,
    id: EitherId,
) -> Result<Json<ServiceClient>, Problem> {
    let opened = state.operations.open().await?;
    let client = found(&opened.directory, &id?.0).await?;
    let client = opened.directory.suspend_client(&client.client_id).await;
    let client = client.map_err(failed)?;
    note(opened, &client, "client.suspend", &by);
    Ok(Json(client))
}

pub(super) async fn resume(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: EitherId,
) -> Result<Json<ServiceClient>, Problem> {
    let opened = state.operations.open().await?;
    let client = found(&opened.directory, &id?.0).await?;
    let client = opened.directory.resume_client(&client.client_id).await;
    let client = client.map_err(failed)?;
    note(opened, &client, "client.resume", &by);
    Ok(Json(client))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Writer(by): Writer,
    id: EitherId,
) -> Result<Json<Value>, Problem> {
    let opened = state.operations.open().await?;
    let client = found(&opened.directory, &id?.0).await?;
    let removed = opened.directory.remove_client(&client.client_id).await;
    removed.map_err(failed)?;
    note(opened, &client, "client.remove", &by);
    Ok(Json(
        json!({ "id": client.id, "client_id": client.client_id, "removed": true }),
    ))
}

/// What was done to a service client is written down.
fn note(opened: &Opened, client: &ServiceClient, what: &'static str, by: &Administrator) {
    let deed = Deed::new(what, by).about_client(&client.client_id);
    opened.note(client.account_id, &deed);
}

/// Security rule: a client that can obtain tokens of any user would make its owner everybody. What
/// could not be looked at is said, and `vestibule doctor` looks later.
async fn ask_provider(state: &ApiState, new: &NewClient) -> Result<Option<String>, Problem> {
    let id = &new.client_id;
    let Some(provider) = state.operations.provider() else {
        return Ok(Some(format!(
            "{id} was not looked up at Authress, because AUTHRESS_API_URL and \
             AUTHRESS_ACCESS_KEY are not set; `vestibule doctor` looks it up later"
        )));
    };
    let api = AuthressApi::new(provider, Arc::new(SystemClock)).map_err(|error| {
        tracing::error!(%error, "Authress cannot be asked");
        Problem::new(Code::InternalError)
    })?;
    match api.get_client(id).await {
        Ok(Found::Present(client)) if !client.grant_token_generation => Ok(None),
        Ok(Found::Present(_)) if new.allow_token_generation => Ok(Some(format!(
            "{id} can obtain tokens of any user (grantTokenGeneration)"
        ))),
        Ok(Found::Present(_)) => Err(conflict(format!(
            "{id} can obtain tokens of any user (options.grantTokenGeneration at Authress): turn \
             that off there, or add --allow-token-generation"
        ))),
        Ok(Found::Gone) => Ok(Some(format!(
            "Authress does not know {id}: its tokens will be refused"
        ))),
        Err(error) => Ok(Some(format!(
            "{id} could not be looked up at Authress: {error}; `vestibule doctor` looks it up later"
        ))),
    }
}

/// The client with this id, ours or Authress'.
pub(super) async fn found(directory: &Directory, id: &str) -> Result<ServiceClient, Problem> {
    check_client_id(id).map_err(invalid)?;
    if let Some((client, _)) = directory.find_client(id).await.map_err(failed)? {
        return Ok(client);
    }
    if let Ok(ours) = id.parse::<Uuid>() {
        let client = directory.client(ours).await.map_err(failed)?;
        if let Some(client) = client {
            return Ok(client);
        }
    }
    Err(missing(format!(
        "there is no service client with the id {id}; `vestibule client list` shows them"
    )))
}

/// Whether this is the form of an id. Looked at before anything else and never repeated: an
/// access key or a token in an id's place is a secret.
pub(crate) fn check_client_id(text: &str) -> Result<(), String> {
    const LONGEST: usize = 128;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) {
        Ok(())
    } else {
        Err(format!(
            "a service client's id has 1 to {LONGEST} characters of A-Z a-z 0-9 _ -, such as \
             sc_robot01; an access key or a token does not belong in its place"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert!(check_client_id("sc_robot01").is_ok());
        assert!(check_client_id("0190a8f2-0000-7000-8000-000000000001").is_ok());
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "sc_robot01.k1.acme.c2VjcmV0",
            "a b",
            "\u{e9}",
        ] {
            let refused = check_client_id(wrong).unwrap_err();
            assert!(!refused.contains("c2VjcmV0"), "{refused}");
        }
    }
}
