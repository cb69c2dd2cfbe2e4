//! Answers as they are sent: within the budget, a few bytes at a time where they may be many.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;

use super::auth::Visitor;
use super::budget::Room;
use crate::config::Config;
use crate::handle::{Handle, Unavailable};
use crate::journal::StoredPicture;

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
}

impl Reading {
    pub(super) fn new(handle: Handle, visitor: Visitor, picture: StoredPicture) -> Self {
        Self { handle, visitor, picture, from: 0 }
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
        let _turn = self.visitor.turn().await;
        let part = self.handle.picture_part(self.picture, self.from, PART).await?;
        self.from += part.len() as u64;
        if part.is_empty() {
            return Err(Unavailable::Journal("a picture is shorter than it was".into()));
        }
        Ok(Some(room.carry(form(part))))
    }

    /// All of it in some form, part by part. A picture whose time ends meanwhile is cut off.
    fn parts(
        self,
        form: impl Fn(Bytes) -> Vec<u8> + Copy + Send + 'static,
    ) -> impl Stream<Item = Part> + Send + 'static {
        stream::try_unfold(self, move |mut reading| async move {
            let part = reading.next(form).await?;
            Ok(part.map(|part| (part, reading)))
        })
    }

    /// All of it in base64.
    pub(super) fn base64(self) -> impl Stream<Item = Part> + Send + 'static {
        self.parts(|part| BASE64.encode(part).into_bytes())
    }

    /// The picture as an answer.
    pub(super) fn answer(self) -> Response {
        let length = HeaderValue::from(self.picture.length);
        let body = Body::from_stream(self.parts(Vec::from));
        ([(header::CONTENT_LENGTH, length)], body).into_response()
    }
}

/// JSON with a list of pictures in base64, each read as the client takes it: what stands before the list,
/// around every picture, and behind the list.
pub(super) fn listing(
    before: Bytes,
    around: [&'static str; 2],
    pictures: Vec<Reading>,
    behind: Bytes,
) -> Response {
    let literal = |text: Bytes| stream::iter([Ok(text)]);
    let pictures = stream::iter(pictures.into_iter().enumerate());
    let pictures = pictures.flat_map(move |(index, picture)| {
        let comma = literal(Bytes::from_static(if index == 0 { b"" } else { b"," }));
        let [open, close] = around.map(|text| literal(Bytes::from_static(text.as_bytes())));
        comma.chain(open).chain(picture.base64()).chain(close)
    });
    let body = Body::from_stream(literal(before).chain(pictures).chain(literal(behind)));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Bytes of an answer, or why it ends in the middle.
pub(super) type Part = Result<Bytes, Unavailable>;
