use vestibule::{TenantSession, Vestibule, store::Directory, tenancy::TenantSpaces};

pub use vestibule::store::Connection; //~ E0603
pub use vestibule::store::Query; //~ E0603
pub use vestibule::store::sqlite; //~ E0603

pub fn of_a_session(session: TenantSession) {
    let _ = session.shared; //~ E0616
}

pub fn of_the_entrance(vestibule: Vestibule) {
    let _ = vestibule.0; //~ E0616
}

pub fn of_the_directory(directory: Directory) {
    let _ = directory.inner; //~ E0616
}

pub fn of_the_spaces(spaces: TenantSpaces) {
    let _ = spaces.inner; //~ E0616
}

pub async fn a_lease(spaces: TenantSpaces) {
    let _ = spaces.begin(anything()).await; //~ E0624
}

pub fn a_file(spaces: &TenantSpaces) {
    let _ = spaces.file_of(anything()); //~ E0624
}

pub fn our_own_tables(session: TenantSession) {
    let _ = session.own_query("SELECT * FROM vestibule_account"); //~ E0624
}

fn anything<T>() -> T {
    loop {}
}
