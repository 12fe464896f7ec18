//! A session comes from a principal, or from a job's capability; never from an account's id.
use vestibule::tenancy::{TenantSession, TenantSpaces};

fn of_any_account(spaces: &TenantSpaces, account: uuid::Uuid) -> TenantSession {
    spaces.detached_session(account).unwrap()
}

fn from_nothing(account: uuid::Uuid) -> TenantSession {
    TenantSession { account }
}

fn main() {}
