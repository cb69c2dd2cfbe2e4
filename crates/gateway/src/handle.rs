//! The way to ask a running gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatch::{Administration, Order, Owner, Quote, Rejection, RequestId};
use jiff::Timestamp;
use scheduling::{Objective, PolicyName};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::backends::Preview;
use crate::config::Config;
use crate::engine::{Change, Changed, Explained, InForce, Message, Question, Scale, Usage};
use crate::http::{Caller, Secret};
use crate::journal::{
    Accepted, Archive, Entry, Filter, JournalError, Kept, Lane, Page, Reads, StoredPicture, Window,
};
use crate::metrics::Metrics;
use crate::past::Past;
use crate::policies::Policies;
use crate::reload::Reloads;
use crate::status::{Phase, Refusal, ServerView, Status};
use crate::threads::aside;
use crate::timeline::Timeline;

/// The way to ask a running gateway.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) policies: Policies,
    /// The gateway's time.
    pub timeline: Timeline,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// What holds at the moment.
    pub config: Arc<Config>,
    /// What decisions are judged by.
    pub(crate) objective: Arc<Objective>,
    /// By model, where models have their own.
    pub(crate) objectives: Arc<[Objective]>,
    /// Calls others, where that is allowed.
    pub(crate) caller: Option<Arc<Caller>>,
    /// What links to pictures are signed with.
    pub(crate) secret: Secret,
    /// Tells how accepted requests stand whenever they change.
    pub(crate) changes: broadcast::Sender<Change>,
    /// How far the replica is that is read from, where it is one.
    pub(crate) view: Option<View>,
    /// Told when changes may have been missed.
    pub(crate) missed: watch::Receiver<()>,
    /// To have the configuration read again.
    pub(crate) reloads: Reloads,
}

/// How far a replica has followed its log, and how far it must be before anybody reads it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    reached: watch::Receiver<u64>,
    named: Arc<AtomicU64>,
}

impl View {
    pub(crate) fn new(reached: watch::Receiver<u64>) -> Self {
        Self { reached, named: Arc::default() }
    }

    /// Somebody has spoken of what is in the log up to there.
    pub(crate) fn must_have(&self, sequence: u64) {
        self.named.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Waits until it has all that was spoken of.
    async fn is_there(&self, most: Duration) -> Result<(), JournalError> {
        let named = self.named.load(Ordering::Relaxed);
        let mut reached = self.reached.clone();
        let there = reached.wait_for(|reached| *reached >= named);
        match tokio::time::timeout(most, there).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(JournalError("this node does not follow the log of its cluster".into())),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unavailable {
    /// The gateway is too busy or shutting down, or what was asked for cannot be had.
    #[error("{0}")]
    Gateway(String),
    /// The journal cannot be read.
    #[error("{0}")]
    Journal(String),
}

impl Handle {
    /// What a request with this model is judged by.
    pub(crate) fn objective_of(&self, model: Option<&str>) -> &Objective {
        let model = model.and_then(|name| self.config.model(name));
        let own = model.and_then(|model| self.objectives.get(model.index()));
        own.unwrap_or(&self.objective)
    }

    /// Accepts a request. Returns once it is durable.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was accepted then.
    pub(crate) async fn submit(&self, accepted: Arc<Accepted>) -> Result<Status, Refusal> {
        // The archive answers for what has ended; the engine for what has not; the journal's
        // index for what ends in between.
        let (reply, answer) = oneshot::channel();
        let message = Message::Submit { accepted, reply };
        self.messages.try_send(message).map_err(|_| Refusal::Busy)?;
        answer.await.unwrap_or(Err(Refusal::Rejected(Rejection::Closing)))
    }

    /// What would be decided, and by which policy.
    ///
    /// # Errors
    /// [`Refusal`] as for a submission.
    pub(crate) async fn quote(&self, order: Order) -> Result<(Quote, Arc<str>), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.messages.try_send(Message::Quote { order, reply }).map_err(|_| Refusal::Busy)?;
        let quote = answer.await.unwrap_or(Err(Rejection::Closing));
        quote.map_err(Refusal::Rejected)
    }

    /// How a request stands.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn status(&self, id: RequestId) -> Result<Option<Status>, Unavailable> {
        match self.ask(|reply| Message::Status { id, reply }).await {
            Ok(Some(live)) => return Ok(Some(live)),
            Ok(None) => {}
            // It has stopped: the journal has the last word.
            Err(_) if self.messages.is_closed() => {}
            Err(error) => return Err(error),
        }
        Ok(self.archived(id).await?.map(Status::from))
    }

    /// What the journal has of a request.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn archived(&self, id: RequestId) -> Result<Option<Entry>, Unavailable> {
        self.read(Lane::Lookups, move |archive| archive.find(id)).await
    }

