//! Answers as they are sent: within the budget, a few bytes at a time where they may be many.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::auth::Visitor;
use super::budget::Room;
use super::encoding::{Encoding, Format};
use crate::config::Config;
use crate::handle::{Handle, Unavailable};
use crate::journal::{Spec, StoredPicture};
use crate::threads::aside;

/// Bytes of a request in JSON beside its prompts.
pub(crate) const BESIDE_PROMPTS: usize = 4096;
/// Bytes of a picture that are in memory for one client at a time. A multiple of three, so that its
/// base64 can be joined.
const PART: usize = 48 * 1024;

/// Bytes of a request in JSON: no prompt takes more than the body that brought it, and in escapes no
/// more than six times its own.
pub(crate) fn most_bytes_of_a_request(config: &Config) -> usize {
    let limits = &config.limits;
    let escaped = 12 * limits.prompt_bytes as usize;
    escaped.min(limits.body_bytes as usize) + BESIDE_PROMPTS
}

/// JSON in the room that was claimed for it.
pub(crate) fn json(value: &impl Serialize, room: Room) -> Response {
    let text = serde_json::to_vec(value).expect("views are plain data");
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from(room.carry(text))).into_response()
}

/// A picture that is read from the journal as the client takes it.
pub(super) struct Reading {
    handle: Handle,
    visitor: Visitor,
    picture: StoredPicture,
    from: u64,
    encoding: Encoding,
    pixels: usize,
}

impl Reading {
    pub(super) fn new(handle: Handle, visitor: Visitor, picture: StoredPicture) -> Self {
        Self { handle, visitor, picture, from: 0, encoding: Encoding::KEPT, pixels: 0 }
    }

    /// The same in another form. It is put into it as a whole, when its turn comes.
    pub(super) fn encoded_as(self, encoding: Encoding, spec: &Spec) -> Self {
        Self { encoding, pixels: spec.width as usize * spec.height as usize, ..self }
    }

    /// The next part in some form; none behind the last.
    async fn next(
        &mut self,
        form: impl Fn(Bytes) -> Vec<u8>,
    ) -> Result<Option<Bytes>, Unavailable> {
        if self.from >= self.picture.length {
            return Ok(None);
        }
        // The part, and the form of it that is not longer than twice.
        let room = self.visitor.budget.wait(3 * PART).await;
        let part = self.read().await?;
        Ok(Some(room.carry(form(part))))
    }

    /// The next bytes as they are kept.
    async fn read(&mut self) -> Result<Bytes, Unavailable> {
        let _turn = self.visitor.turn().await;
        let part = self.handle.picture_part(self.picture.clone(), self.from, PART).await?;
        self.from += part.len() as u64;
        if part.is_empty() {
            return Err(Unavailable::Journal("a picture is shorter than it was".into()));
        }
        Ok(part)
    }

    /// All of it in its form.
    async fn encoded(mut self) -> Result<Bytes, Unavailable> {
        // What is kept, its pixels, and what is made of them, which takes fewer bytes than those.
        let room = self.visitor.budget.wait(self.picture.length as usize + 6 * self.pixels).await;
        let mut png = Vec::with_capacity(self.picture.length as usize);
        while self.from < self.picture.length {
            png.extend_from_slice(&self.read().await?);
        }
        let encoding = self.encoding;
        let encoded = aside(move || encoding.of(png)).await.unwrap_or_else(Err);
        encoded.map(|bytes| room.carry(bytes)).map_err(Unavailable::Gateway)
    }

    /// All of it in some form, part by part. A picture whose time ends meanwhile is cut off.
    fn parts(
        self,
        form: impl Fn(Bytes) -> Vec<u8> + Copy + Send + 'static,
    ) -> BoxStream<'static, Part> {
        if self.encoding.format == Format::Png {
            let read = stream::try_unfold(self, move |mut reading| async move {
                let part = reading.next(form).await?;
                Ok(part.map(|part| (part, reading)))
            });
            return read.boxed();
        }
        let encoded = stream::once(self.encoded()).map_ok(move |bytes| {
            let parts = (0..bytes.len()).step_by(PART);
            let part = move |from| {
                let part = bytes.slice(from..bytes.len().min(from + PART));
                Ok(Bytes::from(form(part)))
            };
            stream::iter(parts.map(part))
        });
        encoded.try_flatten().boxed()
    }

    /// All of it in base64.
    pub(super) fn base64(self) -> BoxStream<'static, Part> {
        self.parts(|part| BASE64.encode(part).into_bytes())
    }

    /// The picture as an answer.
    pub(super) fn answer(self) -> Response {
        let length = (self.encoding.format == Format::Png).then_some(self.picture.length);
        let mut response = Body::from_stream(self.parts(Vec::from)).into_response();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// A picture in a list, in base64 between two texts.
pub(super) struct Entry {
    pub(super) before: String,
    pub(super) picture: Reading,
    pub(super) behind: String,
}

/// JSON with a list of pictures, each read as the client takes it, between two texts.
pub(super) fn listing(before: Bytes, entries: Vec<Entry>, behind: Bytes) -> Response {
    let literal = |text: Bytes| stream::iter([Ok(text)]);
    let entries = stream::iter(entries.into_iter().enumerate());
    let entries = entries.flat_map(move |(index, Entry { before, picture, behind })| {
        let comma = if index == 0 { "" } else { "," };
        let before = literal(format!("{comma}{before}").into());
        before.chain(picture.base64()).chain(literal(behind.into()))
    });
    let body = Body::from_stream(literal(before).chain(entries).chain(literal(behind)));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Bytes of an answer, or why it ends in the middle.
pub(super) type Part = Result<Bytes, Unavailable>;
