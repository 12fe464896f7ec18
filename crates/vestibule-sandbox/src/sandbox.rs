//! The running sandbox and its builder.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::CallLog;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::kept::Kept;
use crate::keys::Seed;
use crate::records::Client;
use crate::tls::Tls;
use crate::world::World;
use crate::{kept, listener, tokens};

/// The account of every sandbox. It has not the published form of an account id, so that no
/// secret scanner takes a sandbox's access keys for real ones.
const ACCOUNT_ID: &str = "sandbox";
/// The service client whose key [`Sandbox::access_key`] is.
const SERVER_CLIENT: &str = "sc_server01";

/// A local Authress. It runs until its last clone is dropped or [`stop`](Self::stop) is called.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) shared: Arc<Shared>,
    running: Arc<Running>,
}

/// How a sandbox is to start.
#[derive(Clone)]
#[must_use = "nothing starts until `start`"]
pub struct SandboxBuilder {
    port: u16,
    tls: bool,
    seed: Option<[u8; 32]>,
    directory: Option<PathBuf>,
    clock: Clock,
}

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port is taken, or the system gives out none.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port that was asked for; 0 stands for any.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the sandbox could not be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kept seed is no 64 hexadecimal digits.
    #[error("{} holds no seed of 64 hexadecimal digits: delete it for a new one", path.display())]
    Seed {
        /// Where it was read.
        path: PathBuf,
    },
    /// The throw-away certificate authority could not be made.
    #[error("cannot make a certificate authority: {0}")]
    Certificate(String),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// What the handle, the listener and its connections share.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) ca: Option<(String, PathBuf)>,
    pub(crate) clock: Clock,
    world: Mutex<World>,
    pub(crate) faults: Faults,
    pub(crate) calls: CallLog,
    pub(crate) connections: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) stop: CancellationToken,
}

struct Running {
    port: u16,
    // When the last clone goes, these stop the listener and remove the files.
    _stop: DropGuard,
    _kept: Kept,
}

