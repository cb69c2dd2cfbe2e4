//! Bodies of requests to fuzz what reads them with.

use axum::http::HeaderMap;

use super::body::{NewRequest, compose, parse};
use super::openai::{Generation, to_native};
use super::servers::{Change, NewPolicy};
use crate::Config;
use crate::timeline::{Timeline, WallClock};

/// Reads a body as every route does that takes one.
///
/// # Panics
/// If a request is taken in that lies outside of the limits.
pub fn body(bytes: &[u8]) {
    let config = Config::demo();
    let timeline = Timeline::start(WallClock(|| 1_000_000.0));
    let native = parse::<NewRequest>(bytes);
    let generation = parse::<Generation>(bytes);
    let generation = generation.and_then(|new| to_native(&new, &HeaderMap::new(), &config));
    for new in [native, generation].into_iter().flatten() {
        if let Ok(accepted) = compose(new, "ann".into(), &config, &timeline, None) {
            assert!(accepted.order.request.due >= accepted.order.request.arrival);
            assert!(accepted.spec.prompt.len() <= config.limits.prompt_bytes as usize);
        }
    }
    let _ = parse::<Change>(bytes);
    let _ = parse::<NewPolicy>(bytes);
}
