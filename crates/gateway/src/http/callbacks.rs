//! Ends told to addresses that requesters name, signed as the Standard Webhooks have it, and told again until somebody
//! has taken them.

mod inner;
mod schedule;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dispatch::RequestId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use scheduling::message::excerpt;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::inner::{Public, is_inner};
use self::schedule::{Attempt, Schedule};
use super::Site;
use super::account::Role;
use super::view::RequestView;
use crate::backends::tls;
use crate::config::{CallbacksConfig, Config, ConfigError};
use crate::engine::Message;
use crate::metrics;

/// Pauses between two attempts; after the last one nobody is told any more.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(6),
];
/// Longest time that a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether an end may be told to an address.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub(super) fn check_callback(url: &str, config: &CallbacksConfig) -> Result<(), String> {
    let shown = excerpt(url);
    if config.allow.is_empty() {
        return Err(format!("{shown:?}: allowed is none, as the configuration has no [callbacks]"));
    }
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
    };
    let parsed = Url::parse(url).ok().filter(plain);
    let parsed = parsed.filter(|_| url.len() <= 2048);
    let parsed = parsed.ok_or_else(|| {
        format!("{shown:?}: allowed is https://HOST/PATH of 2048 bytes at most, without a login")
    })?;
    if is_listed(&parsed, config) {
        return Ok(());
    }
    let origins: Vec<_> = config.allow.iter().map(|origin| origin.get_ref().as_str()).collect();
    if !origins.contains(&"*") {
        return Err(format!("{shown:?}: allowed is what begins with {}", origins.join(" or ")));
    }
    if parsed.scheme() != "https" {
        return Err(format!("{shown:?}: allowed is https://, so that nobody listens in"));
    }
    let inner = match parsed.host() {
        Some(url::Host::Ipv4(address)) => is_inner(address.into()),
        Some(url::Host::Ipv6(address)) => is_inner(address.into()),
        Some(url::Host::Domain(name)) => is_inner_name(name),
        None => true,
    };
    if inner {
        return Err(format!(
            "{shown:?}: it is an inner address: allowed are public ones, and those that [callbacks] allow lists"
        ));
    }
    Ok(())
}

/// Names that mean something within a network alone.
fn is_inner_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    let inner = ["localhost", "local", "internal", "home.arpa", "lan"];
    !name.contains('.')
        || inner.iter().any(|inner| name == *inner || name.ends_with(&format!(".{inner}")))
}

/// Whether the operator has named its origin.
fn is_listed(url: &Url, config: &CallbacksConfig) -> bool {
    let origin = url.origin().ascii_serialization();
    config.allow.iter().any(|allowed| allowed.get_ref().eq_ignore_ascii_case(&origin))
}