impl Sandbox {
    /// How to start one: plain HTTP, any free port and new keys, unless told otherwise.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            port: 0,
            tls: false,
            seed: None,
            directory: None,
            clock: Clock::system(),
        }
    }

    /// The origin of the API: `http://127.0.0.1:PORT`, or `https://localhost:PORT` with TLS.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.running.port
    }

    /// The issuer of user tokens: the same as [`url`](Self::url).
    pub fn issuer(&self) -> &str {
        &self.shared.url
    }

    /// The issuer of a service client's tokens: `{url}/v1/clients/{id}`.
    pub fn client_issuer(&self, client_id: &str) -> String {
        self.shared.client_issuer(client_id)
    }

    /// The account id, third part of every access key.
    pub fn account_id(&self) -> &'static str {
        ACCOUNT_ID
    }

    /// The audience of service clients' tokens: `{account id}.accounts.authress.io`.
    pub fn machine_audience(&self) -> String {
        machine_audience()
    }

    /// The access key with which a server calls this sandbox: `AUTHRESS_ACCESS_KEY`.
    ///
    /// The service client to which it belongs exists from the start and may use the whole API.
    pub fn access_key(&self) -> String {
        self.client_access_key(SERVER_CLIENT)
    }

    /// The id of the service client to which [`access_key`](Self::access_key) belongs.
    pub fn server_client_id(&self) -> &'static str {
        SERVER_CLIENT
    }

    /// The certificate authority that signed the sandbox's certificate, as PEM. None without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.shared.ca.as_ref().map(|(pem, _)| pem.as_str())
    }

    /// A file with [`ca_pem`](Self::ca_pem), for `SSL_CERT_FILE`. None without TLS.
    ///
    /// It lasts as long as the sandbox, or stays in the directory of
    /// [`keep_in`](SandboxBuilder::keep_in).
    pub fn ca_pem_path(&self) -> Option<&Path> {
        self.shared.ca.as_ref().map(|(_, path)| path.as_path())
    }

    /// The environment variables with which a server finds this sandbox: `AUTHRESS_API_URL`,
    /// `AUTHRESS_ACCESS_KEY` and, with TLS, `SSL_CERT_FILE`.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.shared.environment()
    }

    /// Stops listening and closes every connection, whatever is under way on it. All clones of
    /// this sandbox stop; what they know (users, keys, calls) can still be asked.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl SandboxBuilder {
    /// The port on the loopback interface; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Whether to speak TLS, with a certificate of a throw-away authority. Off by default.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Derives every key from this seed, so that access keys and tokens survive a restart on the
    /// same port. Without it each start has new keys.
    ///
    /// A rotated key is not remembered: a restart begins with the first keys again.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Keeps the seed (file `seed`, made at the first start) and, with TLS, the authority's
    /// certificate (file `ca.pem`) in this directory, which is created if missing. Users, tenants
    /// and clients are not kept. A seed that was given goes before the kept one.
    pub fn keep_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Takes the time (seconds since the Unix epoch) from here instead of the system: share one
    /// manual clock between the sandbox and what is tested.
    pub fn clock(mut self, now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Clock::following(now);
        self
    }

    /// Starts to listen, on the loopback interface only. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: the port is taken, a file cannot be used, or the system refuses.
    pub async fn start(self) -> Result<Sandbox, StartError> {
        let kept = Kept::open(self.directory)?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => kept.seed()?,
        };
        let tls = match self.tls {
            true => Some(Tls::new()?),
            false => None,
        };
        let listener = TcpListener::bind(("127.0.0.1", self.port))
            .await
            .and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = listener.map_err(|source| StartError::Listen {
            port: self.port,
            source,
        })?;
        // With TLS the official clients want a name; without it the address needs no resolver.
        let url = match self.tls {
            true => format!("https://localhost:{port}"),
            false => format!("http://127.0.0.1:{port}"),
        };
        let (acceptor, ca) = match tls {
            Some(Tls { acceptor, ca_pem }) => {
                let path = kept.write(kept::CA_FILE, &ca_pem)?;
                (Some(acceptor), Some((ca_pem, path)))
            }
            None => (None, None),
        };
        let stop = CancellationToken::new();
        let mut world = World::new(Seed::new(seed));
        world.put_client(
            Client::new(SERVER_CLIENT)
                .name("The server under test")
                .api_access(true),
        );
        let shared = Arc::new(Shared {
            url,
            ca,
            clock: self.clock,
            world: Mutex::new(world),
            faults: Faults::default(),
            calls: CallLog::new(),
            connections: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            stop: stop.clone(),
        });
        tokio::spawn(listener::serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Sandbox {
            shared,
            running: Arc::new(Running {
                port,
                _stop: stop.drop_guard(),
                _kept: kept,
            }),
        })
    }
}

impl fmt::Debug for SandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxBuilder")
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic of one test thread must not spread to the others through the lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Sandbox::environment`].
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let access_key = tokens::client_key(self, SERVER_CLIENT);
        let access_key = access_key.access_key(SERVER_CLIENT, ACCOUNT_ID);
        let mut variables = vec![
            ("AUTHRESS_API_URL", self.url.clone()),
            ("AUTHRESS_ACCESS_KEY", access_key),
        ];
        if let Some((_, path)) = &self.ca {
            variables.push(("SSL_CERT_FILE", path.display().to_string()));
        }
        variables
    }

    pub(crate) fn client_issuer(&self, client_id: &str) -> String {
        format!("{}/v1/clients/{}", self.url, encode_segment(client_id))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

pub(crate) fn machine_audience() -> String {
    format!("{ACCOUNT_ID}.accounts.authress.io")
}

pub(crate) fn account_id() -> &'static str {
    ACCOUNT_ID
}

/// Percent-encodes a text as one path segment, as `encodeURIComponent` does.
pub(crate) fn encode_segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}
