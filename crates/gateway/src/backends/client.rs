//! HTTP towards servers that are not trusted: answers are limited in size and checked in form.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::{Method, Response, header};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{BackendError, tls};

/// Where a backend listens. Not to be printed: it holds credentials.
pub(super) struct Client {
    base: String,
    authorization: Option<String>,
    tls: Arc<ClientConfig>,
    http: reqwest::Client,
}

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Client {
    /// Largest answer: a picture of 8192 × 8192 pixels in base64 with room to spare.
    const LARGEST: usize = 256 * 1024 * 1024;
    /// Largest answer that holds no picture.
    pub(super) const SMALL: usize = 4 * 1024 * 1024;
    /// How much of an error message is kept.
    const MESSAGE: usize = 300;
    /// Time to connect; the rest is limited by the caller.
    const CONNECT: Duration = Duration::from_secs(3);

    /// For `url` such as `http://10.0.0.7:7860`, with the value of an `Authorization` header and the
    /// file of authorities that are trusted beside the system's.
    ///
    /// # Errors
    /// A message, if it is not such an address or the file cannot be used.
    pub(super) fn new(
        url: &str,
        authorization: Option<String>,
        ca_file: Option<&Path>,
    ) -> Result<Self, String> {
        let encrypted = check_url(url)?.scheme() == "https";
        let tls = if encrypted { tls::trusting(ca_file)? } else { tls::trusting_nobody() };
        let http = reqwest::Client::builder()
            .connect_timeout(Self::CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls.clone())
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { base: url.trim_end_matches('/').into(), authorization, tls: tls.into(), http })
    }

    /// A connection of its own, and the address that a WebSocket at `path` has on it.
    pub(super) async fn connect(&self, path: &str) -> io::Result<(Box<dyn Duplex>, String)> {
        let invalid =
            |e: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidInput, e.to_string());
        let url = check_url(&self.base).map_err(io::Error::other)?;
        let host = url.host_str().unwrap_or("").trim_matches(['[', ']']).to_string();
        let port = url.port_or_known_default().unwrap_or(80);
        let address = format!("ws{}{path}", self.base.trim_start_matches("http"));
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if url.scheme() != "https" {
            return Ok((Box::new(stream), address));
        }
        let name = ServerName::try_from(host).map_err(|e| invalid(&e))?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        Ok((Box::new(stream), address))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, BackendError> {
        understand(&self.call(Method::GET, path, None, Self::SMALL).await?)
    }

    /// As [`Client::get`], where the answer holds a picture.
    pub(super) async fn get_large<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, BackendError> {
        understand(&self.call(Method::GET, path, None, Self::LARGEST).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, BackendError> {
        understand(&self.call(Method::POST, path, Some(body), Self::LARGEST).await?)
    }

    /// The body of an answer, read up to `limit` bytes.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: usize,
    ) -> Result<Bytes, BackendError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(body) = body {
            let json = header::HeaderValue::from_static("application/json");
            request = request.header(header::CONTENT_TYPE, json).body(body.to_string());
        }
        let response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_timeout() {
                BackendError::Unreachable(root(&error))
            } else {
                BackendError::CutOff(root(&error))
            }
        })?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return read(response, limit).await;
        }
        let text = read(response, 64 * 1024).await.unwrap_or_default();
        let message = String::from_utf8_lossy(&text).chars().take(Self::MESSAGE).collect();
        Err(BackendError::Status { status, message })
    }

    /// Bytes of any kind, such as a picture.
    pub(super) async fn download(&self, path: &str) -> Result<Bytes, BackendError> {
        self.call(Method::GET, path, None, Self::LARGEST).await
    }
}

/// Reads an address at which backends are reached.
///
/// # Errors
/// A message with what to write.
pub(crate) fn check_url(url: &str) -> Result<reqwest::Url, String> {
    let write = "write http://HOST:PORT or https://HOST:PORT";
    // A user and a password are never shown.
    let shown = match url.rsplit_once('@') {
        Some((before, behind)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{behind}")
        }
        None => url.into(),
    };
    let shown: String = shown.chars().take(80).collect();
    let parsed = reqwest::Url::parse(url).map_err(|e| format!("{shown:?}: {e}; {write}"))?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        _ => Err(format!("{shown:?}: {write}")),
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Bytes, BackendError> {
    let too_long = || BackendError::TooLong { limit };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| BackendError::CutOff(root(&error)))?
    {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The innermost error, which says most.
fn root(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Reads an answer as JSON of the promised form.
pub(super) fn understand<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BackendError> {
    serde_json::from_slice(bytes).map_err(|e| BackendError::Garbage(e.to_string()))
}

/// A picture in base64, with or without a data URL around it.
pub(super) fn unpack(text: &str) -> Result<Bytes, BackendError> {
    let text = match text.split_once("base64,") {
        Some((head, rest)) if head.starts_with("data:") => rest,
        _ => text,
    };
    let decoded = BASE64.decode(text.trim());
    decoded.map(Bytes::from).map_err(|e| BackendError::Garbage(format!("base64: {e}")))
}
