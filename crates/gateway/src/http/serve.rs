//! Connections: so many, none of them slow for long, and an orderly end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

use crate::config::LimitsConfig;

/// Connections that were open when no more were accepted.
pub struct Connections(GracefulShutdown);

impl Connections {
    /// Lets answers that are under way finish, for so long at most.
    pub async fn finish(self, most: Duration) {
        if tokio::time::timeout(most, self.0.shutdown()).await.is_err() {
            tracing::warn!("some clients did not take their answers in time and were cut off");
        }
    }
}

/// Serves until `shutdown` resolves; then accepts nothing more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &LimitsConfig,
    shutdown: impl Future<Output = ()>,
) -> Connections {
    let patience = limits.client_seconds.duration();
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(64 * 1024);
    tokio::pin!(shutdown);
    loop {
        // Beyond the limit, connections wait in the kernel's bounded queue.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("it is never closed"),
            () = &mut shutdown => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: some come free soon.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Impatient::new(stream, patience));
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(io, service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
            drop(place);
        });
    }
    Connections(graceful)
}

/// A connection whose other end must go on reading. Slow headers and bodies are cut off elsewhere.
///
/// While a client does not keep up it has so much patience left, and what it takes buys some back.
/// So one that stops reading is cut off, and one that takes a byte now and then is as well: neither
/// holds a picture in memory for long.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    /// Until when the client may take; none while nothing waits for it.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    /// Bytes per second that a client must take when it does not keep up.
    const SLOWEST: f64 = 32.0 * 1024.0;

    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, deadline: None }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let most = Instant::now() + self.patience;
        match &progress {
            Poll::Ready(Ok(taken)) => {
                if let Some(sleep) = &mut self.deadline {
                    let bought = Duration::from_secs_f64(*taken as f64 / Self::SLOWEST);
                    let deadline = (sleep.deadline() + bought).min(most);
                    sleep.as_mut().reset(deadline);
                }
                progress
            }
            Poll::Ready(Err(_)) => progress,
            Poll::Pending => {
                let sleep = || Box::pin(tokio::time::sleep_until(most));
                ready!(self.deadline.get_or_insert_with(sleep).as_mut().poll(cx));
                let slow = "the client reads too slowly";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)))
            }
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.watch(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.watch(cx, progress)
    }

    // Otherwise every picture would be copied once more, and that copy kept until it is taken.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // Called when everything has been handed over.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
