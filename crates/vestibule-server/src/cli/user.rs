//! `user …`: people.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Global,
    operator::Operator,
    output::{Answer, Failure, Table, facts},
};
use crate::admin::api::Person;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// The users of an account
    List {
        /// The account's id
        #[arg(long)]
        account: Uuid,
    },
    /// One user
    Show {
        /// The user's id
        id: Uuid,
    },
    /// Give a user another role
    SetRole(SetRoleArgs),
    /// Refuse a user
    Suspend {
        /// The user's id
        id: Uuid,
    },
    /// Let a user in again
    Resume {
        /// The user's id
        id: Uuid,
    },
    /// Remove a user; should he come back to the account, he has his role and status again
    Remove {
        /// The user's id
        id: Uuid,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetRoleArgs {
    /// The user's id
    id: Uuid,
    /// The new role
    #[arg(required_unless_present = "role")]
    new_role: Option<String>,
    /// The new role
    #[arg(long, conflicts_with = "new_role")]
    role: Option<String>,
}

pub(crate) async fn run(global: &Global, command: UserCommand) -> Result<Answer, Failure> {
    let operator = global.operator(false)?;
    let answer = answer(&operator, command).await;
    operator.close().await;
    answer
}

async fn answer(operator: &Operator, command: UserCommand) -> Result<Answer, Failure> {
    let path = |id: Uuid| format!("/admin/v1/users/{id}");
    let changed = match command {
        UserCommand::List { account } => return list(operator, account).await,
        UserCommand::Show { id } => operator.get(&path(id)).await?,
        UserCommand::SetRole(arguments) => {
            let role = arguments.new_role.or(arguments.role).unwrap_or_default();
            let body = json!({ "role": role });
            operator
                .send(Method::PATCH, &path(arguments.id), &body)
                .await?
        }
        UserCommand::Suspend { id } => {
            let path = format!("{}/suspend", path(id));
            operator.send(Method::POST, &path, &json!({})).await?
        }
        UserCommand::Resume { id } => {
            let path = format!("{}/resume", path(id));
            operator.send(Method::POST, &path, &json!({})).await?
        }
        UserCommand::Remove { id } => {
            let removed: Value = operator.send(Method::DELETE, &path(id), &json!({})).await?;
            return Ok(Answer::new(&removed, format!("removed {id}")));
        }
    };
    Ok(one(&changed))
}

async fn list(operator: &Operator, account: Uuid) -> Result<Answer, Failure> {
    let users: Vec<Person> = operator
        .all(&format!("/admin/v1/accounts/{account}/users"))
        .await?;
    let mut table = Table::new(&["ID", "AUTHRESS USER", "NAME", "EMAIL", "ROLE", "STATUS"]);
    for user in &users {
        table.row(&[
            &user.id.to_string(),
            &user.authress_user_id,
            user.name.as_deref().unwrap_or("-"),
            user.email.as_deref().unwrap_or("-"),
            &user.role,
            user.status.as_str(),
        ]);
    }
    Ok(Answer::list(&users, &table))
}

fn one(user: &Person) -> Answer {
    let text = facts(&[
        ("id", &user.id.to_string()),
        ("authress user", &user.authress_user_id),
        ("name", user.name.as_deref().unwrap_or("-")),
        ("email", user.email.as_deref().unwrap_or("-")),
        ("role", &user.role),
        ("status", user.status.as_str()),
        ("account", &user.account_id.to_string()),
    ]);
    Answer::new(user, text)
}
