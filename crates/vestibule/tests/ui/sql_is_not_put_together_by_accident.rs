use vestibule::TenantSession;

pub async fn by_accident(session: &TenantSession, name: &str) {
    let sql = format!("SELECT * FROM notes WHERE text = '{name}'");
    let _ = session.query(sql).execute().await; //~ E0277
}
