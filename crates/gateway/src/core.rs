//! The engine and what it drives: the one part of a gateway of which a journal has only one at a time.

use std::sync::Arc;
use std::time::Duration;

use dispatch::{Explanations, RequestId, Scheduler};
use futures_util::FutureExt as _;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::attach::Foreman;
use crate::config::Config;
use crate::engine::{Change, Engine, Event, Message, Running, Starts};
use crate::gateway::{Named, StartError};
use crate::journal::{
    Archive, Checkpointer, Damage, Journal, JournalError, Report, Sqlite, Unconfirmed, Window,
    Writer,
};
use crate::metrics::Metrics;
use crate::node::Set;
use crate::parts::Spawner;
use crate::past::Past;
use crate::previews::{Gallery, Previews};
use crate::threads::Threads;
use crate::timeline::{Timeline, WallClock};

/// What stands between the engine and its journal.
pub type JournalFactory = Box<dyn FnOnce(Sqlite) -> Result<Box<dyn Journal>, JournalError> + Send>;

/// What surrounds an engine.
pub(crate) struct Surroundings {
    pub(crate) wall: WallClock,
    pub(crate) journal: JournalFactory,
    pub(crate) starts: Starts,
    pub(crate) pictures: Option<Arc<dyn crate::journal::Pictures>>,
    /// Hears that nothing stands in the way any more, before the first server is asked.
    pub(crate) serving: Box<dyn FnOnce() + Send>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where it is told what operators set.
    pub(crate) sets: Option<mpsc::UnboundedSender<Set>>,
    /// What the journal may have without having said so.
    pub(crate) unconfirmed: Unconfirmed,
}

/// A running engine.
pub(crate) struct Core {
    /// To ask it.
    pub(crate) messages: mpsc::Sender<Message>,
    /// Tells how accepted requests stand whenever they change.
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) timeline: Timeline,
    /// The last day before the start.
    pub(crate) before: Window,
    /// Ends that are still to be told somewhere, from before, and as they come.
    pub(crate) untold: Vec<(RequestId, String)>,
    pub(crate) ends: mpsc::UnboundedReceiver<(RequestId, String)>,
    running: Tasks,
}

/// Its tasks, to be stopped.
pub(crate) struct Tasks {
    messages: mpsc::Sender<Message>,
    engine: JoinHandle<()>,
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    /// Tells the keeper to stop.
    closing: CancellationToken,
}

impl Core {
    /// Most messages that wait for the engine.
    const INBOX: usize = 4096;

