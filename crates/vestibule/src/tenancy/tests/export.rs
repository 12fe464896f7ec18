//! Everything of one account, and nothing of another.

use serde_json::{Value, json};

use super::*;
use crate::store::{NewUser, Profile, StoreError};

const THINGS: &str = "CREATE TABLE \"odd \"\"name\" (
    id UUID PRIMARY KEY, ok BOOLEAN, amount DOUBLE PRECISION, raw BYTEA, text TEXT, n BIGINT
)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_all_of_the_account_and_nothing_else() {
    let world = World::new().await;
    let steps = migrator(&[(1, NOTES), (2, THINGS)]);
    world.spaces.migrate_tenants(&steps).await.unwrap();
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    for (account, subject, client) in [
        (&world.acme, "user_ada", "sc_robot01"),
        (&bolt, "user_bob", "sc_robot02"),
    ] {
        let new = NewUser {
            account_id: account.id,
            provider: "authress".to_owned(),
            subject: subject.to_owned(),
            profile: Profile::default(),
        };
        world.directory.provision_user(&new).await.unwrap();
        let scopes = ["notes:read".to_owned()];
        world
            .directory
            .add_client(account.id, client, "CI", &scopes)
            .await
            .unwrap();
    }
    let session = world.detached();
    add(&session, "Buy milk").await.unwrap();
    session
        .query("INSERT INTO \"odd \"\"name\" VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(Uuid::from_u128(42))
        .bind(true)
        .bind(1.5)
        .bind(vec![0_u8, 255])
        .bind(None::<String>)
        .bind(7_i64)
        .execute()
        .await
        .unwrap();
    session.commit().await.unwrap();
    // A session that goes on neither waits nor is seen.
    let open = world.detached();
    add(&open, "not yet").await.unwrap();
    let mut out = Vec::new();
    let lines = world
        .spaces
        .export_account(world.acme.id, &mut out)
        .await
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("bolt") && !text.contains("user_bob") && !text.contains("not yet"));
    let all: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(u64::try_from(all.len()).unwrap(), lines);
    assert_eq!(all[0]["kind"], "account");
    assert_eq!(all[0]["value"]["authress_tenant_id"], "tenant_acme");
    assert_eq!(all[1]["value"]["authress_user_id"], "user_ada");
    assert_eq!(all[2]["value"]["scopes"], json!(["notes:read"]));
    let rows = |table: &str| -> Vec<&Value> {
        all.iter()
            .filter(|line| line["table"] == table)
            .map(|line| &line["value"])
            .collect()
    };
    assert_eq!(
        rows("notes"),
        [&json!({"id": 1, "text": "Buy milk", "parent": null})]
    );
    let odd = json!({
        "id": Uuid::from_u128(42).to_string(),
        "ok": true, "amount": 1.5, "raw": "AP8=", "text": null, "n": 7,
    });
    assert_eq!(rows("odd \"name"), [&odd]);
    assert_eq!(
        rows("vestibule_account")[0]["account_id"],
        world.acme.id.to_string()
    );
    open.rollback().await.unwrap();
    let nobody = world
        .spaces
        .export_account(Uuid::from_u128(7), &mut Vec::new())
        .await;
    assert!(matches!(nobody, Err(StoreError::NotFound(_))));
}
