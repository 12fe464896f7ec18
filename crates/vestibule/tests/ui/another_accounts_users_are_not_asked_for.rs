use vestibule::{
    Principal,
    store::{AccountUsers, Directory},
};

pub fn of_any_account(directory: &Directory, principal: &Principal) -> AccountUsers {
    directory.users_of(principal.account().id) //~ E0624
}
