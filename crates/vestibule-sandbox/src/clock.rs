//! The one place that reads the time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of a sandbox, in seconds since the Unix epoch.
///
/// It follows its source until a test sets it, and then stands still.
#[derive(Clone)]
pub(crate) struct Clock {
    source: Arc<dyn Fn() -> i64 + Send + Sync>,
    fixed: Arc<Mutex<Option<i64>>>,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::following(system_seconds)
    }

    pub(crate) fn following(source: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(source),
            fixed: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        let fixed = *self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.unwrap_or_else(|| (self.source)())
    }

    pub(crate) fn set(&self, seconds: Option<i64>) {
        *self.fixed.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish()
    }
}

fn system_seconds() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one clock of the crate, and a test can replace it"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
