//! Whose request it is.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::Server;
use super::account::{Account, Role};
use super::brake::Brake;
use super::budget::Purse;
use super::origins::Origins;
use super::peer::Peer;
use super::problem::Problem;
use crate::config::Config;

/// Checks keys.
pub(crate) struct Door {
    keys: Vec<([u8; 32], Visitor)>,
    /// Everybody, where there are no keys.
    local: Option<Visitor>,
    /// Everybody who has a link.
    guest: Visitor,
    /// Bytes that all of them may have under way.
    all: Purse,
    /// Whose pages may ask.
    pub(crate) origins: Origins,
    brake: Arc<Brake>,
}

/// Somebody who was let in.
#[derive(Clone)]
pub(crate) struct Visitor(Arc<Account>);

impl Deref for Visitor {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.0
    }
}

/// Somebody who was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// No key was sent.
    NoKey,
    /// A key was sent that is none.
    WrongKey,
    /// Without keys, the `Host` is another one than ours, or the request comes from a page of another one.
    ForeignHost,
}

impl Door {
    /// For a configuration. Whoever was known at the door before goes on with what he has under way, as far as
    /// the same is allowed to him.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Self {
        let whole = Purse::new(config.limits.bytes_under_way);
        let all = before.map(|door| &door.all).filter(|all| all.is_like(&whole)).cloned();
        let all = all.unwrap_or(whole);
        let account = |owner: &str, role: Role, per_minute: Option<u32>| {
            let new = Account::new(owner.into(), role, per_minute, config, all.clone());
            let known = before.and_then(|door| door.visitors().find(|v| v.0.is_of(&new)));
            match known {
                Some(known) if known.0.is_like(&new) => known.clone(),
                Some(known) => {
                    new.rate.follow(&known.rate);
                    Visitor(new.into())
                }
                None => Visitor(new.into()),
            }
        };
        let keys: Vec<_> = (config.keys.iter())
            .map(|key| {
                let role = if key.operator { Role::Operator } else { Role::Requester };
                let per_minute = Some(key.requests_per_minute);
                (key.sha256.0, account(key.name.get_ref(), role, per_minute))
            })
            .collect();
        let local = keys.is_empty().then(|| account("local", Role::Operator, None));
        let guest = account("", Role::Requester, None);
        let brake = before.map_or_else(Arc::default, |door| door.brake.clone());
        Self { keys, local, guest, all, origins: Origins::new(config), brake }
    }

    /// Everybody who may come in.
    fn visitors(&self) -> impl Iterator<Item = &Visitor> {
        self.holders().chain([&self.guest])
    }

    /// All who have a key, in the order of the configuration; without keys, everybody as one.
    pub(crate) fn holders(&self) -> impl Iterator<Item = &Visitor> {
        self.keys.iter().map(|(_, visitor)| visitor).chain(&self.local)
    }

    /// Whoever has a link to a picture and needs no key for it.
    pub(crate) fn guest(&self) -> Visitor {
        self.guest.clone()
    }

    /// Lets in whoever has a key, sent as `Authorization: Bearer KEY` or as the password of HTTP's basic
    /// authentication. Without keys it is everybody who speaks to the loopback interface by its name, web
    /// pages elsewhere excepted.
    pub(crate) fn enter(&self, headers: &HeaderMap) -> Result<Visitor, Stranger> {
        if let Some(local) = &self.local {
            let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
            let ours = is_loopback(text(header::HOST).unwrap_or_default());
            let from = text(header::ORIGIN).is_none_or(|origin| {
                let host = origin.split_once("://").unwrap_or_default().1;
                is_loopback(host) || self.origins.allow(origin)
            });
            return if ours && from { Ok(local.clone()) } else { Err(Stranger::ForeignHost) };
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = sent.and_then(key_in).unwrap_or_default();
        // Nothing is no key, whatever digests there are.
        if key.is_empty() {
            return Err(Stranger::NoKey);
        }
        let digest: [u8; 32] = Sha256::digest(&key).into();
        // Every key is compared, each in constant time.
        let mut found = None;
        for (known, visitor) in &self.keys {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(visitor);
            }
        }
        found.cloned().ok_or(Stranger::WrongKey)
    }

    /// What a stranger is told. Those who try keys are told slowly.
    async fn turn_away(&self, stranger: Stranger, peer: Peer) -> Problem {
        if stranger == Stranger::WrongKey
            && let Err(problem) = self.brake.hold(peer).await
        {
            return problem;
        }
        match stranger {
            Stranger::NoKey | Stranger::WrongKey => Problem::new(
                StatusCode::UNAUTHORIZED,
                "unknown_key",
                "an API key is needed: Authorization: Bearer YOUR_KEY",
            ),
            Stranger::ForeignHost => Problem::new(
                StatusCode::FORBIDDEN,
                "foreign_host",
                "without API keys the Host, and the Origin if there is one, must be localhost, 127.0.0.1 or \
                 [::1]",
            ),
        }
    }
}

