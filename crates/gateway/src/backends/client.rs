//! HTTP towards servers that are not trusted: answers are limited in size and checked in form.

pub(super) mod said;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{BackendError, Excerpt, Job, picture, tls};

/// Where a backend listens. Not to be printed: it holds credentials.
pub(crate) struct Client {
    base: String,
    authorization: Option<String>,
    tls: Arc<ClientConfig>,
    http: reqwest::Client,
}

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Client {
    /// Largest answer that holds no picture.
    pub(super) const SMALL: usize = 4 * 1024 * 1024;
    /// How much of an error's body is read.
    const MESSAGE: usize = 256 * 1024;
    /// Longest time for which a server may ask to be left alone.
    const LATER: Duration = Duration::from_mins(10);
    /// Time to connect; the rest is limited by the caller.
    const CONNECT: Duration = Duration::from_secs(3);

    /// For `url` such as `http://10.0.0.7:7860`, with the value of an `Authorization` header and the
    /// file of authorities that are trusted beside the system's.
    ///
    /// # Errors
    /// A message, if it is not such an address or the file cannot be used.
    pub(crate) fn new(
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

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, BackendError> {
        understand(&self.call(Method::POST, path, Some(body), Self::SMALL).await?)
    }

    /// As [`Client::get`], where the answer may hold the picture of this job.
    pub(super) async fn get_picture<T: DeserializeOwned>(
        &self,
        path: &str,
        job: &Job,
    ) -> Result<T, BackendError> {
        understand(&self.call(Method::GET, path, None, longest_answer(job)).await?)
    }

    /// As [`Client::post`], where the answer holds the picture of this job.
    pub(super) async fn post_picture<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        job: &Job,
    ) -> Result<T, BackendError> {
        understand(&self.call(Method::POST, path, Some(body), longest_answer(job)).await?)
    }

    /// The picture of this job as a file.
    pub(super) async fn download(&self, path: &str, job: &Job) -> Result<Bytes, BackendError> {
        let limit = picture::longest(job.spec.width, job.spec.height);
        self.call(Method::GET, path, None, limit).await
    }

    /// The path of an address that the server gave out, which must be its own: no other host is asked.
    pub(super) fn own_path(&self, url: &str) -> Result<String, BackendError> {
        let foreign = || {
            let url = Excerpt::of(&without_password(url));
            BackendError::Garbage(format!("its picture is elsewhere, at {url}").into())
        };
        let base = reqwest::Url::parse(&self.base).map_err(|_| foreign())?;
        let url = base.join(url).map_err(|_| foreign())?;
        if url.origin() != base.origin() || !matches!(url.scheme(), "http" | "https") {
            return Err(foreign());
        }
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        // The base may have a path of its own.
        let path = url.path().strip_prefix(base.path().trim_end_matches('/'));
        Ok(format!("{}{query}", path.unwrap_or(url.path())))
    }

    /// The body of an answer, read up to `limit` bytes.
    pub(crate) async fn call(
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
            let json = HeaderValue::from_static("application/json");
            request = request.header(header::CONTENT_TYPE, json).body(body.to_string());
        }
        let response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_timeout() {
                BackendError::Unreachable(root(error))
            } else {
                BackendError::CutOff(root(error))
            }
        })?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return read(response, limit).await;
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(later);
        let text = beginning(response, Self::MESSAGE).await;
        let message = said::sentence(&text);
        Err(BackendError::Status { status, message, retry_after })
    }
}

/// When to come back, as seconds or a date; at most [`Client::LATER`].
fn later(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let seconds = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default()
    };
    Some(seconds.min(Client::LATER))
}

/// Longest JSON that brings the picture of this job in base64, with all that servers write beside
/// it: some repeat the prompts, up to four times and escaped twice.
fn longest_answer(job: &Job) -> usize {
    let spec = &job.spec;
    let base64 = picture::longest(spec.width, spec.height).saturating_mul(4) / 3;
    let prompts = spec.prompt.len() + spec.negative_prompt.len();
    base64.saturating_add(1024 * 1024 + 32 * prompts)
}

/// Reads an address at which backends are reached.
///
/// # Errors
/// A message with what to write.
pub(crate) fn check_url(url: &str) -> Result<reqwest::Url, String> {
    let write = "write http://HOST:PORT or https://HOST:PORT";
    let shown = without_password(url);
    let parsed = reqwest::Url::parse(url).map_err(|e| format!("{shown:?}: {e}; {write}"))?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        _ => Err(format!("{shown:?}: {write}")),
    }
}

/// An address, sound or not, as it may be shown: the beginning, without user and password.
fn without_password(url: &str) -> String {
    let shown = match url.rsplit_once('@') {
        Some((login, host)) => {
            let scheme = login.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{host}")
        }
        None => url.into(),
    };
    shown.chars().take(80).collect()
}

async fn read(mut response: Response, limit: usize) -> Result<Bytes, BackendError> {
    let too_long = || BackendError::TooLong { limit };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| BackendError::CutOff(root(error)))?
    {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// About so many bytes of a body, or as many as come.
async fn beginning(mut response: Response, enough: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < enough
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}

/// The innermost error, which says most. Addresses, which may hold passwords, are left out.
fn root(error: reqwest::Error) -> Excerpt {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    // An I/O error does not count what it wraps as its source.
    while let Some(wrapped) = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        deepest = wrapped;
    }
    let refused = deepest.downcast_ref::<rustls::Error>();
    match refused.and_then(tls::explain) {
        Some(explained) => explained.into(),
        None => deepest.to_string().into(),
    }
}

/// Reads an answer as JSON of the promised form.
pub(super) fn understand<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BackendError> {
    serde_json::from_slice(bytes).map_err(|e| BackendError::Garbage(e.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_when_to_come_back() {
        let after = |text: &str| later(&HeaderValue::from_str(text).unwrap());
        for (text, seconds) in [("3", Some(3)), (" 0 ", Some(0)), ("99999999", Some(600))] {
            assert_eq!(after(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["", "-3", "soon", "3.5", "999999999999999999999999"] {
            assert_eq!(after(text), None, "{text}");
        }
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "it has passed");
        assert_eq!(after("Mon, 21 Oct 2250 07:28:00 GMT"), Some(Client::LATER));
    }

    #[test]
    fn addresses_are_refused_without_their_passwords() {
        for url in
            ["ftp://op:hunter2@x", "http://op:hunter2@", "op:hunter2@x", "http://op:hunter2@[x"]
        {
            let message = check_url(url).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
            assert!(message.contains("write http://HOST:PORT"), "{message}");
        }
    }
}
