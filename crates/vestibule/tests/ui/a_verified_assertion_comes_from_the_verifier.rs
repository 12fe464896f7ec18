use vestibule::assertion::{AssertionToken, VerifiedAssertion};

pub fn literal() -> VerifiedAssertion {
    VerifiedAssertion(anything()) //~ E0423
}

pub fn from_text() -> VerifiedAssertion {
    "eyJ…".parse().unwrap() //~ E0277
}

pub fn from_the_header(token: AssertionToken<'static>) -> VerifiedAssertion {
    token.into() //~ E0277
}

pub fn taken_out(assertion: VerifiedAssertion) {
    let _ = assertion.0; //~ E0616
}

fn anything<T>() -> T {
    loop {}
}
