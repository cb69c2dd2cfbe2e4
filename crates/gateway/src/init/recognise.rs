//! What answers at an address.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use serde_json::Value;

use crate::backends::comfyui::nodes::Nodes;
use crate::backends::{BackendError, Client, check_url};

/// A server that was recognised.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Its address, without a login.
    pub url: String,
    /// Which program.
    pub kind: Kind,
    /// What it can draw with, by its own names; nothing where it does not say.
    pub models: Vec<String>,
    /// What was written before the host: `USER:PASSWORD` or a key.
    pub(super) secret: Option<String>,
    /// What ComfyUI says of its nodes.
    pub(super) nodes: Nodes,
}

/// The programs that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ComfyUI
    ComfyUi,
    /// AUTOMATIC1111's web UI
    Automatic1111,
    /// stable-diffusion.cpp's sd-server
    SdServer,
    /// Something that speaks OpenAI's protocol
    OpenAi,
}

impl Kind {
    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::ComfyUi => "ComfyUI",
            Self::Automatic1111 => "AUTOMATIC1111",
            Self::SdServer => "sd-server",
            Self::OpenAi => "a server with OpenAI's protocol",
        }
    }

    /// What the configuration calls it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::ComfyUi => "comfyui",
            Self::Automatic1111 => "automatic1111",
            Self::SdServer => "sdcpp",
            Self::OpenAi => "openai",
        }
    }
}

/// Longest time that a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where ComfyUI gathers what all its nodes say.
const NODES: Duration = Duration::from_mins(1);
/// Longest answer: ComfyUI says much of its nodes.
const LONGEST: usize = 64 * 1024 * 1024;

/// Asks an address what answers there.
///
/// # Errors
/// A sentence with the address, what is wrong, and what to do.
pub async fn recognise(address: &str) -> Result<Recognised, String> {
    let url = if address.contains("://") { address.into() } else { format!("http://{address}") };
    let mut parsed = check_url(&url)?;
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(parsed.username()), parsed.password().map(decoded));
    // Both can be set where there is a host.
    let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
    let url = parsed.as_str().trim_end_matches('/').to_string();
    let secret = password.map(|password| match &*user {
        "" => password,
        user => format!("{user}:{password}"),
    });
    let authorization = secret.as_ref().map(|secret| match &*user {
        "" => format!("Bearer {secret}"),
        _ => format!("Basic {}", BASE64.encode(secret)),
    });
    let client = Client::new(&url, authorization, None)?;
    let found = |kind, models, nodes| Recognised { url: url.clone(), kind, models, secret, nodes };
    let mut told = Vec::new();
    let stats = ask(&client, "/system_stats", &mut told).await;
    if matches!(
        told.first(),
        Some(Told::Error(BackendError::Unreachable(_) | BackendError::TimedOut(_)))
    ) {
        return Err(format!("{url}: {}", why_not(&told)));
    }
    if stats["system"].is_object() && stats["devices"].is_array() {
        let nodes = nodes(&client).await.map_err(|problem| format!("{url}: {problem}"))?;
        return Ok(found(Kind::ComfyUi, nodes.checkpoints(), nodes));
    }
    if ask(&client, "/openapi.json", &mut told).await["info"]["title"] == "atelier" {
        return Err(format!(
            "{url}: it is a gateway of this kind itself: give the addresses of the servers behind it"
        ));
    }
    let named = |value: &Value| value.as_str().map(String::from);
    let capabilities = ask(&client, "/sdcpp/v1/capabilities", &mut told).await;
    if capabilities.is_object() {
        let models = named(&capabilities["model"]["name"]).into_iter().collect();
        return Ok(found(Kind::SdServer, models, Nodes::default()));
    }
    if let Value::Array(models) = ask(&client, "/sdapi/v1/sd-models", &mut told).await {
        let mut models: Vec<_> =
            models.iter().filter_map(|model| named(&model["model_name"])).collect();
        // What is loaded comes first.
        let options = ask(&client, "/sdapi/v1/options", &mut told).await;
        let loaded = options["sd_model_checkpoint"].as_str().unwrap_or_default();
        models.sort_by_key(|model| !loaded.starts_with(model.as_str()));
        return Ok(found(Kind::Automatic1111, models, Nodes::default()));
    }
    if let Value::Array(models) = &ask(&client, "/v1/models", &mut told).await["data"] {
        let models = models.iter().filter_map(|model| named(&model["id"])).collect();
        return Ok(found(Kind::OpenAi, models, Nodes::default()));
    }
    Err(format!("{url}: {}", why_not(&told)))
}

/// The answer to a question, if it is JSON; otherwise it is told what came.
async fn ask(client: &Client, path: &str, told: &mut Vec<Told>) -> Value {
    let call = tokio::time::timeout(PATIENCE, client.call(Method::GET, path, None, LONGEST)).await;
    let other = match call.unwrap_or(Err(BackendError::TimedOut(PATIENCE))) {
        Ok(body) => match serde_json::from_slice(&body) {
            Ok(answer) => return answer,
            Err(_) => Told::Text(body.trim_ascii_start().starts_with(b"<")),
        },
        Err(error) => Told::Error(error),
    };
    told.push(other);
    Value::Null
}

/// What ComfyUI says of its nodes.
async fn nodes(client: &Client) -> Result<Nodes, String> {
    let call = client.call(Method::GET, "/object_info", None, LONGEST);
    let answer = tokio::time::timeout(NODES, call).await;
    let body = answer.unwrap_or(Err(BackendError::TimedOut(NODES))).map_err(|e| e.to_string())?;
    serde_json::from_slice(&body)
        .map_err(|e| format!("what it says of its nodes is not understood: {e}"))
}

/// What did not come as JSON.
enum Told {
    Error(BackendError),
    /// Text, and whether it is a web page.
    Text(bool),
}

fn why_not(told: &[Told]) -> String {
    let any = |what: fn(&Told) -> bool| told.iter().any(what);
    match told.first() {
        Some(Told::Error(error @ (BackendError::Unreachable(_) | BackendError::TimedOut(_)))) => {
            return format!("{error}: start the program there, or check host and port");
        }
        Some(Told::Error(error @ BackendError::CutOff(_))) => {
            return format!(
                "it does not speak HTTP, or breaks off ({error}): check the port, and http or https"
            );
        }
        _ => {}
    }
    let denied =
        |told: &Told| matches!(told, Told::Error(BackendError::Status { status: 401 | 403, .. }));
    if any(denied) {
        return "it wants a login: write it before the host, as in http://USER:PASSWORD@HOST:PORT, or a key as in \
                http://:KEY@HOST:PORT"
            .into();
    }
    let page = |told: &Told| {
        matches!(
            told,
            Told::Text(true) | Told::Error(BackendError::Status { status: 300..=399, .. })
        )
    };
    if any(page) {
        return "a web page answers: start AUTOMATIC1111 with --api; if it is a page to log in, give the address \
                behind it"
            .into();
    }
    "what answers is none of ComfyUI, AUTOMATIC1111, sd-server and OpenAI's protocol: give the address of one".into()
}
