//! Sessions for jobs that have no request: by capability, with a reason, and written down first.

use uuid::Uuid;

use super::{
    SessionError, TenantSession, TenantSpaces,
    activity::{self, ActivityEvent, ActivityKind},
};
use crate::store::is_plain_text;

const MAX_REASON_CHARS: usize = 256;

/// The right to open sessions of any account without a caller.
///
/// There is one, handed out when the application starts; it can be neither made nor copied, so
/// what may reach every account is what it was given to.
#[derive(Debug)]
pub struct SystemAccess(());

impl SystemAccess {
    /// For the one place that hands it out.
    pub(crate) fn grant() -> Self {
        Self(())
    }
}

impl TenantSpaces {
    /// A session of `account` for a job. That it was opened, and why, stands in the account's
    /// activity before it sees anything.
    ///
    /// # Errors
    /// [`SessionError::Refused`] without a reason of 1 to 256 characters, or for an account that
    /// is not there; others where the database fails.
    pub(crate) async fn system_session(
        &self,
        _access: &SystemAccess,
        account: Uuid,
        reason: &str,
    ) -> Result<TenantSession, SessionError> {
        if !is_plain_text(reason, MAX_REASON_CHARS) {
            return Err(SessionError::Refused(
                "a system session needs a reason of 1 to 256 characters".to_owned(),
            ));
        }
        // A file's own word is enough; shared tables have none.
        if self.place().postgres().is_some() && self.directory().account(account).await?.is_none() {
            return Err(SessionError::Refused(format!(
                "account {account} does not exist"
            )));
        }
        let mut event = ActivityEvent::new(account, ActivityKind::SystemSession);
        event.reason = Some(reason.to_owned());
        let entry = activity::Entry::new(self, event);
        let mut lease = self.begin(account).await?;
        entry.insert(lease.calling()?).await?;
        lease.commit().await?;
        tracing::info!(account.id = %account, reason, "system session");
        self.detached_session(account)
    }
}
