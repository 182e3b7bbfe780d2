//! Answers while the service starts: stores are opened or recomputed, brokers are waited for.
//!
//! The address is taken before that, so that one that is in use is told at once; whoever asks there would wait
//! for minutes and not know why.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::http::connections::Connections;
use crate::http::ops::{ReadyBody, get_healthz};
use crate::http::problem::{Kind, Problem};

/// What is said of everything but life.
pub const STARTING: &str = "the service is starting";
/// How long those who are taken in may take to ask when the lobby closes.
const ASKING_MAX: Duration = Duration::from_millis(100);
/// And to take their answer.
const TAKING_MAX: Duration = Duration::from_millis(500);

/// Says at an address that the process lives, and nothing else yet, until it is closed.
pub struct Lobby {
    /// Dropped to close it.
    open: watch::Sender<()>,
    /// Broken off once nobody is taken in any more.
    taking_in: Receiver<()>,
}

impl Lobby {
    /// Answers whoever asks at the address of the listener, which goes on to listen when this ends.
    ///
    /// # Errors
    /// When the system gives no thread, or the address can't be listened at.
    pub fn open(listener: &std::net::TcpListener) -> io::Result<Self> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (open, closing) = watch::channel(());
        let (takes_in, taking_in) = channel::<()>();
        let answer = async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let connections = Connections::new(listener, Duration::ZERO);
            let listener =
                UntilClosing { connections, closing: closing.clone(), takes_in: Some(takes_in) };
            let asked = after(closing.clone(), ASKING_MAX);
            let serving = axum::serve(listener, router()).with_graceful_shutdown(asked);
            tokio::select! {
                _ = serving => {}
                () = after(closing, ASKING_MAX + TAKING_MAX) => {}
            }
        };
        let thread = std::thread::Builder::new().name("lobby".to_owned());
        thread.spawn(move || runtime.block_on(answer))?;
        Ok(Self { open, taking_in })
    }

    /// Takes nobody in any more; who is in still gets an answer.
    pub fn close(self) {
        drop(self.open);
        // Nothing is ever sent: an error says that it is done.
        let _ = self.taking_in.recv();
    }
}

/// Ends some time after the lobby begins to close.
async fn after(mut closing: watch::Receiver<()>, wait: Duration) {
    // An error says that nothing will be sent, which is the sign.
    let _ = closing.changed().await;
    tokio::time::sleep(wait).await;
}

/// Takes nobody in once the lobby closes: who comes then waits for the service.
struct UntilClosing {
    connections: Connections,
    closing: watch::Receiver<()>,
    /// `None` once nobody is taken in.
    takes_in: Option<Sender<()>>,
}

impl Listener for UntilClosing {
    type Io = <Connections as Listener>::Io;
    type Addr = <Connections as Listener>::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        tokio::select! {
            biased;
            _ = self.closing.changed() => {
                drop(self.takes_in.take());
                std::future::pending().await
            }
            taken = self.connections.accept() => taken,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.connections.local_addr()
    }
}

fn router() -> Router {
    // Who asks again is to reach the service, when that answers.
    let close = SetResponseHeaderLayer::overriding(CONNECTION, HeaderValue::from_static("close"));
    Router::new()
        .route("/healthz", get(get_healthz))
        .route("/readyz", get(get_readyz))
        .fallback(get_nothing)
        .layer(close)
}

async fn get_readyz() -> Response {
    let (as_of, lag_records) = (BTreeMap::new(), BTreeMap::new());
    let body = ReadyBody { ready: false, reason: Some(STARTING.to_owned()), as_of, lag_records };
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn get_nothing() -> Problem {
    Problem::new(Kind::Unavailable, STARTING).retry_after_seconds(1)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::Value;

    use super::*;

    /// Status, `Retry-After` and body of an answer.
    fn ask(address: std::net::SocketAddr, path: &str) -> (u16, Option<String>, String) {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let mut answer = ureq::Agent::new_with_config(config)
            .get(format!("http://{address}{path}"))
            .call()
            .unwrap();
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), retry_after, answer.body_mut().read_to_string().unwrap())
    }

    #[test]
    fn while_the_service_starts_it_lives_and_is_not_ready_and_then_answers_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lobby = Lobby::open(&listener).unwrap();
        // Somebody who asks nothing does not hold it up.
        let idle = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(ask(address, "/healthz"), (200, None, "ok\n".to_owned()));
        let (status, _, body) = ask(address, "/readyz");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &body["ready"], &body["reason"]),
            (503, &false.into(), &STARTING.into())
        );
        let (status, retry_after, body) = ask(address, "/v1/apps");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, retry_after.as_deref()), (503, Some("1")));
        assert_eq!(body["detail"], STARTING);
        let closed_at = Instant::now();
        lobby.close();
        // A client may take longer than that to ask.
        assert!(closed_at.elapsed() < Duration::from_secs(30));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let router = Router::new().route("/v1/apps", get(async || "itself"));
        runtime.spawn(async move {
            axum::serve(TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        assert_eq!(ask(address, "/v1/apps"), (200, None, "itself".to_owned()));
        drop(idle);
    }
}
