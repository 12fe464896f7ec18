//! A statement's text that was put together has to be asserted as safe.
use vestibule::tenancy::TenantSession;

async fn by_accident(session: &TenantSession, name: &str) {
    let sql = format!("SELECT * FROM notes WHERE text = '{name}'");
    let _ = session.query(sql).execute().await;
}

fn main() {}
