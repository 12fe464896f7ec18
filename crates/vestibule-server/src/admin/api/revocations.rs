//! Cut-offs: what counts no more, although it was issued and has not expired.
//!
//! To keep somebody out for good, suspend him: whoever is cut off may sign in again.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    bearer::BearerToken,
    clock::{Clock as _, SystemClock, Timestamp},
    http::Problem,
    store::{CutOff, CutOffTarget, PageOf},
    token::TokenDigest,
};

use super::{
    ApiState,
    body::Body,
    clients,
    operations::{Deed, Opened, failed, invalid},
};
use crate::admin::tokens::{Administrator, Reader, Stopper};

/// How long a token's cut-off is kept beyond the token's end: more than clocks may differ.
const BEYOND_END: Duration = Duration::from_secs(86_400);

/// What is to be cut off.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NewRevocation {
    #[serde(flatten)]
    pub(crate) what: What,
    /// RFC 3339: only what was issued before; now, where it is left out. Not for tokens and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued_before: Option<String>,
}

/// Named as people name it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum What {
    /// One token, itself.
    Token { token: String },
    /// A user's tokens.
    User { which: Uuid },
    /// The tokens of all callers of an account.
    Account { which: Uuid },
    /// All user tokens of an issuer.
    Issuer { which: String },
    /// What a service client signs with one key.
    Key { client_id: String, kid: String },
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Reader,
) -> Result<Json<PageOf<Value>>, Problem> {
    let directory = &state.operations.open().await?.directory;
    let cut_offs = directory.cut_offs().await.map_err(failed)?;
    Ok(Json(PageOf {
        items: cut_offs.iter().map(document).collect(),
        next_cursor: None,
    }))
}

pub(super) async fn revoke(
    State(state): State<ApiState>,
    Stopper(by): Stopper,
    Body(new): Body<NewRevocation>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let now = SystemClock.now();
    let issued_before = match new.issued_before.as_deref() {
        None => now,
        Some(text) => text
            .parse::<Timestamp>()
            .map_err(|_| invalid("issued_before is not a time such as 2026-01-31T12:00:00Z"))?,
    };
    if issued_before > now {
        return Err(invalid(
            "the time is in the future: who signs in until then would be cut off at once",
        ));
    }
    // Before anything is opened: it may be none.
    let (target, ends_at) = match new.what {
        What::Token { token } => {
            let (digest, end) = digest_and_end(&token)?;
            (CutOffTarget::Token(digest), Some(end + BEYOND_END))
        }
        What::User { which } => (CutOffTarget::User(which), None),
        What::Account { which } => (CutOffTarget::Account(which), None),
        What::Issuer { which } => (CutOffTarget::Issuer(which), None),
        What::Key { client_id, kid } => {
            let directory = &state.operations.open().await?.directory;
            let client_id = clients::found(directory, &client_id).await?.client_id;
            (CutOffTarget::Key { client_id, kid }, None)
        }
    };
    let cut_off = CutOff {
        target,
        issued_before,
        ends_at,
    };
    let opened = state.operations.open().await?;
    opened.directory.cut_off(&cut_off).await.map_err(failed)?;
    note(opened, &cut_off.target, &by).await;
    Ok((StatusCode::CREATED, Json(document(&cut_off))))
}

/// In the activity of whose callers they are; of a token and an issuer that is nobody's here.
async fn note(opened: &Opened, target: &CutOffTarget, by: &Administrator) {
    let (what, account) = match target {
        CutOffTarget::Token(_) => ("token.revoke", None),
        CutOffTarget::Issuer(_) => ("issuer.revoke", None),
        CutOffTarget::Account(id) => ("account.revoke", Some(*id)),
        CutOffTarget::User(id) => {
            let user = opened.directory.user(*id).await.ok().flatten();
            ("user.revoke", user.map(|user| user.account_id))
        }
        CutOffTarget::Key { client_id, .. } => {
            let client = opened.directory.find_client(client_id).await.ok().flatten();
            ("key.revoke", client.map(|(client, _)| client.account_id))
        }
    };
    let mut deed = Deed::new(what, by);
    match target {
        CutOffTarget::User(id) => deed = deed.about_user(*id),
        CutOffTarget::Key { client_id, .. } => deed = deed.about_client(client_id),
        _ => {}
    }
    match account {
        Some(account) => opened.note(account, &deed),
        None => deed.log(None),
    }
}

/// What stands for the token, and its `exp`, unproven: if it is not what its issuer signed, the
/// token is none.
fn digest_and_end(text: &str) -> Result<([u8; 16], Timestamp), Problem> {
    let not_one = || invalid("this is not an access token");
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

fn document(cut_off: &CutOff) -> Value {
    let (which, timeless) = match &cut_off.target {
        CutOffTarget::Token(digest) => (format!("{:032x}", u128::from_be_bytes(*digest)), true),
        CutOffTarget::User(id) | CutOffTarget::Account(id) => (id.to_string(), false),
        CutOffTarget::Key { client_id, kid } => (format!("{client_id} {kid}"), true),
        CutOffTarget::Issuer(issuer) => (issuer.clone(), false),
    };
    let before = (!timeless).then(|| cut_off.issued_before.to_rfc3339());
    json!({ "kind": cut_off.target.kind(), "which": which, "issued_before": before })
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
            assert!(digest_and_end(wrong).is_err(), "{wrong}");
        }
    }
}
