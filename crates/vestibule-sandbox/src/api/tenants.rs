//! `/v1/tenants`: read, list, create, change, delete, and the users that belong to one.

use bytes::Bytes;
use serde::Deserialize;

use super::caller::Caller;
use super::page::Listing;
use super::reply::Reply;
use super::route::Query;
use crate::records::Tenant;
use crate::sandbox::Shared;

const LISTING: Listing = Listing {
    path: "/v1/tenants",
    member: "tenants",
    limit: 100,
    links: false,
};

/// A tenant as its creator writes it. What the sandbox has no use for is accepted and dropped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    tenant_id: Option<String>,
    tenant_lookup_identifier: Option<String>,
    data: Option<Data>,
    domains: Option<Vec<Domain>>,
    connection: Option<Connection>,
}

#[derive(Deserialize)]
struct Data {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Domain {
    domain: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    connection_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TenantUser {
    user_id: String,
}

pub(crate) fn get(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let world = shared.world();
    let tenant = world.tenants.get(id).ok_or_else(unknown)?;
    Ok(Reply::json(tenant.record()))
}

pub(crate) fn list(shared: &Shared, caller: &Caller, query: &Query) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let world = shared.world();
    let filter = query.get("filter").unwrap_or("").to_lowercase();
    LISTING.page(shared, query, &world.tenants, |tenant| {
        let texts = [Some(&tenant.id), tenant.name.as_ref()];
        let mut texts = texts.into_iter().flatten();
        texts
            .any(|text| text.to_lowercase().contains(&filter))
            .then(|| tenant.record())
    })
}

pub(crate) fn create(shared: &Shared, caller: &Caller, body: &Bytes) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let wanted = read::<Wanted>(body)?;
    let mut world = shared.world();
    let id = match &wanted.tenant_id {
        Some(id) if world.tenants.contains_key(id) => {
            return Err(Reply::error(409, "There is a tenant with this id"));
        }
        Some(id) => checked(id)?,
        None => {
            let free = (1_u64..).map(|number| format!("tenant_{number:06}"));
            let mut free = free.filter(|id| !world.tenants.contains_key(id));
            free.next().unwrap_or_default()
        }
    };
    let tenant = wanted.tenant(id.clone());
    let record = tenant.record();
    world.tenants.insert(id, tenant);
    Ok(Reply::created(record))
}

pub(crate) fn update(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    body: &Bytes,
) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let wanted = read::<Wanted>(body)?;
    let mut world = shared.world();
    let known = world.tenants.get_mut(id).ok_or_else(unknown)?;
    *known = wanted.tenant(id.to_owned());
    Ok(Reply::json(known.record()))
}

pub(crate) fn delete(shared: &Shared, caller: &Caller, id: &str) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    shared.world().tenants.remove(id).ok_or_else(unknown)?;
    Ok(Reply::empty(204))
}

pub(crate) fn link(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    body: &Bytes,
) -> Result<Reply, Reply> {
    caller.must_have_access()?;
    let wanted = read::<TenantUser>(body)?;
    let mut world = shared.world();
    if !world.tenants.contains_key(id) {
        return Err(unknown());
    }
    let user = world.users.get_mut(&wanted.user_id);
    let user = user.ok_or_else(|| Reply::not_found("There is no such user"))?;
    user.tenant = Some(id.to_owned());
    Ok(Reply::json(serde_json::json!({ "userId": user.id })))
}

impl Wanted {
    fn tenant(self, id: String) -> Tenant {
        let mut tenant = Tenant::new(id);
        tenant.name = self.data.and_then(|data| data.name);
        tenant.lookup_identifier = self.tenant_lookup_identifier;
        tenant.connection = self.connection.and_then(|given| given.connection_id);
        let domains = self.domains.unwrap_or_default().into_iter();
        tenant.domains = domains.map(|domain| domain.domain).collect();
        tenant
    }
}

/// The provider's rule for the ids of tenants.
fn checked(id: &str) -> Result<String, Reply> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match (1..=128).contains(&id.len()) && id.bytes().all(legal) {
        true => Ok(id.to_owned()),
        false => Err(Reply::bad_request(
            "tenantId must be 1 to 128 of A-Z a-z 0-9 - _ . :",
        )),
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| Reply::bad_request(error.to_string()))
}

fn unknown() -> Reply {
    Reply::not_found("There is no such tenant")
}
