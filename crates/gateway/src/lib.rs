//! The scheduler live: wall-clock time, HTTP, real diffusion servers, a journal.
//!
//! [`run`] serves a [`Config`] on a listener until it is told to stop. Below it,
//! `Gateway` joins the parts: an engine task that feeds the deterministic
//! [`dispatch::Scheduler`], one worker per server that drives its [`backends::Backend`], and the
//! writer of the [`journal`].

mod attach;
pub mod backends;
pub mod calibrate;
pub mod config;
mod core;
mod engine;
pub mod export;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod handle;
mod health;
mod http;
pub mod init;
pub mod journal;
pub mod log;
mod metrics;
pub mod node;
#[cfg(test)]
mod parity;
mod parts;
mod past;
mod policies;
mod previews;
mod reload;
mod replay;
mod speed;
mod status;
mod threads;
mod timeline;
mod worker;
#[cfg(test)]
mod world;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::gateway::Gateway;
use crate::parts::PartEnded;

pub use crate::core::JournalFactory;
pub use config::Config;
pub use engine::Starts;
pub use gateway::{BackendFactory, StartError, World, check};
pub use policies::{PolicyFactory, rules};
pub use reload::{ReadConfig, Source};
pub use replay::{Replay, ReplayError, Schedule, replay};
pub use timeline::WallClock;

/// The gateway does not serve, or not any more.
#[derive(Debug, Error)]
pub enum RunError {
    /// It could not be started. Nothing was accepted.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A part that it cannot do without has ended. What was accepted is in the journal and goes on
    /// at the next start.
    #[error(transparent)]
    Ended(#[from] PartEnded),
}

/// Serves until `shutdown` resolves. Then nothing more is taken in, what runs may finish for the
/// configured time, and what has not ended goes on at the next start.
///
/// # Errors
/// [`RunError`] if the gateway cannot be started, or cannot go on.
pub async fn run(
    config: Config,
    world: World,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let config = http::fit_descriptors(config).map_err(StartError::from)?;
    let address = listener.local_addr().map_err(StartError::from)?;
    let mut gateway = Gateway::start(config, world)?;
    let site = gateway.site.clone();
    tracing::info!(%address, "serving");
    let serve = http::serve(listener, site.clone(), shutdown);
    let serve = AssertUnwindSafe(serve).catch_unwind();
    let ended = tokio::select! {
        connections = serve => connections.map_err(|panic| PartEnded {
            part: "the HTTP server".into(),
            why: Some(threads::said(&*panic)),
        }),
        ended = gateway.ended() => Err(ended),
    };
    let connections = match ended {
        Ok(connections) => connections,
        Err(ended) => {
            gateway.abort();
            return Err(ended.into());
        }
    };
    let limits = site.borrow().config().limits.clone();
    let grace = limits.shutdown_seconds.duration();
    // Runs finish while clients wait for them; whoever waits for more is told how it stands.
    let patience = grace + limits.client_seconds.duration();
    tokio::join!(gateway.stop(grace), connections.finish(patience));
    tracing::info!("stopped");
    Ok(())
}
