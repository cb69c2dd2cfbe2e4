//! Servers behind agents, for whoever leads.
//!
//! Whatever is said may be lost, and is asked for or said again: an agent keeps what it has until it is confirmed,
//! and that is done when the journal has it. Nobody answers where an agent's message wants an answer: it may name any
//! subject for that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::RequestErrorKind;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dispatch::{RequestId, RunId};
use futures_util::StreamExt as _;
use gateway::backends::{Backend, BackendError, Cancelled, Job, Painted, Timing, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::connection::Connection;
use crate::subjects::Names;
use crate::words::{
    Ask, Condition, Confirm, News, Order, PART, PATIENCE, Part, Reply, Said, Task, preview, read,
    written,
};

/// All that agents say to whoever leads.
#[derive(Clone)]
pub(crate) struct Agents {
    connection: Connection,
    /// When this node began to lead.
    epoch: Arc<AtomicU64>,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Default)]
struct Desk {
    /// Runs that somebody waits for.
    waiting: HashMap<(String, RunId), Wanted>,
    /// Pictures of which some parts are there.
    arriving: HashMap<(String, RunId), Vec<Option<Bytes>>>,
    /// Runs whose pictures are here, until the journal has them.
    kept: HashMap<RequestId, Vec<Kept>>,
    /// When runs were first heard of that nobody waits for.
    strangers: HashMap<(String, RunId), Instant>,
}

/// Somebody who waits for a run.
#[derive(Clone)]
struct Wanted {
    tell: mpsc::Sender<Heard>,
    /// Most bytes that its picture can have.
    most: usize,
}

/// A picture that is here, of this run on this server, since then.
type Kept = ((String, RunId), Instant);

enum Heard {
    News(News),
    Picture(Bytes, Part),
}

