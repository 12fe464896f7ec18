use vestibule::{TenantSession, Vestibule, tenancy::TenantSpaces};

pub use vestibule::tenancy::SessionScope; //~ E0603

pub fn by_hand() -> TenantSession {
    TenantSession::new(anything()) //~ E0624
}

pub fn of_any_account(spaces: &TenantSpaces) {
    let _ = spaces.detached_session(anything()); //~ E0624
}

pub fn by_account(vestibule: &Vestibule) {
    let account: &str = "0190a8f2-0000-7000-8000-000000000001";
    let _ = vestibule.get_tenant_session(account); //~ E0308
}

pub fn another_account(session: &mut TenantSession) {
    session.shared = anything(); //~ E0616
}

fn anything<T>() -> T {
    loop {}
}