/// Whoever makes the request, as [`super::around`] found out.
impl FromRequestParts<Server> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Problem> {
        let entered = parts.extensions.get::<Result<Self, Stranger>>().cloned();
        let entered = entered.unwrap_or_else(|| server.door.enter(&parts.headers));
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::UNKNOWN);
        match entered {
            Ok(visitor) => Ok(visitor),
            Err(stranger) => Err(server.door.turn_away(stranger, peer).await),
        }
    }
}

/// The key in an `Authorization` header. Who has but a name and a password to give has the key for his
/// password, under any name.
fn key_in(header: &str) -> Option<String> {
    let (scheme, sent) = header.split_once(' ')?;
    let sent = sent.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(sent.into());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(sent).ok()?).ok()?;
    Some(pair.split_once(':').map_or(&*pair, |(_, password)| password).into())
}

/// Whether a `Host` is a name of the loopback interface.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use scheduling::message::hex;

    use super::*;

    fn door(key: &str) -> Door {
        let hex = hex(&Sha256::digest("secret"));
        let text = format!(
            "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\nbackend = {{ kind = \"demo\" }}\n\
             [[key]]\nname = \"ann\"\nsha256 = \"{hex}\"\n{key}"
        );
        Door::new(&Config::parse("x.toml", &text).unwrap(), None)
    }

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn keys_open_and_nothing_else_does() {
        let door = door("");
        let enter = |value: &str| door.enter(&headers(header::AUTHORIZATION, value));
        for right in ["Bearer secret", "bearer secret", "Bearer  secret "] {
            assert_eq!(&*enter(right).ok().unwrap().owner, "ann", "{right}");
        }
        // ann:secret, :secret and secret
        for right in ["Basic YW5uOnNlY3JldA==", "basic OnNlY3JldA==", "Basic c2VjcmV0"] {
            assert_eq!(&*enter(right).ok().unwrap().owner, "ann", "{right}");
        }
        // secret:ann
        for wrong in ["Bearer Secret", "Bearer secretx", "Basic c2VjcmV0OmFubg=="] {
            assert_eq!(enter(wrong).err(), Some(Stranger::WrongKey), "{wrong}");
        }
        assert!(enter("Bearer secret").ok().unwrap().operate().is_err());
    }

    #[test]
    fn nothing_is_no_key_even_if_its_digest_is_known() {
        let mut door = door("operator = true\n");
        // As a configuration from before this was refused.
        door.keys[0].0 = Sha256::digest("").into();
        assert_eq!(door.enter(&HeaderMap::new()).err(), Some(Stranger::NoKey));
        for nothing in [
            "Bearer",
            "Bearer ",
            "Bearer   ",
            "bearer \t",
            "secret",
            "Basic sécret",
            "Basic OnNlY3J",
            "Basic YW5uOg==",
            "Basic",
            "",
        ] {
            let entered = door.enter(&headers(header::AUTHORIZATION, nothing));
            assert_eq!(entered.err(), Some(Stranger::NoKey), "{nothing:?}");
        }
    }

    #[test]
    fn without_keys_only_the_loopback_names_are_served() {
        let door = Door::new(&Config::demo(), None);
        for (host, served) in [
            ("localhost", true),
            ("LocalHost:8420", true),
            ("127.0.0.1:8420", true),
            ("[::1]:8420", true),
            ("evil.example:8420", false),
            ("localhost.evil.example", false),
        ] {
            let entered = door.enter(&headers(header::HOST, host));
            assert_eq!(entered.is_ok(), served, "{host}");
        }
        // A page elsewhere can have a browser send simple requests here.
        for (origin, served) in [
            ("http://localhost:3000", true),
            ("https://127.0.0.1", true),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let mut headers = headers(header::HOST, "localhost");
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            assert_eq!(door.enter(&headers).is_ok(), served, "{origin:?}");
        }
    }
}
