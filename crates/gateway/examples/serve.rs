//! Serves the demo, or the configuration file given: `cargo run --example serve -- [FILE]`.

use std::sync::Arc;

use gateway::{Config, World, rules, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = match std::env::args_os().nth(1) {
        Some(file) => Config::read(file.as_ref())?,
        None => Config::demo(),
    };
    let listener = tokio::net::TcpListener::bind(config.listen.get_ref()).await?;
    eprintln!("http://{}", listener.local_addr()?);
    let shutdown = async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .expect("signals can be listened to");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    run(config, World::real(Arc::new(rules)), listener, shutdown).await?;
    Ok(())
}
