//! A whole world for one test: Authress, two customers, the application, and a second process
//! that changes the directory as the command line does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use vestibule::{
    Clock as _, Reason, Settings, Timestamp, Vestibule,
    clock::ManualClock,
    settings::SettingsReader,
    store::{Account, Directory, Page, User},
    tenancy::TenantSpaces,
};
use vestibule_sandbox::{Endpoint, Sandbox, SigningKey, TokenBuilder};
use vestibule_testbed::Place;

use crate::{
    answer::Answer,
    entrance::{Actor, Entrance},
};

/// 2026-11-23T10:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_795_428_000);

/// How long a test waits for what happens in the background. A change of the directory is
/// promised within a second; a busy machine may take longer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The scope registered for Acme's robot.
pub const ROBOT_SCOPE: &str = "notes:read";

/// Everything that a test needs.
pub struct App {
    pub sandbox: Sandbox,
    pub clock: ManualClock,
    /// The process under test.
    pub entrance: Entrance,
    /// The directory as another process has it open.
    pub directory: Directory,
    pub spaces: TenantSpaces,
    /// Tenant `tenant_acme`: people `user_ada` and `user_alan`, robot `sc_robot01`.
    pub acme: Account,
    /// Tenant `tenant_globex`: `user_grace`, robot `sc_robot02`.
    pub globex: Account,
    pub settings: Settings,
    tokens: AtomicU64,
    _place: Place,
}

type Before = Box<dyn FnOnce(&Sandbox)>;

/// An [`App`] to be.
#[derive(Default)]
pub struct Setup {
    settings: Vec<(&'static str, String)>,
    before: Option<Before>,
}

/// An application as the defaults have it.
pub async fn app() -> App {
    Setup::default().start().await
}

/// One with this setting; `{url}` in it stands for Authress' address.
pub fn with(name: &'static str, value: impl Into<String>) -> Setup {
    Setup::default().with(name, value)
}

/// One that starts when `before` has had its way with Authress.
pub fn after(before: impl FnOnce(&Sandbox) + 'static) -> Setup {
    Setup {
        before: Some(Box::new(before)),
        ..Setup::default()
    }
}

impl Setup {
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub async fn start(self) -> App {
        let clock = ManualClock::new(START);
        let time = clock.clone();
        let sandbox = Sandbox::builder()
            .clock(move || time.now().as_secs())
            .start()
            .await
            .unwrap();
        sandbox.add_demo_world();
        if let Some(before) = self.before {
            before(&sandbox);
        }
        let place = Place::from_environment().await;
        let mut pairs: Vec<(&str, String)> = sandbox.environment();
        pairs.extend(place.settings());
        for (name, value) in self.settings {
            pairs.push((name, value.replace("{url}", sandbox.url())));
        }
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();

        let shared = Arc::new(clock.clone());
        let directory = Directory::migrate(&settings.database, shared.clone())
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings.database, &directory, shared).unwrap();
        spaces.prepare().await.unwrap();
        let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        let globex = spaces
            .create_account("Globex", "tenant_globex")
            .await
            .unwrap();
        let scopes = [ROBOT_SCOPE.to_owned()];
        directory
            .add_client(acme.id, "sc_robot01", "Acme's robot", &scopes)
            .await
            .unwrap();
        directory
            .add_client(globex.id, "sc_robot02", "Globex's robot", &[])
            .await
            .unwrap();

        let entrance = open(&settings, &clock).await;
        entrance
            .vestibule
            .migrate_tenants(sqlx::migrate!("tests/workflow/migrations"))
            .await
            .unwrap();
        App {
            sandbox,
            clock,
            entrance,
            directory,
            spaces,
            acme,
            globex,
            settings,
            tokens: AtomicU64::new(0),
            _place: place,
        }
    }
}

async fn open(settings: &Settings, clock: &ManualClock) -> Entrance {
    let vestibule = Vestibule::builder(settings.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .await
        .unwrap();
    Entrance::new(vestibule)
}

impl App {
    pub fn anonymous(&self) -> Actor {
        self.entrance.anonymous()
    }

    pub fn bearer(&self, token: impl AsRef<str>) -> Actor {
        self.entrance.bearer(token)
    }

    /// A person with a token of his own that is right in everything.
    pub fn user(&self, id: &str) -> Actor {
        self.with(self.sandbox.user_token(id))
    }

    /// A service client with a token of its own that is right in everything.
    pub fn client(&self, id: &str) -> Actor {
        self.with(self.sandbox.client_token(id))
    }

    /// Whoever comes with this token. No two are the same, though time stands still.
    pub fn with(&self, token: TokenBuilder) -> Actor {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        self.bearer(token.claim("number", number).mint())
    }

    /// One more process upon the same database.
    pub async fn replica(&self) -> Entrance {
        open(&self.settings, &self.clock).await
    }

    /// The same, that verifies every token anew.
    pub async fn replica_without_memory(&self) -> Entrance {
        let mut settings = self.settings.clone();
        settings.provider.token_cache_size = 0;
        open(&settings, &self.clock).await
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The row of a user, as another process reads it.
    pub async fn row(&self, subject: &str) -> Option<User> {
        let found = self.directory.find_user("authress", subject).await.unwrap();
        found.map(|(user, _)| user)
    }

    /// How many users an account has.
    pub async fn users(&self, account: &Account) -> usize {
        let page = Page {
            limit: 200,
            cursor: None,
        };
        self.directory
            .users(account.id, &page)
            .await
            .unwrap()
            .items
            .len()
    }

    /// Calls of requests: those for people, tenants and clients' keys.
    pub fn calls(&self, endpoints: &[Endpoint]) -> u64 {
        endpoints.iter().map(|one| self.sandbox.calls(*one)).sum()
    }

    /// Withdraws the key that signs people's tokens, makes the application see it, and goes on
    /// with another: the tokens so far would not be accepted if anybody verified them again.
    pub async fn withdraw_account_key(&self) {
        let old = self.sandbox.account_key();
        self.sandbox.rotate_account_key();
        self.sandbox.remove_account_key(old.kid()).unwrap();
        // The new key's first token makes the library fetch the set.
        self.user("user_grace").me().await.ok();
        let late = self.sandbox.user_token("user_grace").key(&old);
        self.with(late).me().await.refused(Reason::UnknownKey);
    }

    /// A key that Authress has never seen, under the `kid` of the account's own.
    pub fn forged_key(&self) -> SigningKey {
        SigningKey::stranger(self.sandbox.account_key().kid())
    }
}

/// Asks again until the answer is as wanted, and gives it; the last one where it never is.
pub async fn eventually(
    mut ask: impl AsyncFnMut() -> Answer,
    wanted: impl Fn(&Answer) -> bool,
) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks again until there is something, for a while.
pub async fn found<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Who the body speaks of.
pub fn subject(me: &Value) -> &str {
    me["user"]["authress_user_id"].as_str().unwrap()
}
