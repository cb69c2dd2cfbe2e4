//! Several cells behind one gateway: each decides for itself, and every request is answered by one of them.
//!
//! An identifier says which cell a request is of. What is new goes to the home of its key; where that has no room, to
//! the cell that quotes the most for it. A request with an Idempotency-Key stays at home, where it is found again.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Body as _;
use scheduling::message::excerpt;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::Site;
use super::body::whole;
use super::face::Face;
use super::problem::Problem;

/// Header by which one cell is meant, whatever the key says.
const CELL: &str = "atelier-cell";
/// Header that says which cell has answered.
const ANSWERED_BY: &str = "atelier-cell";

/// One of the cells.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) name: Arc<str>,
    pub(crate) site: watch::Receiver<Site>,
}

/// All of them, that of the gateway's own configuration first.
pub(crate) type Cells = Arc<[Cell]>;

/// Where a request for a picture is sent.
const SUBMITTING: [&str; 4] =
    ["/v1/requests", "/v1/images/generations", "/v1/chat/completions", "/sdapi/v1/txt2img"];
/// Refusals after which another cell may have room.
const FULL: [&str; 5] = ["queue_full", "share_used_up", "places_used_up", "no_server", "busy"];

/// Routes that hand each request to its cell.
pub(crate) fn router(cells: Cells) -> Router {
    Router::new().fallback(hand_on).with_state(cells)
}

async fn hand_on(State(cells): State<Cells>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let home = match chosen(&cells, &path, request.headers()) {
        Ok(home) => home,
        Err(problem) => return Face::of(&path).refusal(problem),
    };
    let prefix = cells[0].site.borrow().config().path_prefix();
    let route = path.strip_prefix(&*prefix).unwrap_or(&path);
    let submits = request.method() == Method::POST && SUBMITTING.contains(&route);
    let keyed = request.headers().contains_key("idempotency-key");
    if !submits || keyed || cells.len() == 1 || request.headers().contains_key(CELL) {
        return ask(&cells[home], request).await;
    }
    let site = cells[home].site.borrow().clone();
    let limits = &site.config().limits;
    let longer = request.body().size_hint().lower() > u64::from(limits.body_bytes);
    if !site.knows(request.headers()) || longer {
        // Refused there, and nothing is read of it here.
        return ask(&cells[home], request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match whole(body, limits).await {
        Ok(body) => body,
        Err(problem) => return Face::of(&path).refusal(problem),
    };
    let again = |body: Bytes| Request::from_parts(parts.clone(), Body::from(body));
    let refused = ask(&cells[home], again(body.clone())).await;
    if !is_full(&refused) {
        return refused;
    }
    let others = (0..cells.len()).filter(|index| *index != home);
    for index in by_quote(&cells, others.collect(), route, &parts.headers, &body).await {
        let answer = ask(&cells[index], again(body.clone())).await;
        // What another cell does not know, a key or a model, is no answer to whoever is at home here.
        if answer.status().is_success() {
            return answer;
        }
    }
    refused
}

/// The cell that a request is for.
fn chosen(cells: &Cells, path: &str, headers: &HeaderMap) -> Result<usize, Problem> {
    if let Some(name) = headers.get(CELL) {
        let name = String::from_utf8_lossy(name.as_bytes());
        return cells.iter().position(|cell| *cell.name == *name).ok_or_else(|| {
            let names: Vec<_> = cells.iter().map(|cell| &*cell.name).collect();
            let problem = format!("{:?}: there are {}", excerpt(&name), names.join(", "));
            Problem::field("Atelier-Cell", problem)
        });
    }
    let named = path.split(['/', '.']).find_map(|part| uuid::Uuid::parse_str(part).ok());
    if let Some(named) = named {
        let marked = |cell: &Cell| mark(&cell.name) == mark_in(named);
        // What no cell has made is not found by the first one.
        return Ok(cells.iter().position(marked).unwrap_or(0));
    }
    let home = cells[0].site.borrow().home_of(headers);
    Ok(home.and_then(|home| cells.iter().position(|cell| *cell.name == *home)).unwrap_or(0))
}

/// The same, answered by a cell.
async fn ask(cell: &Cell, request: Request) -> Response {
    let router = cell.site.borrow().router.clone();
    let Ok(mut response) = router.oneshot(request).await;
    if let Ok(name) = HeaderValue::from_str(&cell.name) {
        response.headers_mut().insert(ANSWERED_BY, name);
    }
    response
}

fn is_full(response: &Response) -> bool {
    response.extensions().get::<Problem>().is_some_and(|problem| FULL.contains(&problem.reason))
}

/// These cells, the one first that quotes the highest reward. Those that quote nothing come last, as some protocols
/// cannot be quoted.
async fn by_quote(
    cells: &Cells,
    others: Vec<usize>,
    route: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Vec<usize> {
    #[derive(Deserialize)]
    struct Quoted {
        expected_reward: f64,
    }
    if route != SUBMITTING[0] || others.len() < 2 {
        return others;
    }
    let mut quoted = Vec::new();
    for index in others {
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/quotes");
        *request.headers_mut() = headers.clone();
        request.headers_mut().remove(header::CONTENT_LENGTH);
        let answer = ask(&cells[index], request).await;
        let bytes = to_bytes(answer.into_body(), 64 * 1024).await.unwrap_or_default();
        let quote = serde_json::from_slice::<Quoted>(&bytes).ok();
        quoted.push((quote.map_or(f64::NEG_INFINITY, |quote| quote.expected_reward), index));
    }
    quoted.sort_by(|a, b| b.0.total_cmp(&a.0));
    quoted.into_iter().map(|(_, index)| index).collect()
}

/// What identifiers of a cell have in common: twelve bits.
pub(crate) fn mark(cell: &str) -> u16 {
    let digest = Sha256::digest(cell);
    u16::from_be_bytes([digest[0], digest[1]]) & 0x0fff
}

/// A new identifier with the mark of a cell, in time order but for that.
pub(crate) fn identifier(cell: Option<&str>) -> Uuid {
    let new = Uuid::now_v7();
    let Some(cell) = cell else { return new };
    let mut bytes = new.into_bytes();
    let [high, low] = mark(cell).to_be_bytes();
    (bytes[6], bytes[7]) = (0x70 | high, low);
    Uuid::from_bytes(bytes)
}

/// The mark of an identifier.
fn mark_in(identifier: Uuid) -> u16 {
    let bytes = identifier.into_bytes();
    u16::from_be_bytes([bytes[6], bytes[7]]) & 0x0fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_carry_their_cell_and_stay_identifiers() {
        for cell in ["gpu", "a", "berlin-2"] {
            let id = identifier(Some(cell));
            assert_eq!((mark_in(id), id.get_version_num()), (mark(cell), 7), "{id}");
            assert_ne!(id, identifier(Some(cell)));
        }
        assert_ne!(mark("a"), mark("b"));
    }
}
