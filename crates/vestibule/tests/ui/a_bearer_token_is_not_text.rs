use vestibule::BearerToken;

pub fn from_text() -> BearerToken<'static> {
    BearerToken("eyJ…") //~ E0423
}

pub fn printed(token: &BearerToken<'_>) -> String {
    format!("{token}") //~ E0277
}

pub fn taken_out(token: BearerToken<'_>) -> &str {
    token.0 //~ E0616
}
