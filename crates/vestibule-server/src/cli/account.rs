//! `account …`: the customers of the platform.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    store::{Account, Directory, ServiceClient, StoreError, User},
    tenancy::TenantSpaces,
};

use super::{
    Global,
    account_move::{self, MoveArgs},
    all_pages, clock,
    output::{Answer, Failure, Table, facts, shown},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account, with its own data space, for a tenant of Authress
    Create {
        /// The customer's name
        #[arg(long)]
        name: String,
        /// The id of the customer's tenant at Authress
        #[arg(long, value_name = "TENANT_ID")]
        tenant: String,
        /// Answer with the tenant's account where there is one already
        #[arg(long)]
        if_missing: bool,
        /// PostgreSQL: the cluster of VESTIBULE_CLUSTERS on which its data are to lie
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// All accounts
    List,
    /// One account
    Show {
        /// The account's id
        id: Uuid,
    },
    /// Give an account another name
    Rename(RenameArgs),
    /// Refuse all callers of an account
    Suspend {
        /// The account's id
        id: Uuid,
    },
    /// Let the callers of an account in again
    Resume {
        /// The account's id
        id: Uuid,
    },
    /// PostgreSQL: move an account's data to another cluster; run it again where it was broken off
    Move(MoveArgs),
    /// What the directory knows of an account, as JSON
    Export {
        /// The account's id
        id: Uuid,
    },
    /// End an account: its users, its service clients and all of its data
    Delete {
        /// The account's id
        id: Uuid,
        /// Yes, all of it, for ever
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// The account's id
    id: Uuid,
    /// The new name
    #[arg(required_unless_present = "name")]
    new_name: Option<String>,
    /// The new name
    #[arg(long, conflicts_with = "new_name")]
    name: Option<String>,
}

pub(crate) async fn run(global: &Global, command: AccountCommand) -> Result<Answer, Failure> {
    match command {
        AccountCommand::Create {
            name,
            tenant,
            if_missing,
            cluster,
        } => create(global, &name, &tenant, if_missing, cluster.as_deref()).await,
        AccountCommand::List => list(global).await,
        AccountCommand::Show { id } => show(global, id).await,
        AccountCommand::Rename(arguments) => {
            let name = arguments.new_name.or(arguments.name).unwrap_or_default();
            let directory = global.directory().await?;
            found(&directory, arguments.id).await?;
            Ok(one(&directory.rename_account(arguments.id, &name).await?))
        }
        AccountCommand::Suspend { id } => {
            let directory = global.directory().await?;
            found(&directory, id).await?;
            Ok(one(&directory.suspend_account(id).await?))
        }
        AccountCommand::Resume { id } => {
            let directory = global.directory().await?;
            found(&directory, id).await?;
            Ok(one(&directory.resume_account(id).await?))
        }
        AccountCommand::Move(arguments) => account_move::run(global, &arguments).await,
        AccountCommand::Export { id } => export(global, id).await,
        AccountCommand::Delete { id, yes } => delete(global, id, yes).await,
    }
}

#[derive(Default, Serialize)]
struct Exported {
    account: Value,
    users: Vec<Value>,
    service_clients: Vec<Value>,
    tables: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Account { value: Value },
    User { value: Value },
    ServiceClient { value: Value },
    Row { table: String, value: Value },
}

async fn create(
    global: &Global,
    name: &str,
    tenant: &str,
    if_missing: bool,
    cluster: Option<&str>,
) -> Result<Answer, Failure> {
    // The name of the cluster of DATABASE_URL.
    let cluster = cluster.filter(|name| *name != MAIN);
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    if let Some(account) = directory.find_account_by_tenant(tenant).await? {
        return existing(&account, if_missing);
    }
    match spaces.create_account_on(cluster, name, tenant).await {
        Ok(account) => with_cluster(&spaces, &account).await,
        // Somebody was faster.
        Err(StoreError::AlreadyExists(_)) => {
            match directory.find_account_by_tenant(tenant).await? {
                Some(account) => existing(&account, if_missing),
                None => Err(Failure::Failed(
                    "an account with this name or tenant was made and removed just now: try again"
                        .to_owned(),
                )),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn existing(account: &Account, wanted: bool) -> Result<Answer, Failure> {
    if wanted {
        return Ok(one(account));
    }
    Err(Failure::Failed(format!(
        "tenant {} has an account already, {}; --if-missing answers with it",
        shown(&account.authress_tenant_id),
        account.id
    )))
}

async fn list(global: &Global) -> Result<Answer, Failure> {
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let accounts = all_accounts(&directory).await?;
    let places = TenantSpaces::open(&settings, &directory, clock())?
        .placements()
        .await?;
    let headings: &[&str] = match &places {
        Some(_) => &["ID", "NAME", "TENANT", "STATUS", "CLUSTER"],
        None => &["ID", "NAME", "TENANT", "STATUS"],
    };
    let mut table = Table::new(headings);
    let mut items = Vec::with_capacity(accounts.len());
    for account in &accounts {
        let id = account.id.to_string();
        let mut row = vec![
            id.as_str(),
            &account.name,
            &account.authress_tenant_id,
            account.status.as_str(),
        ];
        let cluster = places
            .as_ref()
            .map(|places| places.get(&account.id).map_or(MAIN, String::as_str));
        row.extend(cluster);
        table.row(&row);
        items.push(Placed { account, cluster });
    }
    Ok(Answer::list(&items, &table))
}

async fn show(global: &Global, id: Uuid) -> Result<Answer, Failure> {
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let account = found(&directory, id).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    with_cluster(&spaces, &account).await
}

/// As people call the cluster of DATABASE_URL.
pub(super) const MAIN: &str = "main";

/// The account, on PostgreSQL with the cluster that holds its data.
async fn with_cluster(spaces: &TenantSpaces, account: &Account) -> Result<Answer, Failure> {
    let Some(places) = spaces.placements().await? else {
        return Ok(one(account));
    };
    let cluster = places.get(&account.id).map_or(MAIN, String::as_str);
    let placed = Placed {
        account,
        cluster: Some(cluster),
    };
    Ok(Answer::new(&placed, facts_of(account, Some(cluster))))
}

/// An account with the cluster that holds its data, where there are clusters.
#[derive(Serialize)]
struct Placed<'a> {
    #[serde(flatten)]
    account: &'a Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
}

/// Everything that is kept of the account: JSON lines, or with `--json` the same in one document.
async fn export(global: &Global, id: Uuid) -> Result<Answer, Failure> {
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    found(&directory, id).await?;
    let mut lines = Vec::new();
    spaces.export_account(id, &mut lines).await?;
    let document = exported(&lines).map_err(|error| Failure::Failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&lines).trim_end().to_owned();
    Ok(Answer::new(&document, text))
}

/// The lines of an export, sorted into one document.
fn exported(lines: &[u8]) -> Result<Exported, serde_json::Error> {
    let mut exported = Exported::default();
    for line in serde_json::Deserializer::from_slice(lines).into_iter() {
        match line? {
            Line::Account { value } => exported.account = value,
            Line::User { value } => exported.users.push(value),
            Line::ServiceClient { value } => exported.service_clients.push(value),
            Line::Row { table, value } => exported.tables.entry(table).or_default().push(value),
        }
    }
    Ok(exported)
}

async fn delete(global: &Global, id: Uuid, yes: bool) -> Result<Answer, Failure> {
    if !yes {
        return Err(Failure::Usage(format!(
            "this ends account {id} with its users, its service clients and all of its data, for \
             ever; if that is meant, add --yes"
        )));
    }
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    let account = found(&directory, id).await?;
    spaces.delete_account(id).await?;
    let text = format!("deleted {} {}", account.id, shown(&account.name));
    Ok(Answer::new(
        &json!({ "id": account.id, "name": account.name, "deleted": true }),
        text,
    ))
}

/// The account, or a word on how to find it.
pub(super) async fn found(directory: &Directory, id: Uuid) -> Result<Account, Failure> {
    directory.account(id).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no account with the id {id}; `vestibule account list` shows them"
        ))
    })
}

pub(super) async fn all_accounts(directory: &Directory) -> Result<Vec<Account>, Failure> {
    Ok(all_pages(|page| async move { directory.accounts(&page).await }).await?)
}

pub(super) async fn users_of(directory: &Directory, account: Uuid) -> Result<Vec<User>, Failure> {
    Ok(all_pages(|page| async move { directory.users(account, &page).await }).await?)
}

pub(super) async fn clients_of(
    directory: &Directory,
    account: Uuid,
) -> Result<Vec<ServiceClient>, Failure> {
    Ok(all_pages(|page| async move { directory.clients(account, &page).await }).await?)
}

fn one(account: &Account) -> Answer {
    Answer::new(account, facts_of(account, None))
}

fn facts_of(account: &Account, cluster: Option<&str>) -> String {
    let id = account.id.to_string();
    let mut lines = vec![
        ("id", id.as_str()),
        ("name", &account.name),
        ("tenant", &account.authress_tenant_id),
        ("status", account.status.as_str()),
    ];
    lines.extend(cluster.map(|cluster| ("cluster", cluster)));
    facts(&lines)
}
