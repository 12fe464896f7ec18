//! What a test does to a running sandbox: people, keys, faults, calls, time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::calls::{Call, Endpoint};
use crate::faults::{Fault, Target};
use crate::keys::SigningKey;
use crate::records::{Client, Tenant, User};
use crate::sandbox::{Sandbox, account_id};
use crate::tokens;
use crate::world::Unknown;

/// How long [`Sandbox::wait_for_calls`] waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// People, customers and programs.
impl Sandbox {
    /// Adds a user, or puts this one in place of the one with the same id.
    pub fn add_user(&self, user: User) {
        self.shared.world().users.insert(user.id.clone(), user);
    }

    /// The user as he is now.
    pub fn user(&self, user_id: &str) -> Option<User> {
        self.shared.world().users.get(user_id).cloned()
    }

    /// Changes a user.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such user.
    pub fn update_user(
        &self,
        user_id: &str,
        change: impl FnOnce(User) -> User,
    ) -> Result<(), Unknown> {
        let user = self.user(user_id);
        let changed = change(user.ok_or_else(|| Unknown::new("user", user_id))?);
        self.add_user(changed);
        Ok(())
    }

    /// Deletes a user: from now on the API answers 404. His tokens stay well signed.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such user.
    pub fn remove_user(&self, user_id: &str) -> Result<(), Unknown> {
        let removed = self.shared.world().users.remove(user_id);
        removed
            .map(drop)
            .ok_or_else(|| Unknown::new("user", user_id))
    }

    /// Adds a tenant, or puts this one in place of the one with the same id.
    pub fn add_tenant(&self, tenant: Tenant) {
        let mut world = self.shared.world();
        world.tenants.insert(tenant.id.clone(), tenant);
    }

    /// Deletes a tenant: from now on the API answers 404. Users keep naming it.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such tenant.
    pub fn remove_tenant(&self, tenant_id: &str) -> Result<(), Unknown> {
        let removed = self.shared.world().tenants.remove(tenant_id);
        let unknown = || Unknown::new("tenant", tenant_id);
        removed.map(drop).ok_or_else(unknown)
    }

    /// Adds a service client and gives it a key, or changes the one with the same id and leaves
    /// its keys as they are.
    pub fn add_client(&self, client: Client) {
        self.shared.world().put_client(client);
    }

    /// Deletes a service client: its key set and its record are 404 from now on.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client.
    pub fn remove_client(&self, client_id: &str) -> Result<(), Unknown> {
        let removed = self.shared.world().clients.remove(client_id);
        let unknown = || Unknown::new("service client", client_id);
        removed.map(drop).ok_or_else(unknown)
    }

    /// Grants a user a permission on a resource: the permission check answers 200.
    pub fn allow(&self, user_id: &str, resource_uri: &str, permission: &str) {
        let grant = (user_id.into(), resource_uri.into(), permission.into());
        self.shared.world().grants.insert(grant);
    }

    /// Takes a permission away: the permission check answers 404, as it does before any grant.
    pub fn deny(&self, user_id: &str, resource_uri: &str, permission: &str) {
        let grant = (user_id.into(), resource_uri.into(), permission.into());
        self.shared.world().grants.remove(&grant);
    }
}

/// Keys. The account's sign user tokens; each service client has its own.
impl Sandbox {
    /// The key that signs user tokens now. A copy outlives rotation and removal.
    pub fn account_key(&self) -> SigningKey {
        self.shared.world().account_keys.signing().clone()
    }

    /// Publishes a new account key, signs with it from now on, and returns its key id. The older
    /// keys stay published until [`remove_account_key`](Self::remove_account_key).
    pub fn rotate_account_key(&self) -> String {
        self.shared.world().account_keys.rotate()
    }

    /// Publishes a further account key without signing with it: the first half of a rotation.
    pub fn add_account_key(&self, key: &SigningKey) {
        self.shared.world().account_keys.publish(key.published());
    }

    /// Withdraws an account key. If it is the one that signs, it goes on signing.
    ///
    /// # Errors
    /// [`Unknown`]: no such key is published.
    pub fn remove_account_key(&self, kid: &str) -> Result<(), Unknown> {
        match self.shared.world().account_keys.remove(kid) {
            true => Ok(()),
            false => Err(Unknown::new("account key", kid)),
        }
    }

    /// Puts any JSON before the usable keys of the account's set: an RSA key, a key for
    /// encryption, a number.
    pub fn add_unusable_key(&self, jwk: impl Into<Value>) {
        self.shared
            .world()
            .account_keys
            .publish_unusable(jwk.into());
    }

    /// The key with which a client signs now; for a client that does not exist, the one that it
    /// would get. A copy outlives rotation and removal.
    pub fn client_key(&self, client_id: &str) -> SigningKey {
        tokens::client_key(&self.shared, client_id)
    }

    /// The text of a client's access key, for clients that sign their own tokens.
    pub fn client_access_key(&self, client_id: &str) -> String {
        self.client_key(client_id)
            .access_key(client_id, account_id())
    }

