//! The capability for system sessions is handed out once.
use vestibule::tenancy::SystemAccess;

fn made() -> SystemAccess {
    SystemAccess(())
}

fn granted() -> SystemAccess {
    SystemAccess::grant()
}

fn copied(access: &SystemAccess) -> SystemAccess {
    access.clone()
}

fn main() {}
