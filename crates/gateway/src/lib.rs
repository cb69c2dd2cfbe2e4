//! The scheduler live: wall-clock time, HTTP, real diffusion servers, a journal.
//!
//! [`run`] serves a [`Config`] on a listener until it is told to stop. Below it,
//! [`gateway::Gateway`] joins the parts: an engine task that feeds the deterministic
//! [`scheduler::Scheduler`], one worker per server that drives its [`backends::Backend`], and the
//! writer of the [`journal`].

pub mod backends;
pub mod calibrate;
pub mod config;
mod engine;
pub mod export;
pub mod gateway;
pub mod handle;
mod health;
pub mod http;
pub mod journal;
mod metrics;
#[cfg(test)]
mod parity;
pub mod scheduler;
mod speed;
pub mod status;
pub mod timeline;
mod worker;

use std::future::Future;

use tokio::net::TcpListener;

pub use config::{Config, ConfigError};
pub use gateway::{Gateway, StartError, World, rules};
pub use handle::Handle;

/// Serves until `shutdown` resolves. Then nothing more is taken in, what runs may finish for the
/// configured time, and what has not ended goes on at the next start.
///
/// # Errors
/// [`StartError`] if the gateway cannot be started; nothing was accepted then.
pub async fn run(
    config: Config,
    world: World,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let limits = config.limits.clone();
    let gateway = Gateway::start(config, world)?;
    let router = http::router(gateway.handle.clone());
    tracing::info!(address = %listener.local_addr()?, "serving");
    let connections = http::serve(listener, router, &limits, shutdown).await;
    let grace = limits.shutdown_seconds.duration();
    // Runs finish while clients wait for them; whoever waits for more is told how it stands.
    let patience = grace + limits.client_seconds.duration();
    tokio::join!(gateway.stop(grace), connections.finish(patience));
    tracing::info!("stopped");
    Ok(())
}