impl Agents {
    /// How long a run of which nobody knows may still be asked for, after a change of who leads.
    const STRANGE: Duration = Duration::from_secs(10);
    /// How long a picture may be here of whose request no end is heard: it was a trial, or given up.
    const UNHEARD: Duration = Duration::from_mins(5);
    /// News of one run that nobody has looked at yet. What is more is dropped; what matters is said again.
    const NEWS: usize = 64;
    /// Most runs that are remembered of which nobody knows.
    const STRANGERS: usize = 1024;
    /// Most parts of a picture.
    const PARTS: u32 = 1024;

    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, epoch: Arc::default(), desk: Arc::default() }
    }

    /// This node leads since then.
    pub(crate) fn begin(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        let mut desk = self.desk();
        desk.arriving.clear();
        desk.kept.clear();
        desk.strangers.clear();
    }

    /// Hears what agents say, for as long as this node leads.
    pub(crate) async fn listen(self) -> Result<(), String> {
        let (client, names) = (&self.connection.client, &self.connection.names);
        let mut said = client.subscribe(names.all_said()).await.map_err(|e| crate::causes(&e))?;
        while let Some(message) = said.next().await {
            let Some((server, kind)) = Names::sayer(&message.subject) else { continue };
            let heard = match kind {
                "said" => self.said(server, &message.payload),
                "painted" => {
                    let part = message.headers.as_ref().and_then(|headers| headers.get(PART));
                    match part.map(|part| read(part.as_str().as_bytes())) {
                        Some(Ok(part)) => self.painted(server, part, message.payload),
                        _ => Err("a picture without its head".into()),
                    }
                }
                _ => Ok(()),
            };
            if let Err(problem) = heard {
                tracing::warn!(server, problem, "an agent is not understood");
            }
        }
        Err("the brokers tell nothing more".into())
    }

    fn said(&self, server: &str, payload: &[u8]) -> Result<(), String> {
        let Said { run, news } = read(payload)?;
        let lasting = matches!(news, News::Failed(_));
        let waiting = self.desk().waiting.get(&(server.into(), run)).cloned();
        match waiting {
            Some(waiting) => {
                let heard = waiting.tell.try_send(Heard::News(news)).is_ok();
                if lasting && heard {
                    self.confirm(server, run);
                }
            }
            None if lasting => self.stranger(server, run),
            None => {}
        }
        Ok(())
    }

    fn painted(&self, server: &str, part: Part, bytes: Bytes) -> Result<(), String> {
        if part.index >= part.of || part.of > Self::PARTS {
            return Err(format!("part {} of {}", part.index, part.of));
        }
        let key = (server.to_owned(), part.run);
        let mut desk = self.desk();
        let kept = desk.kept.get(&part.run.request).into_iter().flatten();
        if let Some((_, since)) = kept.clone().find(|(kept, _)| *kept == key) {
            let unheard = since.elapsed() > Self::UNHEARD;
            drop(desk);
            if unheard {
                self.ended(part.run.request);
            }
            return Ok(());
        }
        let Some(waiting) = desk.waiting.get(&key).cloned() else {
            drop(desk);
            if part.index == 0 {
                self.stranger(server, part.run);
            }
            return Ok(());
        };
        let count = part.of as usize;
        let parts = desk.arriving.entry(key.clone()).or_insert_with(|| vec![None; count]);
        if parts.len() != count {
            *parts = vec![None; count];
        }
        parts[part.index as usize] = Some(bytes);
        let here: usize = parts.iter().flatten().map(Bytes::len).sum();
        if here > waiting.most {
            desk.arriving.remove(&key);
            let most = waiting.most;
            return Err(format!(
                "a picture of more than {most} bytes, which is the most it can have"
            ));
        }
        if parts.iter().all(Option::is_some) {
            let mut whole = BytesMut::new();
            for bytes in desk.arriving.remove(&key).into_iter().flatten().flatten() {
                whole.extend_from_slice(&bytes);
            }
            let run = part.run;
            if waiting.tell.try_send(Heard::Picture(whole.freeze(), part)).is_ok() {
                desk.kept.entry(run.request).or_default().push((key, Instant::now()));
            }
        }
        Ok(())
    }

    /// A result that nobody waits for: late, or told before. Whoever has just begun to lead may still ask for it.
    fn stranger(&self, server: &str, run: RunId) {
        let key = (server.to_owned(), run);
        let first = {
            let mut desk = self.desk();
            if desk.strangers.len() >= Self::STRANGERS {
                // Those that matter are said again.
                desk.strangers.retain(|_, first| first.elapsed() < 2 * Self::STRANGE);
            }
            if desk.strangers.len() >= Self::STRANGERS {
                return;
            }
            *desk.strangers.entry(key.clone()).or_insert_with(Instant::now)
        };
        if first.elapsed() > Self::STRANGE {
            self.desk().strangers.remove(&key);
            self.confirm(server, run);
        }
    }

    /// The journal has the end of a request.
    pub(crate) fn ended(&self, request: RequestId) {
        let kept = self.desk().kept.remove(&request);
        for ((server, run), _) in kept.into_iter().flatten() {
            self.confirm(&server, run);
        }
    }

    fn confirm(&self, server: &str, run: RunId) {
        let (client, subject) =
            (self.connection.client.clone(), self.connection.names.confirm(server));
        let confirm = written(&Confirm { epoch: self.epoch.load(Ordering::Relaxed), run });
        // Where it is lost the agent says again what it has.
        tokio::spawn(async move { client.publish(subject, confirm).await });
    }

    /// Asks the agent of a server.
    async fn ask(
        &self,
        server: &str,
        task: Task,
        patience: Duration,
    ) -> Result<Reply, BackendError> {
        let ask = Ask { epoch: self.epoch.load(Ordering::Relaxed), task };
        ask_agent(&self.connection, server, &ask, patience).await
    }

    fn wait(&self, server: &str, job: &Job) -> Waiting<'_> {
        let (tell, heard) = mpsc::channel(Self::NEWS);
        // Four channels of two bytes, and what stands around them.
        let most = 8 * job.spec.width as usize * job.spec.height as usize + 64 * 1024;
        let key = (server.to_owned(), job.run);
        self.desk().waiting.insert(key.clone(), Wanted { tell, most });
        Waiting { agents: self, key, heard }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the agent of a server anything.