    /// Publishes a new key of a client, signs its tokens with it from now on, and returns its key
    /// id. The older keys stay published.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client.
    pub fn rotate_client_key(&self, client_id: &str) -> Result<String, Unknown> {
        Ok(self.shared.world().client_keys(client_id)?.rotate())
    }

    /// Publishes a further key of a client without signing with it.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client.
    pub fn add_client_key(&self, client_id: &str, key: &SigningKey) -> Result<(), Unknown> {
        let mut world = self.shared.world();
        world.client_keys(client_id)?.publish(key.published());
        Ok(())
    }

    /// Withdraws a key of a client. If it is the one that signs, it goes on signing.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client, or it publishes no such key.
    pub fn remove_client_key(&self, client_id: &str, kid: &str) -> Result<(), Unknown> {
        match self.shared.world().client_keys(client_id)?.remove(kid) {
            true => Ok(()),
            false => Err(Unknown::new("client key", kid)),
        }
    }

    /// Withdraws all keys of a client: its key set is empty, where that of a removed client is
    /// 404. Its tokens go on being signed with the key that it had.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client.
    pub fn remove_client_keys(&self, client_id: &str) -> Result<(), Unknown> {
        self.shared.world().client_keys(client_id)?.clear();
        Ok(())
    }

    /// Puts any JSON before the usable keys of a client's set.
    ///
    /// # Errors
    /// [`Unknown`]: there is no such client.
    pub fn add_unusable_client_key(
        &self,
        client_id: &str,
        jwk: impl Into<Value>,
    ) -> Result<(), Unknown> {
        let mut world = self.shared.world();
        world.client_keys(client_id)?.publish_unusable(jwk.into());
        Ok(())
    }
}

/// Faults. One on the same target heals and replaces the one before; the narrowest target wins.
impl Sandbox {
    /// Spoils every call to `target` until it is healed.
    ///
    /// ```no_run
    /// # use vestibule_sandbox::{Endpoint, Fault, Sandbox, Target};
    /// # fn show(sandbox: &Sandbox) {
    /// sandbox.fail(Endpoint::Jwks, Fault::Status(503));
    /// sandbox.fail(Target::path("/v1/users/user_ada"), Fault::Hang);
    /// sandbox.fail(Target::All, Fault::Reset);
    /// sandbox.heal();
    /// # }
    /// ```
    pub fn fail(&self, target: impl Into<Target>, fault: Fault) {
        self.shared.faults.set(target.into(), fault, None);
    }

    /// Spoils the next `times` calls to `target`.
    pub fn fail_times(&self, target: impl Into<Target>, fault: Fault, times: u64) {
        self.shared.faults.set(target.into(), fault, Some(times));
    }

    /// Ends all faults. Calls that hang get their true answer now.
    pub fn heal(&self) {
        self.shared.faults.heal_all();
    }

    /// Ends the fault on this very target. Calls that hang on it get their true answer now.
    pub fn heal_only(&self, target: impl Into<Target>) {
        self.shared.faults.heal(&target.into());
    }
}

/// Calls. Those under `/_sandbox` do not count; spoilt ones do, when they arrive.
impl Sandbox {
    /// How often the API was asked for this, since the start or the last reset.
    pub fn calls(&self, endpoint: Endpoint) -> u64 {
        self.shared.calls.count(endpoint)
    }

    /// How often the API was called in all.
    pub fn all_calls(&self) -> u64 {
        self.shared.calls.total()
    }

    /// How often this path was called, among the last 10,000 calls. The path is written as it is
    /// sent: percent-encoded, without the query.
    pub fn calls_for(&self, path: &str) -> u64 {
        self.shared.calls.count_path(path)
    }

    /// The last 10,000 calls, oldest first.
    pub fn call_log(&self) -> Vec<Call> {
        self.shared.calls.log()
    }

    /// Forgets all calls.
    pub fn reset_calls(&self) {
        self.shared.calls.reset();
    }

    /// Waits until the API was asked at least `count` times for this; false after ten seconds.
    #[must_use = "false means that the calls never came"]
    pub async fn wait_for_calls(&self, endpoint: Endpoint, count: u64) -> bool {
        let arrived = self.shared.calls.wait_for(endpoint, count);
        tokio::time::timeout(PATIENCE, arrived).await.is_ok()
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

/// Time, in seconds since the Unix epoch.
impl Sandbox {
    /// The sandbox's time: what new tokens carry and what callers' tokens are judged by.
    pub fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    /// Stops the time at this moment, until it is set again.
    pub fn set_now(&self, seconds: i64) {
        self.shared.clock.set(Some(seconds));
    }

    /// Lets the time run again, from the system's clock or the one given to
    /// [`SandboxBuilder::clock`](crate::SandboxBuilder::clock).
    pub fn resume_clock(&self) {
        self.shared.clock.set(None);
    }
}
