//! How this server is.

use axum::Json;
use serde_json::{Value, json};
use vestibule::clock::{Clock as _, SystemClock};

use super::Served;
use crate::admin::tokens::Reader;

pub(super) async fn show(Reader(by): Reader, served: Served) -> Json<Value> {
    let vestibule = &served.vestibule;
    let readiness = vestibule.readiness().await;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": served.started_at,
        "now": SystemClock.now(),
        "ready": { "database": readiness.database, "keys": readiness.keys },
        "issuers": vestibule.issuers(),
        "token_cache": {
            "entries": vestibule.cached_tokens(),
            "capacity": vestibule.token_cache_size(),
        },
        "token": by,
    }))
}
