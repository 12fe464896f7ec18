//! What an import did to each account, as its activity and the log are told.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;
use vestibule::{
    store::Imported,
    tenancy::{
        TenantSpaces,
        activity::{ActivityEvent, ActivityKind, ActivityLog},
    },
};

use super::Kind;
use crate::admin::tokens::Administrator;

#[derive(Debug, Default)]
pub(super) struct Deeds(BTreeMap<Uuid, Deed>);

/// How many were created and changed.
#[derive(Debug, Default)]
struct Deed(BTreeMap<Kind, [u64; 2]>);

impl Deeds {
    pub(super) fn add(&mut self, account: Uuid, kind: Kind, outcome: &Imported) {
        let (created, changed) = match outcome {
            Imported::Created => (1, 0),
            Imported::Changed => (0, 1),
            _ => return,
        };
        let deed = self.0.entry(account).or_default();
        let [all_created, all_changed] = deed.0.entry(kind).or_default();
        *all_created += created;
        *all_changed += changed;
    }

    /// Writes it down: one entry for each account.
    pub(super) async fn note(self, spaces: &TenantSpaces) {
        /// Fewer than the activity's queue holds.
        const AT_ONCE: usize = 1_000;
        if self.0.is_empty() {
            return;
        }
        let by = Administrator::at_the_command_line();
        let log = ActivityLog::start(spaces.clone());
        for (number, (account, deed)) in self.0.into_iter().enumerate() {
            tracing::info!(
                target: "vestibule::admin",
                deed = %deed,
                by = %by.name,
                account.id = %account,
                "administrator"
            );
            let mut event = ActivityEvent::new(account, ActivityKind::AdminAction);
            event.reason = Some(format!("{deed} by {}", by.name));
            log.record(event);
            if (number + 1).is_multiple_of(AT_ONCE) {
                log.flush().await;
            }
        }
        log.flush().await;
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("import")?;
        for (kind, [created, changed]) in &self.0 {
            let name = kind.name();
            match (created, changed) {
                (created, 0) => write!(f, " {name}: {created} created")?,
                (0, changed) => write!(f, " {name}: {changed} changed")?,
                _ => write!(f, " {name}: {created} created, {changed} changed")?,
            }
        }
        Ok(())
    }
}
