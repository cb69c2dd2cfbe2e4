//! Pictures that a client waits for in one answer: from orders to requests, all of them or none.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use dispatch::{Outcome, RequestId};
use scheduling::Seconds;

use super::account;
use super::answer::Reading;
use super::auth::Visitor;
use super::body::{NewRequest, compose};
use super::problem::Problem;
use super::view;
use crate::handle::Handle;
use crate::journal::{Accepted, IdempotencyKey, Kept};
use crate::status::{Phase, Refusal, Status};

/// Requests that a client waits for.
pub(super) struct Requests {
    pub(super) handle: Handle,
    pub(super) visitor: Visitor,
    /// Those that are not told yet, in order.
    pub(super) ids: Vec<RequestId>,
    on_leaving: OnLeaving,
    _open: account::Stream,
}

/// What becomes of requests whose client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnLeaving {
    /// Nobody else can fetch these pictures, so they are not worth painting for nobody.
    Cancel,
    /// The client can ask again with its Idempotency-Key.
    Keep,
}

/// Most pictures of one call.
pub(super) const MOST_PICTURES: u32 = 10;

/// Asks for so many pictures that differ by their seeds: all of them or none. With a key, what it has made
/// before is taken in place of new ones, apart from what was cancelled.
///
/// # Errors
/// [`Problem`]; nothing is left behind then.
pub(super) async fn ask(
    new: &NewRequest,
    count: u32,
    visitor: &Visitor,
    handle: &Handle,
    key: Option<IdempotencyKey>,
) -> Result<Requests, Problem> {
    let order = |index| {
        let seed = new.seed.map(|seed| seed.next(index));
        let one = NewRequest { seed, ..new.clone() };
        compose(one, visitor.owner.clone(), &handle.config, &handle.timeline, None)
    };
    let orders = (0..count).map(order).collect::<Result<_, _>>()?;
    let open = visitor.open_stream()?;
    submit(handle, visitor.clone(), orders, key, open).await
}

/// Makes a request of every order, or none of any.
async fn submit(
    handle: &Handle,
    visitor: Visitor,
    orders: Vec<Accepted>,
    key: Option<IdempotencyKey>,
    open: account::Stream,
) -> Result<Requests, Problem> {
    let (handle, on_leaving) = (handle.clone(), OnLeaving::Cancel);
    // From here on a client that leaves leaves nothing behind that was made for it.
    let mut requests = Requests { handle, visitor, ids: Vec::new(), on_leaving, _open: open };
    let Some(key) = key else {
        requests.make(orders).await?;
        return Ok(requests);
    };
    let mut ids = Vec::new();
    let (mut missing, mut places) = (Vec::new(), Vec::new());
    for (place, mut order) in orders.into_iter().enumerate() {
        let (found, free) = requests.made_before(&key, place).await?;
        ids.push(found.unwrap_or(order.order.id));
        if found.is_none() {
            order.key = Some(free);
            places.push(place);
            missing.push(order);
        }
    }
    for (place, id) in places.into_iter().zip(requests.make(missing).await?) {
        ids[place] = id;
    }
    (requests.ids, requests.on_leaving) = (ids, OnLeaving::Keep);
    Ok(requests)
}

impl Requests {
    /// Waits for the end of all of them and says how each stands if all are completed.
    pub(super) async fn all_finished(&self) -> Result<Vec<Status>, Problem> {
        let mut finished = Vec::new();
        for &id in &self.ids {
            finished.push(self.finished(id).await?);
        }
        Ok(finished)
    }

    /// Their pictures, once they are completed. From then on they are told.
    pub(super) async fn all_pictures(&mut self) -> Result<Vec<Reading>, Problem> {
        let mut pictures = Vec::new();
        for &id in &self.ids {
            pictures.push(self.picture(id).await?);
        }
        self.ids.clear();
        Ok(pictures)
    }

