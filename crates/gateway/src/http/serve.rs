//! Connections: so many, none of them slow for long, and an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tower::ServiceExt as _;

use super::Site;
use super::places::{Kind, Place, Places};

/// Connections that were open when no more were accepted.
pub(crate) struct Connections(GracefulShutdown);

impl Connections {
    /// Lets answers that are under way finish, for so long at most.
    pub(crate) async fn finish(self, most: Duration) {
        if tokio::time::timeout(most, self.0.shutdown()).await.is_err() {
            tracing::warn!("some clients did not take their answers in time and were cut off");
        }
    }
}

/// Serves the site of the moment until `shutdown` resolves; then accepts nothing more.
pub(crate) async fn serve(
    listener: TcpListener,
    mut site: watch::Receiver<Site>,
    shutdown: impl Future<Output = ()>,
) -> Connections {
    let places = Places::new(site.borrow_and_update().most());
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: some come free soon.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        if site.has_changed().unwrap_or(false) {
            places.change(site.borrow_and_update().most());
        }
        let patience = site.borrow().config().limits.client_seconds.duration();
        // While even the reserve is busy, connections wait in the kernel's bounded queue.
        let place = tokio::select! {
            place = places.admit(address.ip().into()) => Arc::new(place),
            () = &mut shutdown => break,
        };
        let patience = match place.kind {
            Kind::Ordinary => patience,
            Kind::Reserve => patience.min(RESERVE_PATIENCE),
        };
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Impatient::new(stream, patience, place.clone()));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(BUFFER);
        let (site, held) = (site.clone(), place.clone());
        let service = service_fn(move |request| {
            let router = site.borrow().router.clone();
            answer(router, held.clone(), request)
        });
        let connection = graceful.watch(builder.serve_connection(io, service));
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                },
                () = place.given_away() => {}
            }
        });
    }
    Connections(graceful)
}

/// Bytes of a head, and of an answer that wait to be written, per connection.
const BUFFER: usize = 16 * 1024;
/// Patience with connections in the reserve.
const RESERVE_PATIENCE: Duration = Duration::from_secs(2);

/// One request and its answer.
async fn answer(
    router: Router,
    place: Arc<Place>,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    place.begin();
    request.extensions_mut().insert(place.peer);
    request.extensions_mut().insert(place.clone());
    let mut response = router.oneshot(request.map(Body::new)).await?;
    if place.kind == Kind::Reserve {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer { body, place }))
}

/// A body that tells when all of it has been made.
struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.answered();
    }
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
    place: Arc<Place>,
}

impl Impatient {
    /// Bytes per second that a client must take when it does not keep up.
    const SLOWEST: f64 = 32.0 * 1024.0;

    fn new(stream: TcpStream, patience: Duration, place: Arc<Place>) -> Self {
        Self { stream, patience, deadline: None, place }
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
        self.place.flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