/// Tells ends as they come, with the address that each is to be told to, those first that a gateway before left untold.
/// It ends with whoever hands them in.
pub(crate) async fn call_back(
    site: watch::Receiver<Site>,
    untold: Vec<(RequestId, String)>,
    mut ended: mpsc::UnboundedReceiver<(RequestId, String)>,
) -> Result<(), String> {
    let mut schedule = Schedule::default();
    let first = |(id, url): (RequestId, String)| {
        let origin = Url::parse(&url).map(|url| url.origin().ascii_serialization());
        Attempt { at: Instant::now(), id, failed: 0, origin: origin.unwrap_or_default().into() }
    };
    for end in untold {
        schedule.add(first(end));
    }
    let mut calls = FuturesUnordered::new();
    loop {
        while let Some(attempt) = schedule.next(Instant::now()) {
            let site = site.borrow().clone();
            calls.push(async move { (call(&site, attempt.id).await, attempt) });
        }
        let due = schedule.until();
        tokio::select! {
            next = ended.recv() => match next {
                Some(end) => schedule.add(first(end)),
                // The engine has stopped: what is untold is told after the next start.
                None => return Ok(()),
            },
            Some((told, attempt)) = calls.next(), if !calls.is_empty() => {
                schedule.done(&attempt.origin);
                if let Some(again) = settle(&site, told, attempt).await {
                    schedule.add(again);
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

/// What is to be done after a call: nothing, or another one later.
async fn settle(
    site: &watch::Receiver<Site>,
    told: Result<Told, String>,
    attempt: Attempt,
) -> Option<Attempt> {
    let Attempt { id, failed, origin, .. } = attempt;
    let handle = site.borrow().handle().clone();
    let count =
        |outcome: &str| handle.metrics.add(metrics::CALLBACKS, &[("outcome", outcome)], 1.0);
    match told {
        Ok(Told::Taken) => count("delivered"),
        Ok(Told::Refused) => count("given_up"),
        Err(problem) => {
            count("failed");
            tracing::debug!(request = %id, failed, problem, "an end could not be told");
            if let Some(pause) = PAUSES.get(failed) {
                let at = Instant::now() + *pause;
                return Some(Attempt { at, id, failed: failed + 1, origin });
            }
            count("given_up");
            tracing::warn!(request = %id, "nobody took the end of a request where it was to be told");
        }
    }
    // An engine that has stopped has it told once more after the next start.
    let _ = handle.messages.send(Message::CalledBack { id }).await;
    None
}

/// Calls others, as one configuration has it.
pub(crate) struct Caller {
    /// For origins that are listed, wherever they lead.
    listed: reqwest::Client,
    /// For all others.
    public: reqwest::Client,
    secret: String,
}

impl Caller {
    /// None where nobody may be called.
    ///
    /// # Errors
    /// [`ConfigError`] if the secret is missing, or something cannot be read.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(secret) = config.callback_secret()? else { return Ok(None) };
        let refuse = |problem: String| config.refuse("ca_file", problem);
        let tls = tls::trusting(config.ca_file.as_deref()).map_err(refuse)?;
        // Redirects, which could lead anywhere, are not followed, and no proxy is asked.
        let builder = || {
            reqwest::Client::builder()
                .timeout(PATIENCE)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!("atelier/", env!("CARGO_PKG_VERSION")))
                .tls_backend_preconfigured(tls.clone())
        };
        let built =
            |builder: reqwest::ClientBuilder| builder.build().map_err(|e| refuse(e.to_string()));
        let listed = built(builder())?;
        let public = built(builder().dns_resolver(Public::resolver()))?;
        Ok(Some(Self { listed, public, secret }))
    }
}

/// What came of a call.
enum Told {
    Taken,
    /// Whoever is there wants to hear nothing of it.
    Refused,
}

async fn call(site: &Site, id: RequestId) -> Result<Told, String> {
    let (handle, config) = (site.handle(), site.config());
    let status = handle.status(id).await.map_err(|error| error.to_string())?;
    // It is forgotten, or was told before.
    let Some(status) = status else { return Ok(Told::Refused) };
    let Some(url) = status.accepted.callback.clone() else { return Ok(Told::Refused) };
    // The configuration may be another one since it was accepted.
    if let Err(problem) = check_callback(&url, &config.callbacks) {
        tracing::warn!(request = %id, problem, "the end of a request is not told");
        return Ok(Told::Refused);
    }
    let parsed = Url::parse(&url).map_err(|error| error.to_string())?;
    // It was checked just now that there may be calls.
    let caller = handle.caller.as_ref().ok_or("nobody may be called")?;
    let listed = is_listed(&parsed, &config.callbacks);
    let client = if listed { &caller.listed } else { &caller.public };
    let view = RequestView::new(&status, handle, Role::Requester);
    let timestamp = handle.unix_seconds() as u64;
    let date = handle.date(handle.timeline.now()).to_string();
    let body = json!({ "type": "request.ended", "timestamp": date, "data": view }).to_string();
    let answer = client
        .post(parsed)
        .header("content-type", "application/json")
        .header("webhook-id", id.to_string())
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature(&caller.secret, &id.to_string(), timestamp, &body))
        .body(body)
        .send();
    let answer = answer.await.map_err(|error| error.without_url().to_string())?;
    match answer.status().as_u16() {
        200..=299 => Ok(Told::Taken),
        410 => Ok(Told::Refused),
        status => Err(format!("answered {status}")),
    }
}

/// As the Standard Webhooks sign: `v1,` and the HMAC-SHA256 of id, timestamp and body, in base64.
fn signature(secret: &str, id: &str, timestamp: u64, body: &str) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(|coded| BASE64.decode(coded).ok());
    let key = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length will do");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the specification.
        let (secret, id) =
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let signed = signature(secret, id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_listed_origins_and_public_addresses_may_be_called() {
        let config = |allow: &str| {
            let text = format!(
                "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\nbackend = {{ kind = \"demo\" }}\n\
                 [callbacks]\nsecret = \"s\"\nallow = [{allow}]\n"
            );
            Config::parse("x.toml", &text).unwrap().callbacks
        };
        let listed = config("\"http://10.0.0.9:9000\", \"https://hooks.example\"");
        let all = config("\"*\", \"http://127.0.0.1:9\"");
        for (url, config, part) in [
            ("https://hooks.example/a?b=c", &listed, None),
            ("http://10.0.0.9:9000/", &listed, None),
            (
                "http://10.0.0.9/",
                &listed,
                Some("allowed is what begins with http://10.0.0.9:9000 or"),
            ),
            ("https://hooks.example.evil.com/", &listed, Some("begins with")),
            ("https://hooks.example@evil.com/", &listed, Some("without a login")),
            ("https://evil.com/", &all, None),
            ("http://127.0.0.1:9/x", &all, None),
            ("http://evil.com/", &all, Some("https://")),
            ("https://127.0.0.1/", &all, Some("inner address")),
            ("https://2130706433/", &all, Some("inner address")),
            ("https://0x7f.1/", &all, Some("inner address")),
            ("https://[::ffff:169.254.169.254]/", &all, Some("inner address")),
            ("https://metadata.google.internal/", &all, Some("inner address")),
            ("https://printer/", &all, Some("inner address")),
            ("https://localhost./", &all, Some("inner address")),
            ("ftp://evil.com/", &all, Some("allowed is https://HOST/PATH")),
            ("nonsense", &all, Some("allowed is https://HOST/PATH")),
            ("https://evil.com/", &CallbacksConfig::default(), Some("no [callbacks]")),
        ] {
            match (check_callback(url, config), part) {
                (Ok(()), None) => {}
                (Err(problem), Some(part)) => assert!(problem.contains(part), "{url}: {problem}"),
                (result, _) => panic!("{url}: {result:?}"),
            }
        }
    }
}
