//! What operations work on: the directory and the data spaces, opened with the owner's login when
//! somebody first asks.

use std::{fmt, sync::Arc};

use tokio::sync::OnceCell;
use tracing::field::display;
use uuid::Uuid;
use vestibule::{
    clock::SystemClock,
    error::Code,
    http::Problem,
    settings::{DatabaseSettings, ProviderSettings},
    store::{Directory, StoreError},
    tenancy::{
        SessionError, TenantSpaces,
        activity::{ActivityEvent, ActivityKind, ActivityLog},
    },
};

use crate::admin::tokens::Administrator;

/// What the operations need of the settings.
#[derive(Clone, Debug)]
pub(crate) struct OperationsSettings {
    pub(crate) database: DatabaseSettings,
    /// Where service clients are looked up; none: they are registered unseen.
    pub(crate) provider: Option<ProviderSettings>,
}

/// Directory and data spaces, as their owner has them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Operations(Arc<Inner>);

struct Inner {
    settings: OperationsSettings,
    opened: OnceCell<Opened>,
}

/// What was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) spaces: TenantSpaces,
    activity: ActivityLog,
}

/// Something that was done to somebody of an account.
pub(super) struct Deed<'a> {
    /// Such as `user.suspend`.
    pub(super) what: &'static str,
    pub(super) by: &'a Administrator,
    pub(super) user: Option<Uuid>,
    pub(super) client: Option<&'a str>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

impl Operations {
    pub(crate) fn new(settings: OperationsSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            opened: OnceCell::new(),
        }))
    }

    pub(super) fn provider(&self) -> Option<&ProviderSettings> {
        self.0.settings.provider.as_ref()
    }

    /// Directory and spaces; opened at the first call that succeeds.
    pub(crate) async fn open(&self) -> Result<&Opened, Problem> {
        self.opened().await.map_err(failed)
    }

    async fn opened(&self) -> Result<&Opened, StoreError> {
        let open = || async {
            let database = &self.0.settings.database;
            let clock = || Arc::new(SystemClock);
            let directory = Directory::open_as_owner(database, clock()).await?;
            let spaces = TenantSpaces::open(database, &directory, clock())?;
            let activity = ActivityLog::start(spaces.clone());
            Ok(Opened {
                directory,
                spaces,
                activity,
            })
        };
        self.0.opened.get_or_try_init(open).await
    }

    /// Writes down what is still to be, and lets everything go.
    pub(crate) async fn close(&self) {
        if let Some(opened) = self.0.opened.get() {
            opened.activity.flush().await;
            opened.spaces.close().await;
            opened.directory.close().await;
        }
    }
}

impl Opened {
    /// Waits until what was noted is written down.
    pub(super) async fn settle(&self) {
        self.activity.flush().await;
    }

    /// Writes down what an administrator did: in the log, and in the account's activity.
    pub(super) fn note(&self, account: Uuid, deed: &Deed<'_>) {
        deed.log(Some(account));
        let mut event = ActivityEvent::new(account, ActivityKind::AdminAction);
        event.user_id = deed.user;
        event.client_id = deed.client.map(str::to_owned);
        event.reason = Some(format!("{} by {}", deed.what, deed.by.name));
        self.activity.record(event);
    }
}

impl<'a> Deed<'a> {
    pub(super) fn new(what: &'static str, by: &'a Administrator) -> Self {
        Self {
            what,
            by,
            user: None,
            client: None,
        }
    }

    pub(super) fn about_user(mut self, user: Uuid) -> Self {
        self.user = Some(user);
        self
    }

    pub(super) fn about_client(mut self, client_id: &'a str) -> Self {
        self.client = Some(client_id);
        self
    }

    /// Only in the log: there is no account, or none any more, whose activity it could stand in.
    pub(super) fn log(&self, account: Option<Uuid>) {
        let (account, user) = (account.map(display), self.user.map(display));
        tracing::info!(
            target: "vestibule::admin",
            deed = self.what,
            by = %self.by.name,
            account.id = account,
            user.id = user,
            client.id = self.client,
            "administrator"
        );
    }
}

/// What an administrator is told of a database that did not do it.
pub(super) fn failed(error: StoreError) -> Problem {
    let code = match &error {
        StoreError::NotFound(_) => Code::NotFound,
        StoreError::Invalid(_) | StoreError::BadCursor => Code::InvalidRequest,
        StoreError::AlreadyExists(_) => Code::Conflict,
        StoreError::Unavailable(_) | StoreError::Refused(_) => Code::StorageUnavailable,
        _ => Code::InternalError,
    };
    Problem::new(code).with_detail(error.to_string())
}

/// As [`failed`], of a session.
pub(super) fn session_failed(error: SessionError) -> Problem {
    let detail = error.to_string();
    Problem::from(error).with_detail(detail)
}

/// What was asked for has a form that it cannot have; the text says what to write.
pub(super) fn invalid(detail: impl Into<Arc<str>>) -> Problem {
    Problem::new(Code::InvalidRequest).with_detail(detail)
}

/// The request is sound, and not to be had as things are; the text says what to do.
pub(super) fn conflict(detail: impl Into<Arc<str>>) -> Problem {
    Problem::new(Code::Conflict).with_detail(detail)
}

/// Something is not there; the text says how to find it.
pub(super) fn missing(detail: impl Into<Arc<str>>) -> Problem {
    Problem::new(Code::NotFound).with_detail(detail)
}
