//! A line that goes bad at will.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as blocking,
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::ports;

/// What is read at once: more than any message that a test counts.
const CHUNK: usize = 64 * 1024;

/// How many chunks are under way in one direction before the sender has to wait.
const CHUNKS: usize = 256;

/// How a client of PostgreSQL asks for notifications.
const LISTEN: &[u8] = b"LISTEN ";

/// A TCP line to a server, which can be cut, hung and slowed down, and which counts round trips.
///
/// It works on a thread of its own, so it goes on while the test blocks its runtime. It listens
/// on the loopback interface, keeps its address until it goes out of scope, and leads to loopback
/// addresses only.
///
/// A server that refuses shows as a connection that ends at once.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
}

/// An order, and where to say that it is done.
type Order = (Wanted, blocking::Sender<()>);

#[derive(Debug)]
enum Wanted {
    Listen,
    Cut,
    LeadTo(SocketAddr),
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    hung: bool,
    /// Connections up to this number over which somebody listens.
    listeners_hung: usize,
    delay: Duration,
}

impl State {
    fn holds(self, connection: &Connection) -> bool {
        let listens = connection.listens.load(Ordering::SeqCst);
        self.hung || listens && connection.number <= self.listeners_hung
    }
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
    round_trips: AtomicUsize,
}

impl Link {
    /// A line to a server's `host:port`.
    ///
    /// # Panics
    ///
    /// When that is not a loopback address.
    #[must_use]
    pub fn to(server: impl ToSocketAddrs) -> Self {
        let server = loopback(server);
        let address = ports::free();
        let (orders, received) = mpsc::unbounded_channel();
        let state = watch::Sender::new(State::default());
        let counts = Arc::new(Counts::default());
        let line = Line {
            address,
            server,
            state: state.subscribe(),
            counts: Arc::clone(&counts),
        };
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(line.serve(received));
        });
        let link = Self {
            address,
            orders,
            state,
            counts,
        };
        link.order(Wanted::Listen);
        link
    }

    /// Where it listens: `host:port` for [`TestDatabase::through`](crate::TestDatabase::through).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and refuses new ones.
    pub fn cut(&self) {
        self.order(Wanted::Cut);
    }

    /// Keeps connections open, accepts new ones, and passes nothing that is sent from now on.
    pub fn hang(&self) {
        self.state.send_modify(|state| state.hung = true);
    }

    /// Leads new connections to another server. Open ones stay where they are: [`Link::cut`] first,
    /// to move all.
    ///
    /// # Panics
    ///
    /// When that is not a loopback address.
    pub fn lead_to(&self, server: impl ToSocketAddrs) {
        self.order(Wanted::LeadTo(loopback(server)));
    }

    /// As [`Link::hang`], for open connections over which a client has said `LISTEN`. Others, and
    /// new ones, are passed on.
    pub fn hang_listeners(&self) {
        let until = self.connections();
        self.state.send_modify(|state| state.listeners_hung = until);
    }

    /// Ends [`Link::cut`], [`Link::hang`] and [`Link::hang_listeners`]: what was held back goes on
    /// its way. It stays as slow as it was.
    pub fn resume(&self) {
        self.state.send_modify(|state| {
            state.hung = false;
            state.listeners_hung = 0;
        });
        self.order(Wanted::Listen);
    }

    /// Everything sent from now on takes this long in each direction: a round trip takes twice
    /// as long. Bandwidth is not limited.
    pub fn slow(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// How often a client has sent something after it had an answer, or for the first time: the
    /// round trips, of a client that waits for its answers.
    ///
    /// Greetings, logins and goodbyes of a connection count too. Take the difference:
    ///
    /// ```no_run
    /// # async fn example(link: vestibule_testbed::Link) {
    /// let before = link.round_trips();
    /// // …
    /// assert_eq!(link.round_trips() - before, 1);
    /// # }
    /// ```
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.counts.round_trips.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    fn order(&self, wanted: Wanted) {
        let (done, wait) = blocking::channel();
        self.orders.send((wanted, done)).expect("the line's thread");
        wait.recv().expect("the line's thread");
    }
}

fn loopback(server: impl ToSocketAddrs) -> SocketAddr {
    let server = server
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .expect("an address");
    assert!(server.ip().is_loopback(), "{server} is not on this machine");
    server
}

struct Line {
    address: SocketAddr,
    server: SocketAddr,
    state: watch::Receiver<State>,
    counts: Arc<Counts>,
}

impl Line {
    /// Until the [`Link`] is gone.
    async fn serve(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut listener: Option<TcpListener> = None;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((wanted, done)) = order else { return };
                    match wanted {
                        Wanted::Cut => {
                            listener = None;
                            connections.shutdown().await;
                        }
                        Wanted::LeadTo(server) => self.server = server,
                        Wanted::Listen if listener.is_some() => {}
                        Wanted::Listen => {
                            listener = Some(TcpListener::bind(self.address).await.expect("its port"));
                        }
                    }
                    let _ = done.send(());
                }
                Some(client) = accept(listener.as_ref()) => {
                    let number = self.counts.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let connection = Connection {
                        number,
                        listens: AtomicBool::new(false),
                        open: Open::count(&self.counts),
                    };
                    connections.spawn(connection.pass(client, self.server, self.state.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    Some(listener?.accept().await.expect("a connection").0)
}

/// A connection that is counted while it is open.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Connection {
    number: usize,
    /// Whether the client has said `LISTEN`.
    listens: AtomicBool,
    open: Open,
}

impl Connection {
    async fn pass(
        self,
        client: TcpStream,
        server: SocketAddr,
        state: watch::Receiver<State>,
    ) -> io::Result<()> {
        let server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // Whether whatever comes from the client next begins a round trip.
        let answered = AtomicBool::new(true);
        let requests = pass(from_client, to_server, &self, state.clone(), |bytes| {
            if answered.swap(false, Ordering::SeqCst) {
                self.open.0.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if bytes.windows(LISTEN.len()).any(|word| word == LISTEN) {
                self.listens.store(true, Ordering::SeqCst);
            }
        });
        let answers = pass(from_server, to_client, &self, state, |_| {
            answered.store(true, Ordering::SeqCst);
        });
        tokio::try_join!(requests, answers)?;
        Ok(())
    }
}

/// Passes one direction on until its end, which is passed on like everything else.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connection: &Connection,
    mut state: watch::Receiver<State>,
    seen: impl Fn(&[u8]),
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let delays = state.clone();
    let read = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            // A connection that was reset ends like any other.
            let length = from.read(&mut buffer).await.unwrap_or(0);
            let chunk: Vec<u8> = buffer.iter().copied().take(length).collect();
            if length > 0 {
                seen(&chunk);
            }
            let due = Instant::now() + delays.borrow().delay;
            if queue.send((due, chunk)).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, chunk)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = state.wait_for(|state| !state.holds(connection)).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
