//! `revoke …`: cuts off what was issued already, on every server within a second.
//!
//! To keep somebody out for good, suspend him: whoever is cut off may sign in again.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    bearer::BearerToken,
    clock::{Clock as _, SystemClock, Timestamp},
    store::{CutOff, CutOffTarget, Directory},
    token::TokenDigest,
};

use super::{
    Global, client,
    output::{Answer, Failure, Table, facts, shown},
    token::read_token,
};

/// How long a token's cut-off is kept beyond the token's end: more than clocks may differ.
const BEYOND_END: Duration = Duration::from_secs(86_400);

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
        return list(&global.directory().await?).await;
    }
    let now = SystemClock.now();
    let issued_before = arguments.before.unwrap_or(now);
    if issued_before > now {
        return Err(Failure::Usage(
            "--before is in the future: who signs in until then would be cut off at once"
                .to_owned(),
        ));
    }
    // Before anything is opened: it may be none.
    let token = match arguments.token {
        true => Some(digest_and_end(&read_token()?)?),
        false => None,
    };
    let directory = global.directory().await?;
    let (target, ends_at) = match token {
        Some((digest, end)) => (CutOffTarget::Token(digest), Some(end + BEYOND_END)),
        None => (named(&directory, arguments).await?, None),
    };
    let cut_off = CutOff {
        target,
        issued_before,
        ends_at,
    };
    directory.cut_off(&cut_off).await?;
    Ok(one(&cut_off))
}

/// What is named by its id.
async fn named(directory: &Directory, arguments: RevokeArgs) -> Result<CutOffTarget, Failure> {
    if let (Some(id), Some(kid)) = (arguments.client, arguments.kid) {
        let client_id = client::found(directory, &id).await?.client_id;
        return Ok(CutOffTarget::Key { client_id, kid });
    }
    arguments
        .user
        .map(CutOffTarget::User)
        .or(arguments.account.map(CutOffTarget::Account))
        .or(arguments.issuer.map(CutOffTarget::Issuer))
        .ok_or_else(|| Failure::Usage("say what to cut off".to_owned()))
}

/// What stands for the token, and its `exp`, unproven: if it is not what its issuer signed, the
/// token is none.
fn digest_and_end(text: &str) -> Result<([u8; 16], Timestamp), Failure> {
    let not_one =
        || Failure::Usage("what came on standard input is not an access token".to_owned());
    let token = BearerToken::parse(text).map_err(|_| not_one())?;
    let claims = text.split('.').nth(1).ok_or_else(not_one)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| not_one())?;
    let claims: Value = serde_json::from_slice(&claims).map_err(|_| not_one())?;
    let end = claims
        .get("exp")
        .and_then(Value::as_f64)
        .ok_or_else(not_one)?;
    // An end beyond all times is the last one there is.
    #[expect(clippy::cast_possible_truncation, reason = "`as` ends at the last i64")]
    let end = Timestamp::from_secs(end as i64);
    Ok((TokenDigest::of(&token).identity(), end))
}

async fn list(directory: &Directory) -> Result<Answer, Failure> {
    let cut_offs = directory.cut_offs().await?;
    let mut table = Table::new(&["WHAT", "WHICH", "ISSUED BEFORE"]);
    for cut_off in &cut_offs {
        let (kind, which, before) = parts(cut_off);
        table.row(&[
            kind,
            &which,
            &before.unwrap_or_else(|| "any time".to_owned()),
        ]);
    }
    let items: Vec<Value> = cut_offs.iter().map(document).collect();
    Ok(Answer::list(&items, &table))
}

fn one(cut_off: &CutOff) -> Answer {
    let (kind, which, before) = parts(cut_off);
    let before = before.unwrap_or_else(|| "any time".to_owned());
    let text = facts(&[
        ("cut off", kind),
        ("which", &shown(&which)),
        ("issued before", &before),
    ]);
    Answer::new(&document(cut_off), text)
}

fn document(cut_off: &CutOff) -> Value {
    let (kind, which, before) = parts(cut_off);
    json!({ "kind": kind, "which": which, "issued_before": before })
}

/// Kind, name and limit; no limit where the time of issue does not matter.
fn parts(cut_off: &CutOff) -> (&'static str, String, Option<String>) {
    let (which, timeless) = match &cut_off.target {
        CutOffTarget::Token(digest) => (format!("{:032x}", u128::from_be_bytes(*digest)), true),
        CutOffTarget::User(id) | CutOffTarget::Account(id) => (id.to_string(), false),
        CutOffTarget::Key { client_id, kid } => (format!("{client_id} {kid}"), true),
        CutOffTarget::Issuer(issuer) => (issuer.clone(), false),
    };
    let before = (!timeless).then(|| cut_off.issued_before.to_rfc3339());
    (cut_off.target.kind(), which, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_with_an_end_is_cut_off() {
        let claims = |text: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(text));
        let (_, end) = digest_and_end(&claims(r#"{"exp":1750000000}"#)).unwrap();
        assert_eq!(end, Timestamp::from_secs(1_750_000_000));
        let (_, end) = digest_and_end(&claims(r#"{"exp":1e300}"#)).unwrap();
        assert_eq!(end, Timestamp::from_secs(i64::MAX));
        for wrong in [
            "",
            "abc",
            "a.b.c",
            &claims("{}"),
            &claims(r#"{"exp":"tomorrow"}"#),
            &claims("[]"),
        ] {
            assert!(
                matches!(digest_and_end(wrong), Err(Failure::Usage(_))),
                "{wrong}"
            );
        }
    }
}
