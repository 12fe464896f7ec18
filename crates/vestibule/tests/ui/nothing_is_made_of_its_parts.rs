//! Alone in their file: the compiler looks at private members only where nothing else is wrong.

use vestibule::{Principal, TenantSession};

pub fn principal(other: Principal) -> Principal {
    Principal {
        caller: todo!(), //~ E0451
        token: todo!(),  //~ E0451
        scope: None,     //~ E0451
    }
}

pub fn session() -> TenantSession {
    TenantSession {
        scope: todo!(),   //~ E0451
        account: todo!(), //~ E0451
    }
}

pub fn taken_apart(session: TenantSession) {
    let TenantSession { scope: _, .. } = session; //~ E0451
}
