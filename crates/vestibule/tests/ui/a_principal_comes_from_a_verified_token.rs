use vestibule::{BearerToken, Principal, VerifiedToken, principal::Resolver};

pub fn promote(principal: &mut Principal) {
    principal.identified = anything(); //~ E0616
}

pub async fn from_the_bearer(resolver: &Resolver, token: &BearerToken<'_>) {
    let _ = resolver.principal(token).await; //~ E0308
}

pub async fn from_text(resolver: &Resolver) {
    let _ = resolver.principal("eyJ…").await; //~ E0308
}

pub fn by_hand(_: &VerifiedToken) -> Principal {
    Principal::new(anything(), anything(), anything()) //~ E0624
}

fn anything<T>() -> T {
    loop {}
}
