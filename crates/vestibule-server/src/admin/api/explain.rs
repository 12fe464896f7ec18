//! Why a token, or a request of this server, was accepted or refused.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::http::Problem;

use super::{
    ApiState, Served,
    body::{Body, parameter},
    operations::{invalid, missing},
};
use crate::{
    admin::tokens::Reader,
    explain::{self, Explanation},
};

/// Refusals of an answer, where nobody says how many, and at most.
const USUAL: usize = 50;
const MOST: usize = 1_000;

/// What is to be explained: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    token: Option<String>,
    request_id: Option<Uuid>,
}

pub(super) async fn explain(
    State(state): State<ApiState>,
    _: Reader,
    served: Served,
    Body(asked): Body<Asked>,
) -> Result<Json<Explanation>, Problem> {
    let provider = state.operations.provider();
    match (asked.token, asked.request_id) {
        (Some(token), None) => {
            let token = token.trim();
            Ok(Json(
                explain::token(&served.vestibule, provider, token).await,
            ))
        }
        (None, Some(id)) => match served.refusals.find(id) {
            Some(refused) => Ok(Json(explain::request(&refused, provider))),
            None => Err(missing(format!(
                "this server remembers no refused request {id}: it keeps the last 10,000, and each \
                 server its own"
            ))),
        },
        _ => Err(invalid("either `token` or `request_id`")),
    }
}

pub(super) async fn refusals(
    _: Reader,
    served: Served,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = query.unwrap_or_default();
    let number = |name| {
        let text = parameter(&query, name)?;
        text.map(|text| {
            text.parse::<u64>()
                .map_err(|_| invalid(format!("`{name}` is not a number")))
        })
        .transpose()
    };
    let limit = number("limit")?.map_or(USUAL, |limit| usize::try_from(limit).unwrap_or(MOST));
    let (items, next) = served
        .refusals
        .after(number("after")?, limit.clamp(1, MOST));
    Ok(Json(json!({ "items": items, "next": next })))
}
