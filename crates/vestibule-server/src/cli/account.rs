//! `account …`: the customers of the platform.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    clock::Timestamp,
    store::{Account, Directory, PageOf},
};

use super::{
    Global,
    account_move::{self, MoveArgs},
    all_pages,
    operator::{Operator, segment},
    output::{Answer, Failure, Table, facts, print_part, shown},
};
use crate::admin::api::{Grace, NewAccount};

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
    /// Everything that is kept of an account, its tables included, as JSON lines
    Export {
        /// The account's id
        id: Uuid,
    },
    /// What happened in an account, the oldest first, as JSON lines
    Activity {
        /// The account's id
        id: Uuid,
        /// Only what happened then and later
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
    },
    /// End an account: its users, its service clients and all of its data
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The account's id
    #[arg(required_unless_present = "due")]
    id: Option<Uuid>,
    /// Yes, all of it, for ever
    #[arg(long)]
    yes: bool,
    /// Suspend it now, and have it end after so many days; until then --undo takes it back
    #[arg(long, value_name = "DAYS", conflicts_with = "yes")]
    grace_days: Option<u32>,
    /// It is not to end any more; it stays suspended until it is resumed
    #[arg(long, conflicts_with_all = ["yes", "grace_days"])]
    undo: bool,
    /// End all accounts whose time has come
    #[arg(long, conflicts_with_all = ["id", "grace_days", "undo"], requires = "yes")]
    due: bool,
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

/// An account with the cluster that holds its data, where there are clusters.
#[derive(Debug, Deserialize, Serialize)]
struct Placed {
    #[serde(flatten)]
    account: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// When it is to end, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
}

pub(crate) async fn run(global: &Global, command: AccountCommand) -> Result<Answer, Failure> {
    if let AccountCommand::Move(arguments) = command {
        global.require_no_server("account move")?;
        return account_move::run(global, &arguments).await;
    }
    let operator = global.operator(false)?;
    let answer = answer(&operator, command, global.json).await;
    operator.close().await;
    answer
}

async fn answer(
    operator: &Operator,
    command: AccountCommand,
    as_json: bool,
) -> Result<Answer, Failure> {
    let account: Placed = match command {
        AccountCommand::Create {
            name,
            tenant,
            if_missing,
            cluster,
        } => {
            let new = NewAccount {
                name,
                tenant,
                if_missing,
                cluster,
            };
            operator
                .send(Method::POST, "/admin/v1/accounts", &new)
                .await?
        }
        AccountCommand::List => return list(operator).await,
        AccountCommand::Show { id } => operator.get(&path(id)).await?,
        AccountCommand::Rename(arguments) => {
            let name = arguments.new_name.or(arguments.name).unwrap_or_default();
            let body = json!({ "name": name });
            operator
                .send(Method::PATCH, &path(arguments.id), &body)
                .await?
        }
        AccountCommand::Suspend { id } => {
            let path = format!("{}/suspend", path(id));
            operator.send(Method::POST, &path, &json!({})).await?
        }
        AccountCommand::Resume { id } => {
            let path = format!("{}/resume", path(id));
            operator.send(Method::POST, &path, &json!({})).await?
        }
        AccountCommand::Export { id } => return export(operator, id).await,
        AccountCommand::Delete(arguments) => return delete(operator, &arguments).await,
        AccountCommand::Activity { id, since } => {
            return activity(operator, id, since, as_json).await;
        }
        AccountCommand::Move(_) => {
            return Err(Failure::Usage("this needs the database".to_owned()));
        }
    };
    Ok(one(&account))
}

fn path(id: Uuid) -> String {
    format!("/admin/v1/accounts/{id}")
}

