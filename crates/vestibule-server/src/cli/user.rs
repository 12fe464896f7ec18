//! `user …`: people.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::store::{Directory, User};

use super::{
    Global, account,
    output::{Answer, Failure, Table, facts},
};

/// What machines have in a role's place; a user with it could pass for one.
const SERVICE_CLIENT_ROLE: &str = "service_client";

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
    let directory = global.directory().await?;
    match command {
        UserCommand::List { account } => list(&directory, account).await,
        UserCommand::Show { id } => Ok(one(&found(&directory, id).await?)),
        UserCommand::SetRole(arguments) => {
            let role = arguments.new_role.or(arguments.role).unwrap_or_default();
            if role == SERVICE_CLIENT_ROLE {
                return Err(Failure::Usage(format!(
                    "`{SERVICE_CLIENT_ROLE}` is the role of service clients, and no user's"
                )));
            }
            found(&directory, arguments.id).await?;
            Ok(one(&directory.set_user_role(arguments.id, &role).await?))
        }
        UserCommand::Suspend { id } => {
            found(&directory, id).await?;
            Ok(one(&directory.suspend_user(id).await?))
        }
        UserCommand::Resume { id } => {
            found(&directory, id).await?;
            Ok(one(&directory.resume_user(id).await?))
        }
        UserCommand::Remove { id } => {
            let user = found(&directory, id).await?;
            directory.remove_user(id).await?;
            Ok(Answer::new(
                &json!({ "id": user.id, "removed": true }),
                format!("removed {}", user.id),
            ))
        }
    }
}

async fn list(directory: &Directory, id: Uuid) -> Result<Answer, Failure> {
    account::found(directory, id).await?;
    let users = account::users_of(directory, id).await?;
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
    let items: Vec<Value> = users.iter().map(document).collect();
    Ok(Answer::list(&items, &table))
}

async fn found(directory: &Directory, id: Uuid) -> Result<User, Failure> {
    directory.user(id).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no user with the id {id}; `vestibule user list --account <id>` shows an \
             account's"
        ))
    })
}

fn one(user: &User) -> Answer {
    let text = facts(&[
        ("id", &user.id.to_string()),
        ("authress user", &user.authress_user_id),
        ("name", user.name.as_deref().unwrap_or("-")),
        ("email", user.email.as_deref().unwrap_or("-")),
        ("role", &user.role),
        ("status", user.status.as_str()),
        ("account", &user.account_id.to_string()),
    ]);
    Answer::new(&document(user), text)
}

/// The wire form, and the account beside it: a command is not bound to one.
fn document(user: &User) -> Value {
    let mut document = json!(user);
    if let Some(members) = document.as_object_mut() {
        members.insert("account_id".to_owned(), json!(user.account_id));
    }
    document
}

#[cfg(test)]
mod tests {
    use vestibule::store::Status;

    use super::*;

    #[test]
    fn a_user_names_its_account() {
        let user = User {
            id: Uuid::from_u128(1),
            authress_user_id: "user_ada".to_owned(),
            email: None,
            name: Some("Ada".to_owned()),
            picture: None,
            role: "member".to_owned(),
            status: Status::Active,
            account_id: Uuid::from_u128(2),
        };
        let document = document(&user);
        assert_eq!(document["account_id"], json!(Uuid::from_u128(2)));
        assert_eq!(document["authress_user_id"], "user_ada");
    }
}
