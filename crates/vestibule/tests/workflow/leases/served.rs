//! The application of these tests, over a real server, and its clients.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, client::IntoClientRequest as _},
};
use vestibule::{Ended, Lease, Problem, Vestibule};
use vestibule_sandbox::TokenBuilder;

use super::A_WHILE;
use crate::app::{App, PATIENCE, Setup};

/// An application that serves on loopback, and a clock that runs.
pub struct Served {
    pub app: App,
    pub address: SocketAddr,
    pub http: reqwest::Client,
    pub stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub server: JoinHandle<()>,
    running: JoinHandle<()>,
}

/// A stream of events, of which the first has arrived.
pub struct Events(pub reqwest::Response);

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn router(vestibule: &Vestibule) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/told", get(told))
        .route("/socket", get(socket))
        .route("/notes", get(notes))
        .layer(vestibule.layer())
        .with_state(vestibule.clone())
}

/// One event, and then nothing happens for ever.
async fn events(lease: Lease) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let hello = stream::iter([Ok(Event::default().data("hello"))]);
    Sse::new(lease.guard(hello.chain(stream::pending())))
}

/// The same, and the reason in the end.
async fn told(mut lease: Lease) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let hello = stream::iter([Ok(Event::default().data("hello"))]);
    let end = async move { Ok(Event::default().data(lease.ended().await.as_str())) };
    Sse::new(hello.chain(stream::once(end)))
}

async fn socket(upgrade: WebSocketUpgrade, lease: Lease) -> Response {
    upgrade.on_upgrade(|socket| talk(socket, lease))
}

/// Says how many notes there are, whenever it is asked.
async fn talk(mut socket: WebSocket, mut lease: Lease) {
    loop {
        let message = tokio::select! {
            ended = lease.ended() => break close(socket, ended).await,
            message = socket.recv() => message,
        };
        let Some(Ok(Message::Text(_))) = message else {
            break;
        };
        let session = lease.session().unwrap();
        let notes = session.query("SELECT COUNT(*) FROM notes");
        let notes: i64 = notes.fetch_scalar().await.unwrap();
        session.commit().await.unwrap();
        let said = socket.send(Message::Text(notes.to_string().into())).await;
        if said.is_err() {
            break;
        }
    }
}

async fn close(mut socket: WebSocket, ended: Ended) {
    let frame = CloseFrame {
        code: 1008,
        reason: ended.as_str().into(),
    };
    // Whoever is gone needs no reason.
    let _ = socket.send(Message::Close(Some(frame))).await;
}

async fn notes(
    State(_): State<Vestibule>,
    session: vestibule::TenantSession,
) -> Result<Response, Problem> {
    let notes: i64 = session
        .query("SELECT COUNT(*) FROM notes")
        .fetch_scalar()
        .await?;
    Ok(notes.to_string().into_response())
}

impl Served {
    pub async fn start(setup: Setup) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let app = setup.start().await;
        let clock = app.clock.clone();
        let running = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let now = Instant::now();
                clock.advance(now - last);
                last = now;
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(listener, router(&app.entrance.vestibule));
        let serving = serving.with_graceful_shutdown(async move { drop(stopped.await) });
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            app,
            address,
            http,
            stop: Some(stop),
            server,
            running,
        }
    }

    pub fn open(&self) -> usize {
        self.app.entrance.vestibule.open_leases()
    }

    pub async fn get(&self, path: &str, token: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        let answer = self.http.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
    }

    pub async fn events(&self, token: TokenBuilder) -> Events {
        self.stream("/events", &token.mint()).await
    }

    pub async fn stream(&self, path: &str, token: &str) -> Events {
        let mut answer = self.get(path, token).await;
        let first = answer.chunk().await.unwrap().unwrap();
        assert_eq!(first, "data: hello\n\n");
        Events(answer)
    }

    pub async fn user(&self, id: &str) -> Events {
        self.events(self.app.sandbox.user_token(id)).await
    }

    pub async fn socket(&self, token: &str) -> Socket {
        let url = format!("ws://{}/socket", self.address);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        connect_async(request).await.unwrap().0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
        self.running.abort();
    }
}

impl Events {
    /// Waits for the end; gives what came before it.
    pub async fn end(mut self) -> String {
        let mut text = String::new();
        let read = async {
            while let Some(chunk) = self.0.chunk().await.unwrap() {
                text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        timeout(PATIENCE, read).await.expect("the stream ends");
        text
    }

    pub async fn is_open(&mut self) {
        let more = timeout(A_WHILE, self.0.chunk()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

pub async fn notes_by(socket: &mut Socket) -> String {
    socket.send_text("how many?").await;
    match socket.next().await.unwrap().unwrap() {
        tungstenite::Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

pub trait Says {
    async fn send_text(&mut self, text: &str);
    async fn closed(&mut self) -> (u16, String);
}

impl Says for Socket {
    async fn send_text(&mut self, text: &str) {
        let message = tungstenite::Message::text(text);
        futures_util::SinkExt::send(self, message).await.unwrap();
    }

    /// Code and reason of the frame that closes it.
    async fn closed(&mut self) -> (u16, String) {
        let message = timeout(PATIENCE, self.next()).await.expect("it closes");
        match message.unwrap().unwrap() {
            tungstenite::Message::Close(Some(frame)) => {
                (frame.code.into(), frame.reason.to_string())
            }
            other => panic!("{other:?}"),
        }
    }
}
