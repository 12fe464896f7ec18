//! `revoke …`: cuts off what was issued already, on every server within a second.
//!
//! To keep somebody out for good, suspend him: whoever is cut off may sign in again.

use clap::{ArgGroup, Args};
use http::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vestibule::{clock::Timestamp, store::PageOf};

use super::{
    Global,
    operator::Operator,
    output::{Answer, Failure, Table, facts},
    token::read_token,
};
use crate::admin::api::{NewRevocation, What, check_client_id};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct RevokeArgs {
    /// One token, read from standard input
    #[arg(long, group = "what")]
    token: bool,
    /// A user's tokens, by the user's id
    #[arg(long, value_name = "ID", group = "what")]
    user: Option<Uuid>,
    /// The tokens of all callers of an account, by its id
    #[arg(long, value_name = "ID", group = "what")]
    account: Option<Uuid>,
    /// All user tokens of an issuer, as in AUTHRESS_ISSUERS
    #[arg(long, value_name = "URL", group = "what")]
    issuer: Option<String>,
    /// A service client, of which --kid names the key. Its holder can write any time of issue: to
    /// stop all of its keys, suspend it
    #[arg(long, value_name = "ID", group = "what", requires = "kid")]
    client: Option<String>,
    /// The key
    #[arg(long, value_name = "KID", requires = "client")]
    kid: Option<String>,
    /// Only what was issued before this time; now, where it is left out
    #[arg(long, value_name = "TIME", conflicts_with_all = ["token", "client", "list"])]
    before: Option<Timestamp>,
    /// Show what is cut off
    #[arg(long, group = "what")]
    list: bool,
}

pub(crate) async fn run(global: &Global, arguments: RevokeArgs) -> Result<Answer, Failure> {
    if arguments.list {
        let operator = global.operator(false)?;
        let listed = list(&operator).await;
        operator.close().await;
        return listed;
    }
    // Before anything is opened: it may be none.
    let token = match arguments.token {
        true => Some(read_token()?),
        false => None,
    };
    let new = NewRevocation {
        issued_before: arguments.before.map(Timestamp::to_rfc3339),
        what: named(arguments, token)?,
    };
    let operator = global.operator(false)?;
    let made = operator
        .send(Method::POST, "/admin/v1/revocations", &new)
        .await;
    operator.close().await;
    Ok(one(&made?))
}

fn named(arguments: RevokeArgs, token: Option<String>) -> Result<What, Failure> {
    if let (Some(client_id), Some(kid)) = (arguments.client, arguments.kid) {
        // An access key in an id's place goes nowhere.
        check_client_id(&client_id).map_err(Failure::Usage)?;
        return Ok(What::Key { client_id, kid });
    }
    token
        .map(|token| What::Token { token })
        .or(arguments.user.map(|which| What::User { which }))
        .or(arguments.account.map(|which| What::Account { which }))
        .or(arguments.issuer.map(|which| What::Issuer { which }))
        .ok_or_else(|| Failure::Usage("say what to cut off".to_owned()))
}

/// Something that is cut off.
#[derive(Debug, Deserialize, Serialize)]
struct Revocation {
    kind: String,
    which: String,
    /// None where the time of issue does not matter.
    issued_before: Option<String>,
}

impl Revocation {
    fn before(&self) -> &str {
        self.issued_before.as_deref().unwrap_or("any time")
    }
}

async fn list(operator: &Operator) -> Result<Answer, Failure> {
    let page: PageOf<Revocation> = operator.get("/admin/v1/revocations").await?;
    let mut table = Table::new(&["WHAT", "WHICH", "ISSUED BEFORE"]);
    for one in &page.items {
        table.row(&[&one.kind, &one.which, one.before()]);
    }
    Ok(Answer::list(&page.items, &table))
}

fn one(made: &Revocation) -> Answer {
    let text = facts(&[
        ("cut off", &made.kind),
        ("which", &made.which),
        ("issued before", made.before()),
    ]);
    Answer::new(made, text)
}
