//! `client …`: service clients, software that signs its own tokens.

use clap::{Args, Subcommand};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use vestibule::store::ServiceClient;

use super::{
    Global,
    operator::{Operator, segment},
    output::{Answer, Failure, Table, facts, note, shown},
};
use crate::admin::api::{NewClient, check_client_id};

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Let a service client of Authress in, for one account
    Add(AddArgs),
    /// Service clients: an account's, or all
    List {
        /// The account's id
        #[arg(long)]
        account: Option<Uuid>,
    },
    /// Refuse a service client
    Suspend {
        /// Its id, or its id at Authress
        id: String,
    },
    /// Let a service client in again
    Resume {
        /// Its id, or its id at Authress
        id: String,
    },
    /// Forget a service client
    Remove {
        /// Its id, or its id at Authress
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its id at Authress
    #[arg(long)]
    client_id: String,
    /// The id of the account that it belongs to
    #[arg(long)]
    account: Uuid,
    /// A name for people
    #[arg(long)]
    name: String,
    /// What it may do here; once for each scope. Its own tokens grant it nothing
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Let it in although it can obtain tokens of any user
    #[arg(long)]
    allow_token_generation: bool,
}

/// A registered client, with what is to be said of it.
#[derive(Debug, Deserialize, Serialize)]
struct Added {
    #[serde(flatten)]
    client: ServiceClient,
    #[serde(skip_serializing)]
    warning: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Removed {
    id: Uuid,
    client_id: String,
    removed: bool,
}

pub(crate) async fn run(global: &Global, command: ClientCommand) -> Result<Answer, Failure> {
    let operator = global.operator(matches!(command, ClientCommand::Add(_)))?;
    let answer = answer(&operator, command).await;
    operator.close().await;
    answer
}

async fn answer(operator: &Operator, command: ClientCommand) -> Result<Answer, Failure> {
    match command {
        ClientCommand::Add(arguments) => add(operator, arguments).await,
        ClientCommand::List { account } => list(operator, account).await,
        ClientCommand::Suspend { id } => {
            let path = format!("{}/suspend", path(&id)?);
            Ok(one(&operator.send(Method::POST, &path, &json!({})).await?))
        }
        ClientCommand::Resume { id } => {
            let path = format!("{}/resume", path(&id)?);
            Ok(one(&operator.send(Method::POST, &path, &json!({})).await?))
        }
        ClientCommand::Remove { id } => {
            let removed: Removed = operator
                .send(Method::DELETE, &path(&id)?, &json!({}))
                .await?;
            let text = format!("removed {} {}", removed.id, shown(&removed.client_id));
            Ok(Answer::new(&removed, text))
        }
    }
}

async fn add(operator: &Operator, arguments: AddArgs) -> Result<Answer, Failure> {
    // An access key in an id's place goes nowhere.
    check(&arguments.client_id)?;
    let AddArgs {
        client_id,
        account,
        name,
        scopes,
        allow_token_generation,
    } = arguments;
    let new = NewClient {
        client_id,
        account_id: account,
        name,
        scopes,
        allow_token_generation,
    };
    let added: Added = operator
        .send(Method::POST, "/admin/v1/clients", &new)
        .await?;
    if let Some(warning) = &added.warning {
        note(&format!("warning: {}", shown(warning)));
    }
    Ok(one(&added.client))
}

async fn list(operator: &Operator, account: Option<Uuid>) -> Result<Answer, Failure> {
    let path = match account {
        Some(account) => format!("/admin/v1/accounts/{account}/clients"),
        None => "/admin/v1/clients".to_owned(),
    };
    let clients: Vec<ServiceClient> = operator.all(&path).await?;
    let mut table = Table::new(&["ID", "CLIENT ID", "NAME", "SCOPES", "STATUS", "ACCOUNT"]);
    for client in &clients {
        table.row(&[
            &client.id.to_string(),
            &client.client_id,
            &client.name,
            &scopes_shown(client),
            client.status.as_str(),
            &client.account_id.to_string(),
        ]);
    }
    Ok(Answer::list(&clients, &table))
}

fn path(id: &str) -> Result<String, Failure> {
    check(id)?;
    Ok(format!("/admin/v1/clients/{}", segment(id)))
}

fn check(id: &str) -> Result<(), Failure> {
    check_client_id(id).map_err(Failure::Usage)
}

fn one(client: &ServiceClient) -> Answer {
    let text = facts(&[
        ("id", &client.id.to_string()),
        ("client id", &client.client_id),
        ("name", &client.name),
        ("scopes", &scopes_shown(client)),
        ("status", client.status.as_str()),
        ("account", &client.account_id.to_string()),
    ]);
    Answer::new(client, text)
}

fn scopes_shown(client: &ServiceClient) -> String {
    if client.scopes.is_empty() {
        "-".to_owned()
    } else {
        client.scopes.join(" ")
    }
}
