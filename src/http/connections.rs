//! The connections of clients, which are given up when nothing moves on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tracing::debug;

/// How long a client may take to ask, and a connection be kept for a next question, while no byte comes.
const ASKING_MAX: Duration = Duration::from_secs(75);
/// How long a client may take no byte of its answer.
const TAKING_MAX: Duration = Duration::from_secs(30);

/// Connections of this listener.
pub struct Connections {
    listener: TcpListener,
    asking_max: Duration,
}

impl Connections {
    /// Of whom has asked nothing is read until the answer is there, for which `answering_max` is allowed.
    pub fn new(listener: TcpListener, answering_max: Duration) -> Self {
        Self { listener, asking_max: ASKING_MAX.max(answering_max + TAKING_MAX) }
    }
}

impl Listener for Connections {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // The last piece of a compressed answer must not wait until the client has confirmed the piece
        // before, which clients put off for 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection stays slow in small pieces");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(self.asking_max));
        stream.set_write_timeout(Some(TAKING_MAX));
        (Box::pin(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connects_and_asks_nothing_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections { listener, asking_max: Duration::from_millis(20) };
        tokio::spawn(async move { axum::serve(connections, axum::Router::new()).await });
        let stream = TcpStream::connect(address).await.unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut [0]).unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn an_answer_that_takes_long_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Connections::new(listener, Duration::from_secs(3600));
        assert!(connections.asking_max > Duration::from_secs(3600));
    }
}