    /// Connects the servers, asks each once, takes back what had not ended.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub(crate) fn start(
        config: &Arc<Config>,
        named: Named,
        sqlite: Sqlite,
        archive: &dyn Archive,
        around: Surroundings,
        spawner: &Spawner,
    ) -> Result<Self, StartError> {
        let Named { policy, shadow, connected, .. } = named;
        let origin = sqlite.origin();
        let timeline = Timeline::resume(archive.last()?, archive.clocks()?, around.wall);
        let past = Past::read(archive, config)?;
        let (unfinished, untold) = (archive.unfinished()?, archive.untold()?);
        let servers = config.servers.iter().map(|server| config.spec(server)).collect();
        let mut scheduler = Scheduler::new(servers, config.objective(), policy, config.bounds());
        let (beside, alone) = shadow.map(|shadow| (shadow.beside, shadow.alone)).unzip();
        scheduler.set_shadow(beside);
        scheduler.set_objectives(config.objectives());
        scheduler.set_preloading(config.preloading());
        scheduler.set_explanations(Explanations::Told);
        let (events, event_inbox) = mpsc::unbounded_channel();
        let report = {
            let events = events.clone();
            move |report| {
                let _ = events.send(Event::Report(report));
            }
        };
        let checkpointer = vec![Checkpointer::new(&sqlite)?];
        let checkpointer =
            Threads::spawn("journal-keeper", checkpointer).map_err(StartError::Thread)?;
        let (guard, journal) = (sqlite.guard(), (around.journal)(sqlite)?);
        let (writer, write) =
            Writer::start(journal, guard, around.unconfirmed, around.starts, report.clone())
                .map_err(StartError::Thread)?;
        let written = spawner.spawn("the journal's writer", write);
        let closing = CancellationToken::new();
        let keep = keep_journal(checkpointer, closing.clone(), report);
        let keeper = spawner.spawn("the journal's keeper", keep);
        (around.serving)();
        let gallery = Gallery { previews: Previews::default(), pictures: around.pictures };
        let mut foreman = Foreman::new(events, spawner.clone(), gallery);
        let attached = (config.servers.iter().zip(connected))
            .map(|(server, backend)| foreman.attach(config, server, backend))
            .collect();
        let (ends_told, ends) = mpsc::unbounded_channel();
        let mut engine = Engine::new(
            config,
            scheduler,
            (timeline.clone(), origin),
            (attached, foreman),
            ends_told,
            (writer, around.starts),
            around.metrics,
        );
        for (server, model, runs) in past.runs {
            engine.relearn(server, model, &runs);
        }
        engine.recall(&past.arrivals);
        if !unfinished.is_empty() {
            tracing::info!(requests = unfinished.len(), "going on with what had not ended");
        }
        engine.restore(unfinished);
        engine.shadowed_by(alone);
        engine.tell_sets(around.sets);
        let (messages, message_inbox) = mpsc::channel(Self::INBOX);
        let changes = engine.changes();
        let before = engine.before();
        let engine = spawner.spawn("the engine", engine.run(message_inbox, event_inbox).map(Ok));
        let running =
            Tasks { messages: messages.clone(), engine, writer: written, keeper, closing };
        Ok(Self { messages, changes, timeline, before, untold, ends, running })
    }

    /// What is needed to stop it.
    pub(crate) fn tasks(self) -> Tasks {
        self.running
    }
}

impl Tasks {
    /// How long the journal may take to close.
    const CLOSING: Duration = Duration::from_secs(5);

    /// Takes nothing more in, lets what runs finish within `grace` if it is to, and writes everything down.
    pub(crate) async fn stop(self, runs: Running, grace: Duration) {
        let Self { messages, engine, writer, keeper, closing } = self;
        let (reply, _closed) = oneshot::channel();
        let abort = engine.abort_handle();
        let close = async {
            let _ = messages.send(Message::Close { runs, reply }).await;
            engine.await
        };
        if tokio::time::timeout(grace, close).await.is_err() {
            if runs == Running::Finishes {
                tracing::warn!(
                    "some runs did not finish in time: they run again after the next start"
                );
            }
            abort.abort();
        }
        closing.cancel();
        let closed = async {
            let _ = writer.await;
            let _ = keeper.await;
        };
        if tokio::time::timeout(Self::CLOSING, closed).await.is_err() {
            tracing::error!("the journal did not close in time");
        }
    }
}

/// Keeps the journal's log short, off the way of those who wait for a commit, and looks whether the
/// files are still there.
async fn keep_journal(
    checkpointer: Threads<Checkpointer>,
    closing: CancellationToken,
    report: impl Fn(Report) + Send,
) -> Result<(), String> {
    /// How often the files are looked at.
    const LOOK: Duration = Duration::from_millis(400);
    /// Looks between two checkpoints.
    const LOOKS: u32 = 5;
    let mut looks = 0u32;
    while closing.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        looks += 1;
        match checkpointer.call(|journal| journal.check()).await? {
            Ok(()) => {}
            Err(Damage::Lost(why)) => {
                report(Report::Lost(why));
                closing.cancelled().await;
                break;
            }
            Err(Damage::Unseen(why)) => tracing::warn!(%why, "the journal cannot be looked at"),
        }
        if looks.is_multiple_of(LOOKS)
            && let Err(error) = checkpointer.call(|journal| journal.run()).await?
        {
            tracing::warn!(%error, "the journal's log could not be moved into its file");
        }
    }
    checkpointer.finish().await;
    Ok(())
}
