//! A diffusion server of each kind, without a GPU: the built-in painter behind their protocols, at the ports where such
//! programs listen. To try `atelier init` and clients with: `cargo run --release -p gateway --example stand_ins`.

mod servers;

use servers::{Kind, serve};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let all = [
        (Kind::ComfyUi, 8188, 14.0),
        (Kind::Automatic1111, 7860, 9.0),
        (Kind::SdServer, 1234, 6.0),
        (Kind::OpenAi, 8000, 11.0),
    ];
    for (kind, port, steps_per_second) in all {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        println!("{kind:?} at http://127.0.0.1:{port}, {steps_per_second} steps/s");
        tokio::spawn(serve(kind, listener, steps_per_second));
    }
    tokio::signal::ctrl_c().await
}
