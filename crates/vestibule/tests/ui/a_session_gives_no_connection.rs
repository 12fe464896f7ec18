//! The data spaces lead to no connection.
use vestibule::tenancy::TenantSpaces;

async fn of_any_account(spaces: &TenantSpaces, account: uuid::Uuid) {
    let _ = spaces.begin(account).await;
}

fn main() {}