#[derive(Debug, Deserialize, Serialize)]
struct Deleted {
    id: Uuid,
    name: String,
    deleted: bool,
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

async fn list(operator: &Operator) -> Result<Answer, Failure> {
    let accounts: Vec<Placed> = operator.all("/admin/v1/accounts").await?;
    let clusters = accounts.iter().any(|placed| placed.cluster.is_some());
    let headings: &[&str] = match clusters {
        true => &["ID", "NAME", "TENANT", "STATUS", "CLUSTER"],
        false => &["ID", "NAME", "TENANT", "STATUS"],
    };
    let mut table = Table::new(headings);
    for Placed {
        account, cluster, ..
    } in &accounts
    {
        let id = account.id.to_string();
        let mut row = vec![
            id.as_str(),
            &account.name,
            &account.authress_tenant_id,
            account.status.as_str(),
        ];
        row.extend(cluster.as_deref());
        table.row(&row);
    }
    Ok(Answer::list(&accounts, &table))
}

/// Everything that is kept of the account: JSON lines, or with `--json` the same in one document.
async fn export(operator: &Operator, id: Uuid) -> Result<Answer, Failure> {
    let path = format!("{}/export", path(id));
    let lines = operator.ask(Method::GET, &path, None).await?;
    let document = exported(&lines).map_err(|error| Failure::Failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&lines).trim_end().to_owned();
    Ok(Answer::new(&document, text))
}

/// What happened in the account: JSON lines as they come, or with `--json` one document.
async fn activity(
    operator: &Operator,
    id: Uuid,
    since: Option<Timestamp>,
    as_json: bool,
) -> Result<Answer, Failure> {
    let mut path = format!("{}/activity/export", path(id));
    if let Some(since) = since {
        path.push_str("?since=");
        path.push_str(&segment(&since.to_rfc3339()));
    }
    if !as_json {
        let print = |part: &[u8]| {
            print_part(part).map_err(|error| Failure::Failed(format!("standard output: {error}")))
        };
        operator.take(Method::GET, &path, None, print).await?;
        return Ok(Answer::nothing());
    }
    let lines = operator.ask(Method::GET, &path, None).await?;
    let items: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&lines)
        .into_iter()
        .collect();
    let items = items.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Answer::new(&json!({ "items": items }), ""))
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

async fn delete(operator: &Operator, arguments: &DeleteArgs) -> Result<Answer, Failure> {
    if arguments.due {
        let ended: PageOf<Deleted> = operator
            .send(Method::POST, "/admin/v1/endings", &json!({}))
            .await?;
        let mut table = Table::new(&["ID", "NAME"]);
        for one in &ended.items {
            table.row(&[&one.id.to_string(), &one.name]);
        }
        return Ok(Answer::list(&ended.items, &table));
    }
    let id = arguments
        .id
        .ok_or_else(|| Failure::Usage("say which account".to_owned()))?;
    let end = format!("{}/end", path(id));
    if arguments.undo {
        let account: Placed = operator.send(Method::DELETE, &end, &json!({})).await?;
        return Ok(one(&account));
    }
    if let Some(days) = arguments.grace_days {
        let account: Placed = operator.send(Method::POST, &end, &Grace { days }).await?;
        return Ok(one(&account));
    }
    if !arguments.yes {
        return Err(Failure::Usage(format!(
            "this ends account {id} with its users, its service clients and all of its data, for \
             ever; if that is meant, add --yes, or --grace-days 30 to have it end later"
        )));
    }
    let deleted: Deleted = operator.send(Method::DELETE, &path(id), &json!({})).await?;
    let text = format!("deleted {id} {}", shown(&deleted.name));
    Ok(Answer::new(&deleted, text))
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

fn one(placed: &Placed) -> Answer {
    let Placed {
        account,
        cluster,
        ends_at,
    } = placed;
    let id = account.id.to_string();
    let mut lines = vec![
        ("id", id.as_str()),
        ("name", &account.name),
        ("tenant", &account.authress_tenant_id),
        ("status", account.status.as_str()),
    ];
    lines.extend(cluster.as_deref().map(|cluster| ("cluster", cluster)));
    lines.extend(ends_at.as_deref().map(|at| ("ends at", at)));
    Answer::new(placed, facts(&lines))
}
