//! The users of an account are seen by a principal of that account only.
use vestibule::store::{AccountUsers, Directory};

fn of_any_account(directory: &Directory, account: uuid::Uuid) -> AccountUsers {
    directory.users_of(account)
}

fn main() {}
