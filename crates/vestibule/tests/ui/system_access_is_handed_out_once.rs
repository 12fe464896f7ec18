use vestibule::{SystemAccess, Vestibule, tenancy::TenantSpaces};

pub fn literal() -> SystemAccess {
    SystemAccess(()) //~ E0423
}

pub fn granted() -> SystemAccess {
    SystemAccess::grant() //~ E0624
}

pub fn copied(access: &SystemAccess) -> SystemAccess {
    *access //~ E0507
}

pub async fn around_the_facade(spaces: &TenantSpaces, access: &SystemAccess) {
    let _ = spaces.system_session(access, anything(), "job").await; //~ E0624
}

pub async fn without(vestibule: &Vestibule) {
    let _ = vestibule.system_session((), anything(), "job").await; //~ E0308
}

fn anything<T>() -> T {
    loop {}
}
