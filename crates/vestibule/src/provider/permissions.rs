//! What the provider says that somebody may do to a resource.
//!
//! Its ages are those of a user, but for the soft one, which is a minute at most: a permission
//! taken away at Authress ends here soon. "He may not" is believed for ten seconds, so that
//! whoever was just granted something gets in.

use std::{sync::Arc, time::Duration};

use super::{
    AuthressApi, ProviderError,
    refresh::Ages,
    slot::{Fetch, Fetched, Slot, Slots, slot_of, slots},
};
use crate::{clock::SharedClock, settings::ProviderSettings};

/// Answers kept in memory. Past it the least used are asked for again.
const PERMISSIONS: usize = 50_000;

/// How long a permission is believed before it is asked for again in the background.
const SOFT: Duration = Duration::from_secs(60);

/// How long the lack of one is believed.
const LACKING: Duration = Duration::from_secs(10);

/// Permissions by user, resource and name. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PermissionCache(Arc<Permissions>);

#[derive(Debug)]
struct Permissions {
    slots: Slots<Slot<bool>>,
    api: Arc<AuthressApi>,
    ages: Ages,
    clock: SharedClock,
}

impl PermissionCache {
    pub(crate) fn new(
        settings: &ProviderSettings,
        api: Arc<AuthressApi>,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Permissions {
            slots: slots(PERMISSIONS),
            api,
            ages: Ages {
                soft: settings.user_cache_ttl.min(SOFT),
                hard: settings.user_cache_max_age,
            },
            clock,
        }))
    }

    /// Whether the user, or the service client, has this permission to this resource.
    ///
    /// # Errors
    /// The provider could not be asked and nothing usable is remembered.
    pub(crate) async fn has(
        &self,
        user_id: &str,
        resource_uri: &str,
        permission: &str,
    ) -> Result<bool, ProviderError> {
        let permissions = &self.0;
        // With lengths, so that no two questions have one key.
        let key = format!(
            "{}:{}:{user_id}{resource_uri}{permission}",
            user_id.len(),
            resource_uri.len()
        );
        let slot = slot_of(&permissions.slots, &key);
        let question: [Arc<str>; 3] = [user_id.into(), resource_uri.into(), permission.into()];
        slot.get(&*permissions.clock, |_| {
            Some(permissions.fetch(question.clone()))
        })
        .await
        .map(|fetched| fetched.value)
    }
}

impl Permissions {
    fn fetch(self: &Arc<Self>, [user, resource, permission]: [Arc<str>; 3]) -> Fetch<bool> {
        let permissions = Arc::clone(self);
        Box::pin(async move {
            let fetched_at = permissions.clock.now();
            let value = permissions
                .api
                .has_permission(&user, &resource, &permission)
                .await?;
            let ages = match value {
                true => permissions.ages,
                false => {
                    let brief = permissions.ages.soft.min(LACKING);
                    Ages {
                        soft: brief,
                        hard: brief,
                    }
                }
            };
            Ok(Fetched {
                value,
                fetched_at,
                ages,
            })
        })
    }
}
