//! How far a prompt is and how it looks, as ComfyUI tells over its WebSocket. Only ever a convenience: whatever goes
//! wrong here, the prompt goes on and its progress is simply not known.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::preview::preview;
use super::{Client, Watcher};
use crate::backends::client::Duplex;

/// Which progress counts.
pub(super) struct Prompt<'a> {
    /// Name under which the prompt was handed in; ComfyUI tells its progress to nobody else.
    pub(super) client: &'a str,
    /// The prompt.
    pub(super) id: &'a str,
    /// The node that takes the steps: others, such as upscalers, count something of their own.
    pub(super) node: Option<&'a str>,
    /// Denoising steps. Where the steps reach the sampler through another node, this tells it.
    pub(super) steps: u32,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

#[derive(Deserialize)]
struct Progress {
    value: f64,
    max: f64,
    prompt_id: Option<String>,
    node: Option<String>,
}

/// Largest message; previews are pictures.
const LARGEST: usize = 16 * 1024 * 1024;
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// Pause before a lost connection is made again.
const RETRY: Duration = Duration::from_millis(500);
/// Smallest rise worth telling, which bounds how often a server can make us tell.
const RISE: f64 = 1e-3;

/// Tells the watcher how far a prompt is, and shows how it looks, until it is dropped.
pub(super) async fn follow(
    client: &Client,
    prompt: &Prompt<'_>,
    watcher: &dyn Watcher,
) -> Infallible {
    let mut told = 0.0;
    loop {
        match tokio::time::timeout(CONNECT, connect(client, prompt.client)).await {
            Ok(Ok(mut socket)) => {
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Binary(bytes) = &message
                        && watcher.wants_previews()
                        && let Some(picture) = preview(bytes, prompt.id)
                    {
                        watcher.preview(picture);
                    }
                    if let Some(share) = prompt.share(&message)
                        && share >= told + RISE
                    {
                        told = share;
                        watcher.progress(share);
                    }
                }
            }
            // There is no such path, or no WebSocket behind it: that will not change.
            Ok(Err(Error::Http(_) | Error::Protocol(_) | Error::Url(_))) => return pending().await,
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn connect(client: &Client, name: &str) -> Result<WebSocketStream<Box<dyn Duplex>>, Error> {
    let (stream, address) = client.connect(&format!("/ws?clientId={name}")).await?;
    let config =
        WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    client_async_with_config(address, stream, Some(config)).await.map(|(socket, _)| socket)
}

impl Prompt<'_> {
    /// How far this prompt is, if the message says so.
    fn share(&self, message: &Message) -> Option<f64> {
        let Message::Text(text) = message else { return None };
        let frame: Frame = serde_json::from_str(text).ok()?;
        if frame.kind != "progress" {
            return None;
        }
        let progress: Progress = serde_json::from_value(frame.data).ok()?;
        // Older servers name neither prompt nor node.
        let ours = progress.prompt_id.is_none_or(|id| id == self.id);
        let sampler = progress.node.is_none_or(|node| Some(&*node) == self.node)
            || progress.max == f64::from(self.steps);
        let sound = progress.max >= 1.0 && progress.value >= 0.0;
        (ours && sampler && sound).then(|| (progress.value / progress.max).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROMPT: Prompt<'_> = Prompt { client: "c", id: "p", node: Some("3"), steps: 20 };

    fn share(text: &str) -> Option<f64> {
        PROMPT.share(&Message::Text(text.into()))
    }

    #[test]
    fn only_the_samplers_progress_of_this_prompt_counts() {
        for (data, expected) in [
            (r#"{"value": 5, "max": 20, "prompt_id": "p", "node": "3"}"#, Some(0.25)),
            (r#"{"value": 5, "max": 20, "prompt_id": "p", "node": "8"}"#, Some(0.25)),
            (r#"{"value": 5, "max": 10, "prompt_id": "p", "node": "3"}"#, Some(0.5)),
            (r#"{"value": 5, "max": 20}"#, Some(0.25)),
            (r#"{"value": 50, "max": 20, "prompt_id": "p", "node": "3"}"#, Some(1.0)),
            (r#"{"value": 5, "max": 10, "prompt_id": "p", "node": "8"}"#, None),
            (r#"{"value": 5, "max": 20, "prompt_id": "q", "node": "3"}"#, None),
            (r#"{"value": 5, "max": 0, "prompt_id": "p", "node": "3"}"#, None),
            (r#"{"value": -5, "max": 20, "prompt_id": "p", "node": "3"}"#, None),
            (r#"{"value": "5", "max": 20, "prompt_id": "p", "node": "3"}"#, None),
            ("null", None),
        ] {
            let frame = format!(r#"{{"type": "progress", "data": {data}}}"#);
            assert_eq!(share(&frame), expected, "{data}");
        }
        assert_eq!(share(r#"{"type": "executing", "data": {"value": 5, "max": 20}}"#), None);
        assert_eq!(PROMPT.share(&Message::Binary(vec![0, 0, 0, 1, 9].into())), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic_or_leave_its_range(
            text in ".{0,80}", value in any::<f64>(), max in any::<f64>(),
        ) {
            prop_assert_eq!(share(&text), None);
            let frame = serde_json::json!({
                "type": "progress", "data": { "value": value, "max": max, "prompt_id": "p" }
            });
            prop_assert!(share(&frame.to_string()).is_none_or(|s| (0.0..=1.0).contains(&s)));
        }
    }
}
