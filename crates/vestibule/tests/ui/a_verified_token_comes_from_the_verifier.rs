use vestibule::{BearerToken, VerifiedToken};

pub fn literal() -> VerifiedToken {
    VerifiedToken(anything()) //~ E0423
}

pub fn from_text() -> VerifiedToken {
    "eyJ…".parse().unwrap() //~ E0277
}

pub fn from_the_bearer(token: BearerToken<'static>) -> VerifiedToken {
    token.into() //~ E0277
}

pub fn taken_out(token: VerifiedToken) {
    let _ = token.0; //~ E0616
}

fn anything<T>() -> T {
    loop {}
}
