//! `/v1/users`: read, list, delete, and the permission check.

use super::caller::Caller;
use super::page::Listing;
use super::reply::Reply;
use super::route::Query;
use crate::sandbox::Shared;
use crate::world::Grant;

const LISTING: Listing = Listing {
    path: "/v1/users",
    member: "users",
    limit: 100,
    links: true,
};

pub(crate) fn get(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_see_user(id)?;
    let world = shared.world();
    let user = world.users.get(id).ok_or_else(unknown)?;
    Ok(Reply::json(world.user_record(user)))
}

pub(crate) fn delete(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    shared.world().users.remove(id).ok_or_else(unknown)?;
    Ok(Reply::empty(204))
}

pub(crate) fn list(shared: &Shared, caller: &Caller, query: &Query) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let filter = query.get("filter").unwrap_or("");
    if filter.chars().count() > 64 {
        return Err(Reply::bad_request("filter has more than 64 characters"));
    }
    let world = shared.world();
    LISTING.page(shared, query, &world.users, |user| {
        let tenant = query.get("tenantId");
        let wanted = tenant.is_none_or(|tenant| user.tenant.as_deref() == Some(tenant))
            && user.matches(filter);
        wanted.then(|| world.user_record(user))
    })
}

/// 200 without a body means yes; 404 means that the user lacks the permission.
pub(crate) fn permission(shared: &Shared, caller: &Caller, grant: &Grant) -> Result<Reply, Reply> {
    let (user, _, _) = grant;
    caller.must_check_permissions(user)?;
    match shared.world().grants.contains(grant) {
        true => Ok(Reply::empty(200)),
        false => Err(Reply::not_found("The user does not have this permission")),
    }
}

fn unknown() -> Reply {
    Reply::not_found("There is no such user")
}
