//! What a node that does not lead asks the one that does, as JSON, and what it is answered.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use dispatch::{Administration, Order, Owner, RequestId};
use scheduling::{Seconds, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backends::Preview;
use crate::engine::Scale;
use crate::journal::Accepted;

/// A question or an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    /// Accept this.
    Submit {
        accepted: Arc<Accepted>,
        /// Whether it was asked before, and nobody knows what came of that.
        again: bool,
    },
    Quote(Order),
    Status(RequestId),
    Cancel(RequestId),
    Explanation(RequestId),
    Preview(RequestId),
    Standing(Option<Owner>),
    Servers,
    InForce,
    Statistics {
        scale: Scale,
        since: u64,
    },
    Usage(Vec<Owner>),
    Ready,
    Administer {
        server: String,
        state: Administration,
    },
    Policy(String),
}

/// An answer, and how far whoever gave it was.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer<T> {
    /// Its time.
    pub(super) now: Time,
    /// The time lived there.
    pub(super) lived: Seconds,
    /// Of the latest message in its replica: what it speaks of is in the log up to there.
    pub(super) sequence: u64,
    pub(super) result: T,
}

/// The names of the policies in force.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) policy: Arc<str>,
    pub(super) shadow_policy: Option<Arc<str>>,
}

/// A preview in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shown(String);

impl Shown {
    pub(super) fn of(preview: &Preview) -> Self {
        Self(BASE64.encode(preview.bytes()))
    }

    pub(super) fn preview(self) -> Option<Preview> {
        Preview::of(BASE64.decode(self.0).ok()?.into())
    }
}

pub(super) fn written(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("plain data").into()
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
