//! Whose request it is, and how many it may make.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use scheduling::Seconds;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::config::Config;
use crate::scheduler::Owner;
use crate::timeline::Timeline;

/// Checks keys and counts requests.
pub(crate) struct Door {
    keys: Vec<Key>,
    /// Per owner, the time at which its allowance will be whole again, in seconds.
    whole_at: Mutex<HashMap<Owner, f64>>,
}

struct Key {
    owner: Owner,
    digest: [u8; 32],
    per_minute: u32,
    operator: bool,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) owner: Owner,
    per_minute: Option<u32>,
    operator: bool,
}

impl Door {
    pub(crate) fn new(config: &Config) -> Self {
        let key = |key: &crate::config::KeyConfig| Key {
            owner: key.name.get_ref().as_str().into(),
            digest: key.sha256.0,
            per_minute: key.requests_per_minute,
            operator: key.operator,
        };
        Self { keys: config.keys.iter().map(key).collect(), whole_at: Mutex::default() }
    }

    /// Lets in whoever has a key, sent as `Authorization: Bearer KEY`. Without keys it is everybody
    /// who speaks to the loopback interface by its name, which web pages elsewhere cannot.
    pub(crate) fn enter(&self, headers: &HeaderMap) -> Result<Visitor, Problem> {
        if self.keys.is_empty() {
            return match headers.get(header::HOST).map(|host| host.to_str()) {
                Some(Ok(host)) if is_loopback(host) => {
                    Ok(Visitor { owner: "local".into(), per_minute: None, operator: true })
                }
                _ => Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "foreign_host",
                    "without API keys the Host must be localhost, 127.0.0.1 or [::1]",
                )),
            };
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = sent.and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let key = bearer.map_or("", |(_, key)| key.trim());
        let digest: [u8; 32] = Sha256::digest(key).into();
        // Every key is compared, each in constant time.
        let mut found = None;
        for known in &self.keys {
            if bool::from(known.digest.ct_eq(&digest)) {
                found = Some(known);
            }
        }
        let known = found.ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "unknown_key",
                "an API key is needed: Authorization: Bearer YOUR_KEY",
            )
        })?;
        Ok(Visitor {
            owner: known.owner.clone(),
            per_minute: Some(known.per_minute),
            operator: known.operator,
        })
    }

    /// Counts a submission against the visitor's rate: a minute's worth may come at once, and
    /// comes back evenly.
    pub(crate) fn count(&self, visitor: &Visitor, timeline: &Timeline) -> Result<(), Problem> {
        let Some(per_minute) = visitor.per_minute else { return Ok(()) };
        let now = timeline.now().seconds();
        let each = 60.0 / f64::from(per_minute.max(1));
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = whole_at.entry(visitor.owner.clone()).or_insert(now);
        let next = whole.max(now) + each;
        if next > now + 60.0 {
            let detail = format!("this key may make {per_minute} requests per minute");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
            return Err(problem.after(Seconds::of(next - now - 60.0)));
        }
        *whole = next;
        Ok(())
    }
}

impl Visitor {
    /// Only for those who run the place.
    pub(crate) fn operate(&self) -> Result<(), Problem> {
        if self.operator {
            return Ok(());
        }
        let detail = "this key may not operate servers: its configuration has no `operator = true`";
        Err(Problem::new(StatusCode::FORBIDDEN, "not_an_operator", detail))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::WallClock;
    use std::time::Duration;

    fn door(per_minute: u32) -> Door {
        let digest = Sha256::digest("secret");
        let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let text = format!(
            "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\nbackend = {{ kind = \"demo\" }}\n\
             [[key]]\nname = \"ann\"\nsha256 = \"{hex}\"\nrequests_per_minute = {per_minute}\n"
        );
        Door::new(&Config::parse("x.toml", &text).unwrap())
    }

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn keys_open_and_nothing_else_does() {
        let door = door(60);
        let enter = |value: &str| door.enter(&headers(header::AUTHORIZATION, value));
        for right in ["Bearer secret", "bearer secret", "Bearer  secret "] {
            assert_eq!(&*enter(right).unwrap().owner, "ann", "{right}");
        }
        for wrong in ["Bearer Secret", "Bearer ", "secret", "Basic secret", "Bearer secretx"] {
            assert_eq!(enter(wrong).unwrap_err().status, StatusCode::UNAUTHORIZED, "{wrong}");
        }
        assert!(enter("Bearer secret").unwrap().operate().is_err());
    }

    #[test]
    fn without_keys_only_the_loopback_names_are_served() {
        let door = Door::new(&Config::demo());
        for (host, served) in [
            ("localhost", true),
            ("127.0.0.1:8420", true),
            ("[::1]:8420", true),
            ("evil.example:8420", false),
            ("localhost.evil.example", false),
        ] {
            let entered = door.enter(&headers(header::HOST, host));
            assert_eq!(entered.is_ok(), served, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_worth_may_come_at_once() {
        let door = door(3);
        let timeline = Timeline::start(WallClock(|| 0.0));
        let ann = door.enter(&headers(header::AUTHORIZATION, "Bearer secret")).unwrap();
        for _ in 0..3 {
            door.count(&ann, &timeline).unwrap();
        }
        let problem = door.count(&ann, &timeline).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.retry_after), (429, Some(20)));
        tokio::time::advance(Duration::from_secs(20)).await;
        door.count(&ann, &timeline).unwrap();
        assert!(door.count(&ann, &timeline).is_err());
    }
}
