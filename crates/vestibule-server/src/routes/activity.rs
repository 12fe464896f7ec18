//! `GET /v1/activity`: the latest sign-ins and refusals of the caller's account.

use axum::{
    Json,
    extract::{FromRequestParts, RawQuery, State},
    http::request::Parts,
};
use vestibule::{
    error::Code,
    http::Problem,
    store::PageOf,
    tenancy::{
        TenantSession,
        activity::{self, ActivityEntry, Kinds},
    },
};

use super::{
    ApiState,
    openapi::{ActivityPageBody, ProblemBody},
    paging::Paging,
};

/// The account's latest sign-ins (first use of a token) and refusals, newest first, one page.
#[utoipa::path(
    get,
    path = "/v1/activity",
    operation_id = "list_activity",
    tag = "callers",
    security(("bearer" = [])),
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 200, description = "Largest number of items; 50 where it is missing"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("kind" = Option<String>, Query, description = "`all`: new users and what administrators did as well"),
    ),
    responses(
        (status = 200, description = "One page of entries", body = ActivityPageBody),
        (status = 400, description = "`limit`, `cursor` or `kind` cannot be used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The caller is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller or its account is suspended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tokens were refused lately to look at this one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database or the provider cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    session: TenantSession,
    Paging(page): Paging,
    Wanted(kinds): Wanted,
) -> Result<Json<PageOf<ActivityEntry>>, Problem> {
    // Before the session's first statement, which would keep the writer from the account's file.
    state.vestibule.settle_activity().await;
    Ok(Json(activity::page_of(&session, &page, kinds).await?))
}

/// `?kind=all`.
pub(crate) struct Wanted(Kinds);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, state).await;
        let query = query.unwrap_or_default();
        let mut named = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("kind="));
        match (named.next(), named.next()) {
            (None, _) => Ok(Self(Kinds::OfCallers)),
            (Some("all"), None) => Ok(Self(Kinds::All)),
            _ => Err(Problem::new(Code::InvalidRequest)),
        }
    }
}