pub(crate) async fn ask_agent(
    connection: &Connection,
    server: &str,
    ask: &Ask,
    patience: Duration,
) -> Result<Reply, BackendError> {
    let (client, subject) = (&connection.client, connection.names.ask(server));
    let request = async_nats::Request::new().payload(written(ask)).timeout(Some(patience));
    match client.send_request(subject, request).await {
        Ok(answer) => {
            read(&answer.payload).map_err(|problem| BackendError::Garbage(problem.as_str().into()))
        }
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            Err(BackendError::Unreachable("its agent is not connected".into()))
        }
        Err(error) if error.kind() == RequestErrorKind::TimedOut => {
            Err(BackendError::TimedOut(patience))
        }
        Err(error) => Err(BackendError::Unreachable(crate::causes(&error).as_str().into())),
    }
}

/// Somebody who waits for a run, until this is dropped.
struct Waiting<'a> {
    agents: &'a Agents,
    key: (String, RunId),
    heard: mpsc::Receiver<Heard>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut desk = self.agents.desk();
        desk.waiting.remove(&self.key);
        desk.arriving.remove(&self.key);
    }
}

/// A server behind an agent.
pub(crate) struct Remote {
    agents: Agents,
    server: String,
    /// What its agent said of it last.
    condition: Mutex<Condition>,
}

impl Remote {
    /// How often an agent is told of a run before it counts as not there.
    const TRIES: u32 = 3;
    /// Between two tellings of progress that are handed on.
    const OFTEN: Duration = Duration::from_millis(100);
    /// Most bytes of a server's own name for a run.
    const TICKET: usize = 512;
    /// How long nothing may be heard of a run before its agent is asked whether it has it.
    const SILENCE: Duration = Duration::from_secs(2);

    pub(crate) fn new(agents: Agents, server: &str) -> Self {
        Self { agents, server: server.into(), condition: Mutex::default() }
    }

    /// Follows a run that its agent has.
    async fn follow(
        &self,
        waiting: &mut Waiting<'_>,
        begun: Instant,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let run = waiting.key.1;
        let (mut told, mut named) = (None::<Instant>, false);
        loop {
            match timeout(Self::SILENCE, waiting.heard.recv()).await {
                Ok(Some(Heard::News(news))) => match news {
                    News::Progress(share) => {
                        if told.is_none_or(|told| told.elapsed() >= Self::OFTEN) {
                            told = Some(Instant::now());
                            watcher.progress(share);
                        }
                    }
                    News::Waits => watcher.waits(),
                    News::Ticket(ticket) => {
                        // It goes into the log: one for a run, and no longer than names are.
                        if !named && ticket.len() <= Self::TICKET {
                            named = true;
                            watcher.ticket(&ticket);
                        }
                    }
                    News::Preview(text) => {
                        if let Some(picture) = preview(&text) {
                            watcher.preview(picture);
                        }
                    }
                    News::Failed(trouble) => return Err(trouble.into()),
                },
                Ok(Some(Heard::Picture(png, part))) => {
                    return Ok(Painted { png, timing: timing(&part, begun.elapsed()) });
                }
                Ok(None) => return Err(BackendError::Cancelled),
                // Whether its agent is there is for probes to say.
                Err(_) => {
                    let find = Task::Find { run };
                    let asked = self.agents.ask(&self.server, find, PATIENCE).await;
                    if let Ok(Reply::Unknown) = asked {
                        return Err(BackendError::CutOff("its agent has lost the run".into()));
                    }
                }
            }
        }
    }
}

