use vestibule::{BearerToken, Principal, VerifiedToken, principal::Resolver};

pub fn promote(principal: &mut Principal) {
    principal.caller = todo!(); //~ E0616
}

pub async fn from_the_bearer(resolver: &Resolver, token: &BearerToken<'_>) {
    let _ = resolver.principal(token).await; //~ E0308
}

pub async fn from_text(resolver: &Resolver) {
    let _ = resolver.principal("eyJ…").await; //~ E0308
}

pub fn by_hand(token: &VerifiedToken) -> Principal {
    Principal::new(todo!(), token, todo!()) //~ E0624
}
