//! Cut-offs, in every database.

use uuid::Uuid;

use super::{Database, Heard, account, person};
use crate::{
    clock::Timestamp,
    store::{Change, CutOff, CutOffTarget, StoreError},
};

fn cut_off(target: CutOffTarget, issued_before: i64, ends_at: Option<i64>) -> CutOff {
    CutOff {
        target,
        issued_before: Timestamp::from_secs(issued_before),
        ends_at: ends_at.map(Timestamp::from_secs),
    }
}

fn key(kid: &str) -> CutOffTarget {
    CutOffTarget::Key {
        client_id: "sc_robot01".to_owned(),
        kid: kid.to_owned(),
    }
}

pub(super) async fn cut_offs_only_grow_until_nothing_can_match_them(database: Database) {
    let owner = database.open().await;
    let acme = account(&owner, "tenant_acme").await;
    let ada = owner.provision_user(&person(&acme, "user_ada")).await;
    let ada = CutOffTarget::User(ada.unwrap().user.id);
    let token = CutOffTarget::Token([9; 16]);
    let issuer = CutOffTarget::Issuer("https://auth.example.com".to_owned());
    for cut in [
        cut_off(token.clone(), 5_000, Some(7_000)),
        cut_off(ada.clone(), 6_000, None),
        // An earlier one takes nothing back.
        cut_off(ada.clone(), 4_000, None),
        cut_off(issuer.clone(), 4_000, None),
        cut_off(issuer.clone(), 5_000, None),
        cut_off(CutOffTarget::Account(acme.id), 6_000, None),
        cut_off(key("k1"), 1, None),
    ] {
        owner.cut_off(&cut).await.unwrap();
    }
    let nobody = Uuid::from_u128(1);
    for target in [CutOffTarget::User(nobody), CutOffTarget::Account(nobody)] {
        let refused = owner.cut_off(&cut_off(target, 1, None)).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotFound(_)), "{refused}");
    }
    let wrong = owner.cut_off(&cut_off(key("k 1"), 1, None)).await;
    assert!(matches!(wrong, Err(StoreError::Invalid(_))), "{wrong:?}");

    let directory = database.open().await;
    let all = directory.cut_offs().await.unwrap();
    let has = |all: &[CutOff], target: &CutOffTarget, at| {
        all.iter()
            .any(|cut| cut.target == *target && cut.issued_before == Timestamp::from_secs(at))
    };
    assert_eq!(all.len(), 5, "{all:?}");
    for (target, at) in [
        (&token, 5_000),
        (&ada, 6_000),
        (&issuer, 5_000),
        (&key("k1"), 1),
    ] {
        assert!(has(&all, target, at), "{target:?}: {all:?}");
    }

    let at = Timestamp::from_secs;
    let forget = |now, before| directory.forget_cut_offs(at(now), at(before));
    assert_eq!(forget(7_000, 5_000).await.unwrap(), 0);
    assert_eq!(forget(7_001, 5_001).await.unwrap(), 2);
    let left = directory.cut_offs().await.unwrap();
    assert!(!has(&left, &token, 5_000) && !has(&left, &issuer, 5_000));
    // A key's holder writes any time of issue.
    assert_eq!(forget(99_000, 99_000).await.unwrap(), 2);
    let left = directory.cut_offs().await.unwrap();
    assert_eq!(left, [cut_off(key("k1"), 1, None)]);
}

pub(super) async fn cut_offs_reach_other_processes_as_they_are(database: Database) {
    let owner = database.open().await;
    let heard = Heard::default();
    let watching = database.open().await;
    let _guard = watching.watch(heard.listener()).await.unwrap();
    for cut in [
        cut_off(CutOffTarget::Token([7; 16]), 5_000, Some(7_000)),
        cut_off(key("k-1_A"), 1, None),
    ] {
        owner.cut_off(&cut).await.unwrap();
        heard.hears(&Change::CutOff(cut)).await;
    }
}