/// How the time of a run is to be read: one that was under way for longer than its agent worked at it says nothing.
fn timing(part: &Part, seen: Duration) -> Timing {
    let took = part.took.seconds();
    match part.timing() {
        Timing::Direct if seen.as_secs_f64() > 1.1 * took + 0.5 => Timing::Delayed,
        timing => timing,
    }
}

fn deposed(epoch: u64) -> BackendError {
    BackendError::Unreachable(
        format!("its agent obeys whoever leads since {epoch}").as_str().into(),
    )
}

fn unable(why: &str) -> BackendError {
    BackendError::Unreachable(why.into())
}

#[async_trait]
impl Backend for Remote {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        // Before it is asked: it may be done at once.
        let (mut waiting, begun) = (self.agents.wait(&self.server, job), Instant::now());
        let mut tries = 0;
        loop {
            tries += 1;
            let task = Task::Run(Order::of(job));
            match self.agents.ask(&self.server, task, PATIENCE).await {
                Ok(Reply::Taken) => break,
                Ok(Reply::Deposed { epoch }) => return Err(deposed(epoch)),
                Ok(Reply::Unable(why)) => return Err(unable(&why)),
                Ok(_) => return Err(BackendError::Garbage("another answer".into())),
                Err(BackendError::TimedOut(_)) if tries < Self::TRIES => {}
                Err(error) => return Err(error),
            }
        }
        let painted = self.follow(&mut waiting, begun, watcher).await;
        // Of a trial nobody hears the end.
        if painted.is_ok() && !watcher.wants_previews() {
            self.agents.ended(job.run.request);
        }
        painted
    }

    async fn look_up(
        &self,
        job: &Job,
        _ticket: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let (mut waiting, begun) = (self.agents.wait(&self.server, job), Instant::now());
        loop {
            match self.agents.ask(&self.server, Task::Find { run: job.run }, PATIENCE).await {
                Ok(Reply::Taken) => return self.follow(&mut waiting, begun, watcher).await,
                Ok(Reply::Unknown) => return Err(BackendError::Unknown),
                Ok(Reply::Deposed { epoch }) => return Err(deposed(epoch)),
                Ok(Reply::Unable(why)) => return Err(unable(&why)),
                Ok(_) => return Err(BackendError::Garbage("another answer".into())),
                // It may be on its way back, with the picture. How long that is waited for is for probes to say.
                Err(BackendError::TimedOut(_) | BackendError::Unreachable(_)) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn cancel(&self, job: &Job, _ticket: Option<&str>) -> Result<Cancelled, BackendError> {
        // The server itself may take its time.
        let patience = Duration::from_secs(3);
        match self.agents.ask(&self.server, Task::Cancel { run: job.run }, patience).await? {
            Reply::Cancel(Ok(stopping)) => Ok(stopping.into()),
            Reply::Cancel(Err(trouble)) => Err(trouble.into()),
            Reply::Deposed { epoch } => Err(deposed(epoch)),
            Reply::Unable(why) => Err(unable(&why)),
            _ => Err(BackendError::Garbage("another answer".into())),
        }
    }

    async fn probe(&self) -> Result<(), BackendError> {
        // Whoever asks ends it when it takes too long.
        let reply = self.agents.ask(&self.server, Task::Probe, Duration::from_mins(1)).await?;
        match reply {
            Reply::Probe(Ok(condition)) => {
                *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
                Ok(())
            }
            Reply::Probe(Err(trouble)) => Err(trouble.into()),
            Reply::Unable(why) => Err(unable(&why)),
            _ => Err(BackendError::Garbage("another answer".into())),
        }
    }

    async fn foreign(&self) -> Result<Option<usize>, BackendError> {
        Ok(self.condition.lock().unwrap_or_else(PoisonError::into_inner).foreign)
    }

    async fn loaded(&self) -> Result<Option<Vec<String>>, BackendError> {
        Ok(self.condition.lock().unwrap_or_else(PoisonError::into_inner).loaded.clone())
    }
}
