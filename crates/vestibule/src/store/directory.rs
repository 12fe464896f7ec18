//! The directory itself. Cheap to clone.
use super::*;
use crate::{
    clock::{SharedClock, Timestamp},
    settings::DatabaseSettings,
};
use uuid::Uuid;

/// The directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory;

#[allow(missing_docs, unused_variables)]
impl Directory {
    pub async fn open(settings: &DatabaseSettings, clock: SharedClock) -> Result<Self, StoreError> {
        Ok(Self)
    }
    pub async fn find_user(
        &self,
        provider: &str,
        subject: &str,
    ) -> Result<Option<(User, Account)>, StoreError> {
        Ok(None)
    }
    pub async fn find_client(
        &self,
        client_id: &str,
    ) -> Result<Option<(ServiceClient, Account)>, StoreError> {
        Ok(None)
    }
    pub async fn find_account_by_tenant(
        &self,
        tenant_id: &str,
    ) -> Result<Option<Account>, StoreError> {
        Ok(None)
    }
    pub async fn provision_user(&self, new: &NewUser) -> Result<Provisioned, StoreError> {
        Err(StoreError::NotFound("".into()))
    }
    pub async fn refresh_profile(
        &self,
        user_id: Uuid,
        profile: &Profile,
    ) -> Result<(), StoreError> {
        Ok(())
    }
    pub async fn kept_fact(
        &self,
        kind: &'static str,
        key: &str,
    ) -> Result<Option<KeptFact>, StoreError> {
        Ok(None)
    }
    pub async fn keep_fact(
        &self,
        kind: &'static str,
        key: &str,
        fact: &KeptFact,
    ) -> Result<(), StoreError> {
        Ok(())
    }
    pub async fn forget_fact(&self, kind: &'static str, key: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
