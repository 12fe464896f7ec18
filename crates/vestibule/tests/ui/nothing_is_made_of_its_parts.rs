//! Alone in their file: the compiler looks at private members only where nothing else is wrong.

use vestibule::{Principal, TenantSession, token::VerifyingKey};

pub fn principal(other: Principal) -> Principal {
    Principal {
        identified: anything(), //~ E0451
        scope: None,            //~ E0451
    }
}

pub fn session() -> TenantSession {
    TenantSession {
        shared: anything(), //~ E0451
    }
}

pub fn key() -> VerifyingKey {
    VerifyingKey {
        0: anything(), //~ E0451
    }
}

pub fn taken_apart(session: TenantSession) {
    let TenantSession { shared, .. } = session; //~ E0451
}

fn anything<T>() -> T {
    loop {}
}
