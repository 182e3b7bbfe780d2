//! The connections of clients, which are given up when nothing moves on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
    type Io = Connection;
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
        (Connection { stream: Box::pin(stream), asking_max: self.asking_max }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection.
pub struct Connection {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    asking_max: Duration,
}

impl Connection {
    /// Who takes bytes of an answer may take their time before the next question.
    fn note_taken(&mut self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = taken {
            self.stream.as_mut().set_read_timeout_pinned(Some(self.asking_max));
        }
        taken
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.stream.as_mut().poll_write(context, bytes);
        self.note_taken(taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = self.stream.as_mut().poll_write_vectored(context, pieces);
        self.note_taken(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::*;

    const ANSWER_BYTES: usize = 32 << 20;

    /// A connection to a service that lets clients take so long to ask.
    async fn connect(asking_max: Duration) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || vec![b'a'; ANSWER_BYTES]));
        tokio::spawn(
            async move { axum::serve(Connections { listener, asking_max }, router).await },
        );
        TcpStream::connect(address).await.unwrap()
    }

    /// Waits for bytes; how many there are, none at the end.
    async fn read(stream: &TcpStream, into: &mut [u8]) -> usize {
        loop {
            stream.readable().await.unwrap();
            match stream.try_read(into) {
                Ok(bytes) => return bytes,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn who_connects_and_asks_nothing_is_let_go() {
        let stream = connect(Duration::from_millis(20)).await;
        assert_eq!(read(&stream, &mut [0]).await, 0, "the end");
    }

    #[tokio::test]
    async fn who_takes_an_answer_slowly_gets_it_whole() {
        let stream = connect(Duration::from_secs(1)).await;
        stream.writable().await.unwrap();
        stream.try_write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let (mut piece, mut taken, mut paused) = (vec![0; 1 << 20], 0, 0);
        while taken < ANSWER_BYTES {
            let bytes = read(&stream, &mut piece).await;
            assert!(bytes > 0, "cut after {taken} bytes");
            taken += bytes;
            // Longer than may be taken to ask, all in all.
            if taken > (paused + 1) * (ANSWER_BYTES / 16) {
                paused += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert!(paused > 10);
    }

    #[tokio::test]
    async fn an_answer_that_takes_long_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Connections::new(listener, Duration::from_secs(3600));
        assert!(connections.asking_max > Duration::from_secs(3600));
    }
}