    /// Follows a request; none if it has ended or never was.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn watch(
        &self,
        id: RequestId,
    ) -> Result<Option<watch::Receiver<Status>>, Unavailable> {
        self.ask(|reply| Message::Watch { id, reply }).await
    }

    /// Waits until a request ends, or for so long, and says how it stands then.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn wait(
        &self,
        id: RequestId,
        most: Duration,
    ) -> Result<Option<Status>, Unavailable> {
        if let Some(mut watch) = self.watch(id).await? {
            let ended = watch.wait_for(|status| matches!(status.phase, Phase::Ended(_)));
            let ended = tokio::time::timeout(most, ended).await;
            if let Some(status) = ended.ok().and_then(Result::ok).map(|status| status.clone()) {
                self.agree(id).await;
                return Ok(Some(status));
            }
        }
        self.status(id).await
    }

    /// A replica may have an end a moment before whoever leads knows of it. Waits until they agree, so that nobody
    /// who is told of it here hears elsewhere that the request still runs; not for long, as perhaps nobody leads.
    async fn agree(&self, id: RequestId) {
        const MOST: Duration = Duration::from_millis(500);
        const PAUSE: Duration = Duration::from_millis(2);
        if self.view.is_none() {
            return;
        }
        let agreed = async {
            while let Ok(Some(status)) = self.ask(|reply| Message::Status { id, reply }).await
                && !matches!(status.phase, Phase::Ended(_))
            {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(MOST, agreed).await;
    }

    /// Cancels a request; false if it has ended or never was.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn cancel(&self, id: RequestId) -> Result<bool, Unavailable> {
        self.ask(|reply| Message::Cancel { id, reply }).await
    }

    /// What the latest decision of a request was chosen from, if that is still known.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn explain(
        &self,
        id: RequestId,
    ) -> Result<Option<Arc<Explained>>, Unavailable> {
        self.look(|reply| Question::Explanation { id, reply }).await
    }

    /// The servers.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn servers(&self) -> Result<Vec<ServerView>, Unavailable> {
        self.look(|reply| Question::Servers { reply }).await
    }

    /// The statistics that have changed since so many changes.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn statistics(
        &self,
        scale: Scale,
        since: u64,
    ) -> Result<Changed, Unavailable> {
        self.look(|reply| Question::Statistics { scale, since, reply }).await
    }

    /// What has come of the requests of these owners, in the same order.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn usage(&self, owners: Vec<Owner>) -> Result<Vec<Usage>, Unavailable> {
        self.look(|reply| Question::Usage { owners, reply }).await
    }

    /// How a request that runs looks at the moment.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn preview(&self, id: RequestId) -> Result<Option<Preview>, Unavailable> {
        self.look(|reply| Question::Preview { id, reply }).await
    }

    /// Whether a request would be taken in, if there were room for it.
    ///
    /// # Errors
    /// [`Refusal`], as a submission would be refused.
    pub(crate) async fn ready(&self) -> Result<(), Refusal> {
        self.look(|reply| Question::Ready { reply }).await.unwrap_or(Err(Refusal::Busy))
    }

    /// Takes a server in or out; false if there is none of that name.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn administer(
        &self,
        server: String,
        state: Administration,
    ) -> Result<bool, Unavailable> {
        self.ask(|reply| Message::Administer { server, state, reply }).await
    }

    /// What is in force at the moment.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn in_force(&self) -> Result<InForce, Unavailable> {
        self.look(|reply| Question::InForce { reply }).await
    }

    /// How all requests stand that have not ended, or those of one owner.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn standing(&self, owner: Option<Owner>) -> Result<Vec<Status>, Unavailable> {
        self.look(|reply| Question::Standing { owner, reply }).await
    }

    /// Builds the policy anew, which reads a checkpoint again, and puts it in place.
    ///
    /// # Errors
    /// [`Unavailable`]; the present policy stays then.
    pub(crate) async fn set_policy(&self, name: PolicyName) -> Result<(), Unavailable> {
        let policies = self.policies.clone();
        let text = name.to_string();
        let built = aside(move || policies.acting(&name)).await;
        let policy = built.unwrap_or_else(Err);
        let policy = policy.map_err(Unavailable::Gateway)?;
        self.ask(|reply| Message::Policy { name: text.into(), policy, reply }).await
    }

    /// The metrics of the moment.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn metrics(&self) -> Result<String, Unavailable> {
        self.ask(|reply| Message::Gauges { reply }).await?;
        Ok(self.metrics.render())
    }

    /// Whether there is a picture of a request.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn picture(&self, id: RequestId) -> Result<Kept, Unavailable> {
        self.read(Lane::Lookups, move |archive| archive.picture(id)).await
    }

    /// At most so many bytes of a picture, beginning with the byte at `from`.
    ///
    /// # Errors
    /// [`Unavailable`], also if the picture's time is over since it was found.
    pub(crate) async fn picture_part(
        &self,
        picture: StoredPicture,
        from: u64,
        most: usize,
    ) -> Result<Bytes, Unavailable> {
        self.read(Lane::Pictures, move |archive| archive.picture_part(picture, from, most)).await
    }

    /// A page of requests, the latest first.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn list(&self, filter: Filter) -> Result<Page, Unavailable> {
        self.read(Lane::Lists, move |archive| archive.list(&filter)).await
    }

    /// The request made with an idempotency key.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn by_key(
        &self,
        owner: Arc<str>,
        key: String,
    ) -> Result<Option<(RequestId, [u8; 32])>, Unavailable> {
        self.read(Lane::Lookups, move |archive| archive.by_key(&owner, &key)).await
    }

    /// What the journal knows from before.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(crate) async fn past(&self, config: Arc<Config>) -> Result<Past, Unavailable> {
        self.read(Lane::Lists, move |archive| Past::read(archive, &config)).await
    }

    /// Reads what has come of the requests of the time before and tells the engine.
    pub(crate) async fn remember(self, window: Window) {
        // Its failure was told in the log; there is less to look back at then.
        if let Ok(past) = self.read(Lane::Lists, move |archive| archive.summaries(&window)).await {
            let _ = self.messages.send(Message::Remember { past }).await;
        }
    }

    /// The date of a time.
    pub(crate) fn date(&self, time: scheduling::Time) -> Timestamp {
        self.timeline.date(time)
    }

    /// Now, in seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> f64 {
        self.date(self.timeline.now()).as_millisecond() as f64 / 1e3
    }

    async fn look<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Unavailable> {
        self.ask(|reply| Message::Ask(question(reply))).await
    }

    pub(crate) async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let gone = || Unavailable::Gateway("the gateway is busy or shutting down".into());
        self.messages.try_send(message(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn read<T: Send + 'static>(
        &self,
        lane: Lane,
        read: impl FnOnce(&dyn Archive) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let result = async {
            if let Some(view) = &self.view {
                view.is_there(self.config.limits.client_seconds.duration()).await?;
            }
            self.reads.read(lane, read).await
        };
        result.await.map_err(|error| Unavailable::Journal(error.to_string()))
    }
}
