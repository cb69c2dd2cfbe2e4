//! Links to pictures that need no key: nobody can guess or change one, and each holds for a while.
//!
//! Browsers fetch the `url` of a picture without a key. The link itself is the permission then: it says which
//! picture in which form until when, and is signed with a secret that never leaves the machine.

use std::path::Path;
use std::{fs, io};

use axum::extract::{self, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use dispatch::RequestId;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Server;
use super::answer::Reading;
use super::encoding::{Encoding, Format};
use super::peer::Peer;
use super::problem::Problem;
use crate::config::Config;
use crate::journal::{Kept, file};

/// What links are signed with.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// That of a journal, in a file beside it that only its owner may read. Links outlive a restart by it.
    ///
    /// # Errors
    /// If the file cannot be read or made, or is something else.
    pub(crate) fn of(journal: &Path) -> io::Result<Self> {
        let file = file::beside(journal, ".links");
        let said = |error: &io::Error| format!("{}: {error}", file.display());
        match fs::read(&file) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes).map(Self).map_err(|bytes| {
                let (file, length) = (file.display(), bytes.len());
                io::Error::other(format!("{file}: {length} bytes: allowed are the 32 of a secret"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Self::random();
                secret.write(&file).map_err(|error| io::Error::new(error.kind(), said(&error)))?;
                Ok(secret)
            }
            Err(error) => Err(io::Error::new(error.kind(), said(&error))),
        }
    }

    /// One that several machines share.
    pub(crate) fn shared(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The secret itself, for those who are to share it.
    pub(crate) fn random_bytes() -> [u8; 32] {
        Self::random().0
    }

    fn random() -> Self {
        let random = [(); 3].map(|()| uuid::Uuid::new_v4().into_bytes());
        Self(Sha256::digest(random.concat()).into())
    }

    /// Whole or not at all.
    fn write(&self, file: &Path) -> io::Result<()> {
        let new = file::beside(file, ".new");
        let mut opened = file::private().truncate(true).open(&new)?;
        io::Write::write_all(&mut opened, &self.0)?;
        opened.sync_all()?;
        fs::rename(new, file)
    }

    fn signature(&self, signed: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length will do");
        mac.update(signed.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Makes links and knows its own again.
pub(crate) struct Links {
    secret: Secret,
    seconds: f64,
    public_url: Option<String>,
    trusted: Vec<Peer>,
}

impl Links {
    pub(crate) fn new(secret: Secret, config: &Config) -> Self {
        let public_url = config.public_url.as_ref();
        Self {
            secret,
            seconds: config.faces.openai.link_seconds.seconds(),
            public_url: public_url.map(|url| url.get_ref().trim_end_matches('/').into()),
            trusted: config.trusted_proxies.iter().copied().map(Peer::from).collect(),
        }
    }

    /// Where a client reaches us, without a slash at the end: as configured, as a proxy that is trusted says,
    /// or as the client itself does.
    pub(crate) fn base(&self, peer: Peer, headers: &HeaderMap) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        // A list has one for every proxy on the way, that of the client first.
        let header = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
            (!value.is_empty()).then_some(value)
        };
        let trusted = self.trusted.contains(&peer);
        let forwarded = |name: &str| if trusted { header(name) } else { None };
        let scheme = forwarded("x-forwarded-proto").filter(|scheme| *scheme == "https");
        let host = forwarded("x-forwarded-host").or_else(|| header("host"));
        let prefix = forwarded("x-forwarded-prefix").unwrap_or_default().trim_end_matches('/');
        format!("{}://{}{prefix}", scheme.unwrap_or("http"), host.unwrap_or("localhost"))
    }

    /// A link to a picture, below a base, at a moment in Unix seconds.
    pub(crate) fn to(&self, base: &str, id: RequestId, encoding: Encoding, now: f64) -> String {
        let name = format!("{id}.{}", encoding.format.name());
        let expires = (now + self.seconds).ceil() as u64;
        let signature = self.sign(&name, encoding.quality, expires);
        let quality = encoding.quality;
        format!("{base}/pictures/{name}?quality={quality}&expires={expires}&signature={signature}")
    }

    fn sign(&self, name: &str, quality: u8, expires: u64) -> String {
        BASE64.encode(self.secret.signature(&format!("{name}?{quality}&{expires}")))
    }

    /// The picture that a link is for.
    fn open(
        &self,
        name: &str,
        opening: &Opening,
        now: f64,
    ) -> Result<(RequestId, Encoding), Problem> {
        let forged = || {
            let detail = "this link was not made here, or was changed";
            Problem::new(StatusCode::FORBIDDEN, "bad_link", detail)
        };
        let Opening { quality, expires, signature } = opening;
        let ours = self.sign(name, *quality, *expires);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(ours.as_bytes(), signature.as_bytes())) {
            return Err(forged());
        }
        if now >= *expires as f64 {
            let detail = "the time of this link is over: ask for the picture again";
            return Err(Problem::new(StatusCode::GONE, "link_expired", detail));
        }
        let (id, ending) = name.split_once('.').ok_or_else(forged)?;
        let id = RequestId(uuid::Uuid::parse_str(id).map_err(|_| forged())?);
        let format = Format::ALL.into_iter().find(|format| format.name() == ending);
        Ok((id, Encoding { format: format.ok_or_else(forged)?, quality: *quality }))
    }
}

/// What a link says behind the name of the picture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    quality: u8,
    expires: u64,
    signature: String,
}

/// `GET /pictures/{name}`: a picture, for whoever has a link to it.
pub(crate) async fn picture(
    State(server): State<Server>,
    extract::Path(name): extract::Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let handle = &server.handle;
    let opening: Opening =
        serde_urlencoded::from_str(&query.unwrap_or_default()).map_err(|_| {
            let detail = "a link to a picture has quality, expires and signature";
            Problem::new(StatusCode::FORBIDDEN, "bad_link", detail)
        })?;
    let now = handle.unix_seconds();
    let (id, encoding) = server.links.open(&name, &opening, now)?;
    let guest = server.door.guest();
    let turn = guest.first_turn().await?;
    let status = handle.status(id).await?.ok_or_else(Problem::not_found)?;
    drop(turn);
    match handle.picture(id).await? {
        Kept::Here(stored) => {
            let left = (opening.expires as f64 - now).max(0.0) as u64;
            let headers = [
                (header::CONTENT_TYPE, encoding.format.media_type().to_owned()),
                (header::CACHE_CONTROL, format!("private, immutable, max-age={left}")),
            ];
            let reading = Reading::new(handle.clone(), guest, stored);
            let spec = &status.accepted.spec;
            Ok((headers, reading.encoded_as(encoding, spec).answer()).into_response())
        }
        Kept::Gone | Kept::Never => {
            let detail = "the picture is not kept any more";
            Err(Problem::new(StatusCode::GONE, "picture_gone", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn links(more: &str) -> Links {
        let text = format!(
            "{more}\n[[server]]\nname = \"a\"\nsteps_per_second = 1.0\nbackend = {{ kind = \"demo\" }}\n"
        );
        Links::new(Secret([7; 32]), &Config::parse("x.toml", &text).unwrap())
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn nobody_makes_or_changes_a_link() {
        let links = links("");
        let id = RequestId(uuid::Uuid::from_u128(5));
        let encoding = Encoding { format: Format::Webp, quality: 80 };
        let link = links.to("http://h", id, encoding, 1000.0);
        let (path, query) = link.split_once('?').unwrap();
        let name = path.rsplit('/').next().unwrap();
        let opening = |query: &str| serde_urlencoded::from_str::<Opening>(query).unwrap();
        let open = |name: &str, query: &str, now: f64| links.open(name, &opening(query), now);
        assert_eq!(open(name, query, 1000.0).unwrap(), (id, encoding));
        assert_eq!(open(name, query, 4599.9).unwrap(), (id, encoding));
        assert_eq!(open(name, query, 4600.0).unwrap_err().reason, "link_expired");
        for (name, query) in [
            (name.replace(".webp", ".png"), query.to_owned()),
            (name.replace('5', "6"), query.to_owned()),
            (name.to_owned(), query.replace("quality=80", "quality=81")),
            (name.to_owned(), query.replace("expires=4600", "expires=9600")),
            (name.to_owned(), query.replace("signature=", "signature=A")),
            (name.to_owned(), "quality=80&expires=4600&signature=".to_owned()),
        ] {
            assert_eq!(
                open(&name, &query, 1000.0).unwrap_err().reason,
                "bad_link",
                "{name}?{query}"
            );
        }
        let other = Links { secret: Secret([8; 32]), ..self::links("") };
        assert_eq!(other.open(name, &opening(query), 1000.0).unwrap_err().reason, "bad_link");
    }

    #[test]
    fn clients_are_led_to_where_they_reach_us() {
        let (here, proxy) = (Peer::UNKNOWN, Peer::from(IpAddr::from([10, 0, 0, 2])));
        let direct = headers(&[("host", "localhost:8420"), ("x-forwarded-host", "evil.example")]);
        let behind = headers(&[
            ("host", "10.0.0.1:8420"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "draw.example, inner"),
            ("x-forwarded-prefix", "/atelier/"),
        ]);
        let plain = links("trusted_proxies = [\"10.0.0.2\"]");
        assert_eq!(plain.base(here, &direct), "http://localhost:8420");
        assert_eq!(plain.base(proxy, &behind), "https://draw.example/atelier");
        assert_eq!(plain.base(here, &behind), "http://10.0.0.1:8420");
        let public = links("public_url = \"https://draw.example/a/\"");
        assert_eq!(public.base(here, &direct), "https://draw.example/a");
    }

    #[test]
    fn a_journal_keeps_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let first = Secret::of(&journal).unwrap();
        assert_eq!(Secret::of(&journal).unwrap().0, first.0);
        assert_ne!(Secret::of(&folder.path().join("other.db")).unwrap().0, first.0);
        let file = folder.path().join("journal.db.links");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&file, "short").unwrap();
        let error = Secret::of(&journal).err().unwrap().to_string();
        assert!(error.contains("journal.db.links") && error.contains("5 bytes"), "{error}");
    }
}
