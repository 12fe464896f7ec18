//! `GET /v1/users`, `GET /v1/users/{id}`: the users of the caller's account.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use uuid::Uuid;
use vestibule::{
    error::Code,
    http::Problem,
    principal::Principal,
    store::{PageOf, User},
};

use super::{
    ApiState,
    openapi::{ProblemBody, UserBody, UserPageBody},
    paging::Paging,
};

/// Users of the caller's account, one page.
#[utoipa::path(
    get,
    path = "/v1/users",
    operation_id = "list_users",
    tag = "callers",
    security(("bearer" = [])),
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 200, description = "Largest number of items; 50 where it is missing"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page of users", body = UserPageBody),
        (status = 400, description = "`limit` or `cursor` cannot be used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The caller is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller or its account is suspended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tokens were refused lately to look at this one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database or the provider cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    principal: Principal,
    Paging(page): Paging,
) -> Result<Json<PageOf<User>>, Problem> {
    Ok(Json(
        state.vestibule.users_of(&principal).list(&page).await?,
    ))
}

/// One user of the caller's account.
#[utoipa::path(
    get,
    path = "/v1/users/{id}",
    operation_id = "show_user",
    tag = "callers",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user", body = UserBody),
        (status = 401, description = "The caller is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller or its account is suspended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The caller's account has no such user", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tokens were refused lately to look at this one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database or the provider cannot be asked", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    principal: Principal,
    id: Result<Path<Uuid>, PathRejection>,
) -> Result<Json<User>, Problem> {
    // What is no id names nobody.
    let Path(id) = id?;
    let user = state.vestibule.users_of(&principal).get(id).await?;
    user.map(Json).ok_or_else(|| Problem::new(Code::NotFound))
}