    /// Counts and submits all of these. If one is refused the others are cancelled and none counts.
    async fn make(&mut self, orders: Vec<Accepted>) -> Result<Vec<RequestId>, Problem> {
        let count = orders.len() as u32;
        if count == 0 {
            return Ok(Vec::new());
        }
        self.visitor.rate.take(count, self.handle.timeline.now())?;
        let mut made = Vec::new();
        for order in orders {
            let (id, key) = (order.order.id, order.key.clone());
            // Before it is handed in: a client that leaves meanwhile leaves it behind.
            self.ids.push(id);
            let Err(refusal) = self.handle.submit(Arc::new(order)).await else {
                made.push(id);
                continue;
            };
            // Made by another call at the same moment, whose it is.
            let twin = match (&refusal, &key) {
                (Refusal::KeyTaken(Some((id, fingerprint))), Some(key))
                    if *fingerprint == key.fingerprint =>
                {
                    Some(*id)
                }
                (Refusal::KeyTaken(None), Some(key)) => self.by_key(key).await?,
                _ => None,
            };
            if let Some(id) = twin {
                self.visitor.rate.give_back(1);
                self.ids.pop();
                made.push(id);
                continue;
            }
            self.visitor.rate.give_back(count);
            self.cancel();
            return Err(refusal.into());
        }
        Ok(made)
    }

    /// What this key has made for a place among the pictures and was not cancelled; with it, or in
    /// place of it, the name under which the journal has it or may have it.
    async fn made_before(
        &self,
        key: &IdempotencyKey,
        place: usize,
    ) -> Result<(Option<RequestId>, IdempotencyKey), Problem> {
        for attempt in 0..Self::ATTEMPTS {
            // No key that is sent holds this separator, so none is that of another request.
            let name = format!("{}\u{1f}{place}\u{1f}{attempt}", key.key);
            let named = IdempotencyKey { key: name, fingerprint: key.fingerprint };
            let Some(id) = self.by_key(&named).await? else { return Ok((None, named)) };
            let turn = self.visitor.first_turn().await?;
            let taken_back = || Problem::from(Refusal::KeyTaken(None));
            let status = self.handle.status(id).await?.ok_or_else(taken_back)?;
            drop(turn);
            let cancelled =
                matches!(&status.phase, Phase::Ended(end) if end.outcome == Outcome::Cancelled);
            if !cancelled {
                return Ok((Some(id), named));
            }
        }
        let detail = "what this Idempotency-Key made was cancelled too often: use another one";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(Problem::new(status, "idempotency_key_reused", detail))
    }

    /// Times that a key may be used again after what it made was cancelled.
    const ATTEMPTS: u32 = 100;

    /// The request made with this key, if it was made with the same body.
    async fn by_key(&self, key: &IdempotencyKey) -> Result<Option<RequestId>, Problem> {
        let owner = self.visitor.owner.clone();
        let _turn = self.visitor.first_turn().await?;
        match self.handle.by_key(owner, key.key.clone()).await? {
            Some((_, fingerprint)) if fingerprint != key.fingerprint => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used with another body",
            )),
            found => Ok(found.map(|(id, _)| id)),
        }
    }

    /// Waits for the end of a request and says how it stands if it is completed.
    pub(super) async fn finished(&self, id: RequestId) -> Result<Status, Problem> {
        let status = self.handle.wait(id, Duration::MAX).await?.ok_or_else(Problem::not_found)?;
        let failed = |detail: &str| Problem::new(StatusCode::BAD_GATEWAY, "failed", detail);
        let Phase::Ended(end) = &status.phase else {
            let detail = "the gateway is shutting down; the request goes on after its next start";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", detail);
            return Err(problem.after(Seconds::of(10.0)));
        };
        match &end.outcome {
            Outcome::Completed => Ok(status),
            Outcome::Failed { reason } => Err(failed(view::told(reason, self.visitor.role))),
            Outcome::Cancelled => Err(failed("the request was cancelled")),
            Outcome::Expired => Err(failed("no server could take the request in time")),
        }
    }

    /// The picture of a completed request.
    pub(super) async fn picture(&self, id: RequestId) -> Result<Reading, Problem> {
        match self.handle.picture(id).await? {
            Kept::Here(stored) => {
                Ok(Reading::new(self.handle.clone(), self.visitor.clone(), stored))
            }
            Kept::Gone | Kept::Never => {
                let detail = "the picture is not kept any more";
                Err(Problem::new(StatusCode::BAD_GATEWAY, "failed", detail))
            }
        }
    }

    /// Gives up those that are not told yet, unless they can be asked for again.
    pub(super) fn cancel(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if self.on_leaving == OnLeaving::Cancel {
            for id in ids {
                let handle = self.handle.clone();
                tokio::spawn(async move { handle.cancel(id).await });
            }
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.cancel();
    }
}
