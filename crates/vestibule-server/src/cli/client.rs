//! `client …`: service clients, software that signs its own tokens.

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;
use vestibule::{
    provider::{AuthressApi, Found},
    settings::{DatabaseSettings, ProviderSettings, SettingsError},
    store::{Directory, ServiceClient, StoreError},
};

use super::{
    Global, account, clock,
    output::{Answer, Failure, Table, facts, note, shown},
};
use crate::{settings::LogSettings, telemetry::logs};

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

pub(crate) async fn run(global: &Global, command: ClientCommand) -> Result<Answer, Failure> {
    match command {
        ClientCommand::Add(arguments) => add(global, arguments).await,
        ClientCommand::List { account } => list(&global.directory().await?, account).await,
        ClientCommand::Suspend { id } => {
            let directory = global.directory().await?;
            let client = found(&directory, &id).await?;
            Ok(one(&directory.suspend_client(&client.client_id).await?))
        }
        ClientCommand::Resume { id } => {
            let directory = global.directory().await?;
            let client = found(&directory, &id).await?;
            Ok(one(&directory.resume_client(&client.client_id).await?))
        }
        ClientCommand::Remove { id } => {
            let directory = global.directory().await?;
            let client = found(&directory, &id).await?;
            directory.remove_client(&client.client_id).await?;
            Ok(Answer::new(
                &json!({ "id": client.id, "client_id": client.client_id, "removed": true }),
                format!("removed {} {}", client.id, shown(&client.client_id)),
            ))
        }
    }
}

async fn add(global: &Global, arguments: AddArgs) -> Result<Answer, Failure> {
    check_id(&arguments.client_id)?;
    let (database, provider) = settings(global)?;
    let own = provider
        .as_ref()
        .map(|provider| provider.access_key.client_id());
    if own == Some(arguments.client_id.as_str()) {
        return Err(Failure::Failed(format!(
            "{} is the service client of AUTHRESS_ACCESS_KEY, with which this server calls \
             Authress: it can never be a caller. Make another service client at Authress",
            shown(&arguments.client_id)
        )));
    }
    let directory = Directory::open_as_owner(&database, clock()).await?;
    account::found(&directory, arguments.account).await?;
    ask_provider(provider.as_ref(), &arguments).await?;
    let AddArgs {
        client_id,
        account,
        name,
        scopes,
        ..
    } = arguments;
    match directory
        .add_client(account, &client_id, &name, &scopes)
        .await
    {
        Ok(client) => Ok(one(&client)),
        Err(StoreError::AlreadyExists(_)) => Err(Failure::Failed(format!(
            "{client_id} is registered already, and a service client belongs to one account only; \
             `vestibule client list` shows it"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The database's settings, and the provider's where there are any: without them the client is
/// registered unseen.
fn settings(global: &Global) -> Result<(DatabaseSettings, Option<ProviderSettings>), Failure> {
    let mut reader = global.reader();
    let database = DatabaseSettings::read(&mut reader);
    let log = LogSettings::read(&mut reader, "warn");
    let named = [
        "AUTHRESS_API_URL",
        "AUTHRESS_ACCESS_KEY",
        "AUTHRESS_ACCESS_KEY_FILE",
    ]
    .iter()
    .any(|name| reader.text(name).is_some());
    let provider = if named {
        let provider = ProviderSettings::read(&mut reader);
        Some(provider)
    } else {
        None
    };
    reader.finish()?;
    let wrong = || Failure::Settings(SettingsError::default());
    let provider = provider
        .map(|provider| provider.ok_or_else(wrong))
        .transpose()?;
    logs::start(&log.ok_or_else(wrong)?);
    Ok((database.ok_or_else(wrong)?, provider))
}

/// Security rule 3: a client that can obtain tokens of any user would make its owner everybody.
async fn ask_provider(
    provider: Option<&ProviderSettings>,
    arguments: &AddArgs,
) -> Result<(), Failure> {
    let id = shown(&arguments.client_id);
    let Some(provider) = provider else {
        note(&format!(
            "warning: {id} was not looked up at Authress, because AUTHRESS_API_URL and \
             AUTHRESS_ACCESS_KEY are not set; `vestibule doctor` looks it up later"
        ));
        return Ok(());
    };
    let api = AuthressApi::new(provider, clock())?;
    match api.get_client(&arguments.client_id).await {
        Ok(Found::Present(client)) if client.grant_token_generation => {
            if arguments.allow_token_generation {
                note(&format!(
                    "warning: {id} can obtain tokens of any user (grantTokenGeneration)"
                ));
                Ok(())
            } else {
                Err(Failure::Failed(format!(
                    "{id} can obtain tokens of any user (options.grantTokenGeneration at \
                     Authress): turn that off there, or add --allow-token-generation"
                )))
            }
        }
        Ok(Found::Present(_)) => Ok(()),
        Ok(Found::Gone) => {
            note(&format!(
                "warning: Authress does not know {id}: its tokens will be refused"
            ));
            Ok(())
        }
        Err(error) => {
            note(&format!(
                "warning: {id} could not be looked up at Authress: {error}; `vestibule doctor` \
                 looks it up later"
            ));
            Ok(())
        }
    }
}

async fn list(directory: &Directory, account: Option<Uuid>) -> Result<Answer, Failure> {
    let clients = match account {
        Some(id) => {
            account::found(directory, id).await?;
            account::clients_of(directory, id).await?
        }
        None => all_clients(directory).await?,
    };
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

pub(super) async fn all_clients(directory: &Directory) -> Result<Vec<ServiceClient>, Failure> {
    let mut clients = Vec::new();
    for account in account::all_accounts(directory).await? {
        clients.extend(account::clients_of(directory, account.id).await?);
    }
    Ok(clients)
}

/// The client with this id, ours or Authress'.
pub(super) async fn found(directory: &Directory, id: &str) -> Result<ServiceClient, Failure> {
    check_id(id)?;
    if let Some((client, _)) = directory.find_client(id).await? {
        return Ok(client);
    }
    let ours = match id.parse::<Uuid>() {
        Ok(id) => all_clients(directory)
            .await?
            .into_iter()
            .find(|client| client.id == id),
        Err(_) => None,
    };
    ours.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no service client with the id {id}; `vestibule client list` shows them"
        ))
    })
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

/// Whether this is the form of an id. Looked at before anything else and never repeated: an
/// access key or a token in an id's place is a secret.
fn check_id(text: &str) -> Result<(), Failure> {
    const LONGEST: usize = 128;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) {
        Ok(())
    } else {
        Err(Failure::Usage(format!(
            "a service client's id has 1 to {LONGEST} characters of A-Z a-z 0-9 _ -, such as \
             sc_robot01; an access key or a token does not belong on the command line"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert!(check_id("sc_robot01").is_ok());
        assert!(check_id("0190a8f2-0000-7000-8000-000000000001").is_ok());
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "sc_robot01.k1.acme.c2VjcmV0",
            "a b",
            "\u{e9}",
        ] {
            let refused = format!("{:?}", check_id(wrong).unwrap_err());
            assert!(refused.starts_with("Usage"), "{refused}");
            assert!(!refused.contains("c2VjcmV0"), "{refused}");
        }
    }
}
