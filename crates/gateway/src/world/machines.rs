//! The same world with several machines: each has a journal of its own, all follow one log, and one leads. Besides all
//! that goes wrong on one machine, machines are cut off from the log, answers of its brokers are lost or late, and
//! whoever leads falls asleep, wakes up while another one leads, and goes on as if nothing had happened.

use std::path::Path;
use std::sync::{Arc, Mutex};

use scheduling::{Generator, Purpose};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::clients::traffic;
use super::disk::{self, Condition};
use super::life::{begin, dies, end, look_back, make_peace, weather};
use super::machine::{Machine, pause};
use super::nature::{self, Nature, State};
use super::{Fate, LONG, PEACE, folder, for_hours, keeps_every_promise};
use crate::engine::Starts;
use crate::gateway::{Gateway, World};
use crate::journal::shelf::{Album, Luck, Shelf};
use crate::journal::{
    self as journal, Clock, Deposed, Journal, JournalError, Message, Moment, Record, Replica,
    Replicated, Says,
};
use crate::policies::rules;
use crate::threads::simulated;
use crate::timeline::WallClock;

use super::life::Ending;

/// What all machines share.
struct Brokers {
    shelf: Shelf,
    /// Messages of which the checker knows.
    seen: usize,
    /// No kill of a machine takes them.
    pictures: Arc<Album>,
}

/// Whether the log keeps two leaders apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    Up,
    Down,
}

/// Lets a world of several machines last for so many hours.
fn world(seed: u64, hours: f64, fence: Fence) -> Fate {
    let folder = folder();
    nature::reset_clocks();
    let nature = Nature::new(Generator::new(seed, Purpose::Search, 1), folder.path().into());
    let plan = nature.state().plan.toml.clone();
    nature.note(&plan);
    let simulation = {
        let nature = nature.clone();
        simulated::simulate(move |threads, moment| disk::delay(&nature, threads, moment))
    };
    let shelf = {
        let nature = nature.clone();
        Shelf::new(move || luck(&mut nature.state()))
    };
    let shelf = if fence == Fence::Down { shelf.unfenced() } else { shelf };
    let brokers = Brokers { shelf, seen: 0, pictures: Arc::default() };
    let brokers = Arc::new(Mutex::new(brokers));
    let machines = 2 + nature.state().dice.below(2);
    let mut machine = 0;
    let mut asleep: Option<Life> = None;
    while nature.state().first_broken().is_none() {
        let over = nature::now() > hours * 3600.0;
        let ending = draw(&nature, over, asleep.is_some());
        let Some(mut life) = Life::begin(&nature, folder.path(), machine, &brokers, ending) else {
            break;
        };
        let seconds = match ending {
            Some(Ending::Peace) => PEACE,
            _ => nature.state().dice.between(1.5, 7.0).exp(),
        };
        life.live(seconds, ending);
        if let Some(sleeper) = asleep.take() {
            // It wakes up while another one leads, which holds its breath meanwhile.
            nature.note("whoever slept wakes up");
            sleeper.wakes_up_and_dies();
        }
        match ending {
            Some(ending) => life.end(ending),
            None => asleep = Some(life.falls_asleep()),
        }
        if over {
            break;
        }
        machine = (machine + 1 + nature.state().dice.below(machines - 1)) % machines;
    }
    drop(asleep);
    drop(simulation);
    let broken = nature.state().first_broken();
    let state = nature.state();
    Fate {
        seed,
        hours,
        seconds: nature::now(),
        lives: state.lives,
        events: state.chronicle.events(),
        hash: state.chronicle.hash(),
        outcomes: state.checker.outcomes(),
        broken,
    }
}

/// How a life ends; none where it falls asleep.
fn draw(nature: &Nature, over: bool, sleeper: bool) -> Option<Ending> {
    if over {
        return Some(Ending::Peace);
    }
    match nature.state().dice.below(10) {
        0..=2 => Some(Ending::Stopped),
        3..=6 if !sleeper => None,
        _ => Some(Ending::Killed),
    }
}

/// What becomes of an append, by the weather.
fn luck(state: &mut State) -> Luck {
    if state.dead {
        return Luck::CutOff;
    }
    let drawn = state.dice.below(8);
    let luck = match state.drive.condition {
        _ if state.peace => Luck::Good,
        Condition::Full => Luck::CutOff,
        Condition::Failing => {
            [Luck::Good, Luck::Unheard, Luck::Lost, Luck::Late, Luck::CutOff][drawn % 5]
        }
        _ if drawn == 0 => [Luck::Unheard, Luck::Lost, Luck::Late][state.dice.below(3)],
        _ => Luck::Good,
    };
    state.note(&format!("the log: {luck:?}"));
    luck
}

/// A machine that leads, or did.
struct Life {
    nature: Nature,
    runtime: Runtime,
    gateway: Gateway,
    kill: Arc<Notify>,
    /// What ends when it falls asleep: nobody else speaks to it from then on.
    around: Vec<JoinHandle<()>>,
    /// Whether it was killed, or something ended, before its time.
    dead: bool,
}

impl Life {
    /// A machine follows the log to its end, and leads.
    fn begin(
        nature: &Nature,
        folder: &Path,
        machine: usize,
        brokers: &Arc<Mutex<Brokers>>,
        ending: Option<Ending>,
    ) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without threads");
        let started = runtime.block_on(async {
            nature::life_begins();
            begin(nature, ending.unwrap_or(Ending::Killed));
            nature.note(&format!("machine {machine} is to lead"));
            lead(nature, &folder.join(format!("machine-{machine}.db")), brokers)
        });
        let gateway = match started {
            Ok(gateway) => gateway,
            Err(error) => {
                nature.state().checker.broken.push(format!("a machine does not lead: {error}"));
                return None;
            }
        };
        let kill = nature.state().kill.clone();
        let nature = nature.clone();
        Some(Self { nature, runtime, gateway, kill, around: Vec::new(), dead: false })
    }

    /// Leads for so many seconds.
    fn live(&mut self, seconds: f64, ending: Option<Ending>) {
        let Self { nature, runtime, gateway, kill, around, dead } = self;
        runtime.block_on(async {
            let router = gateway.router();
            let script = async {
                if ending == Some(Ending::Peace) {
                    make_peace(nature, &router, seconds).await;
                } else {
                    let (n, r) = (nature.clone(), router.clone());
                    around.push(tokio::spawn(look_back(n.clone(), r.clone())));
                    around.push(tokio::spawn(weather(n.clone())));
                    around.push(tokio::spawn(traffic(n, r)));
                    pause(seconds).await;
                }
            };
            *dead = dies(nature, gateway, kill, script).await;
            nature::life_ends(0.0);
        });
    }

    /// Stands still in the middle of everything. Others take it for dead.
    fn falls_asleep(self) -> Self {
        self.around.iter().for_each(JoinHandle::abort);
        self.nature.note("whoever leads falls asleep");
        let mut state = self.nature.state();
        state.checker.life_ends();
        state.lives += 1;
        drop(state);
        self
    }

    /// Goes on for some seconds, and is then killed.
    fn wakes_up_and_dies(self) {
        let Self { nature, runtime, gateway, kill, dead, .. } = self;
        if !dead {
            nature.state().drive.deadly = false;
            runtime.block_on(async {
                nature::life_begins();
                tokio::select! {
                    biased;
                    () = kill.notified() => {}
                    () = pause(8.0) => {}
                }
                nature::life_ends(0.0);
            });
        }
        drop(gateway);
        let mut state = nature.state();
        let before = std::mem::replace(&mut state.dead, true);
        drop(state);
        drop(runtime);
        nature.state().dead = before;
    }

    fn end(self, ending: Ending) {
        let Self { nature, runtime, gateway, kill, dead, .. } = self;
        runtime.block_on(async {
            nature::life_begins();
            end(&nature, gateway, &kill, if dead { None } else { Some(ending) }, 5.0).await;
        });
        drop(runtime);
        let mut state = nature.state();
        state.checker.life_ends();
        state.lives += 1;
    }
}

/// Has a machine follow the log to its end and say there that it leads.
fn lead(nature: &Nature, journal: &Path, brokers: &Arc<Mutex<Brokers>>) -> Result<Gateway, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let shelf = brokers.lock().unwrap().shelf.clone();
    let mut replica = Replica::open(journal, nature::wall()).map_err(|error| said(&error))?;
    let clocks = journal::Reader::open(journal).and_then(|reader| {
        use crate::journal::Archive as _;
        reader.clocks()
    });
    let clocks = clocks.map_err(|error| said(&error))?;
    loop {
        let behind = shelf.behind(replica.sequence());
        replica.apply(&behind).map_err(|error| said(&error))?;
        let moment = Moment { time: clocks.latest.time, wall: nature::wall() };
        let clock = Clock { moment, lived: clocks.lived };
        if replica.lead(&mut shelf.clone(), "a machine", clock).map_err(|error| said(&error))? {
            break;
        }
        // It waits until the brokers are reached again.
        nature.state().drive.condition = Condition::Sound;
    }
    drop(replica);
    // What had been refused and is there all the same, with those gone who could take it back.
    brokers.lock().unwrap().tell(&mut nature.state(), &[], Known::Before);
    let mut config = nature.state().plan.config(Path::new("nowhere"));
    config.journal = journal.into();
    let mut world = World::real(Arc::new(rules));
    world.wall = WallClock(nature::wall);
    world.starts = Starts::Durable;
    world.pictures = Some(brokers.lock().unwrap().pictures.clone());
    let machines = nature.clone();
    let epoch = shelf.behind(0).len() as u64;
    world.backends = Arc::new(move |server, _| {
        let index = server.name.get_ref()[1..].parse().expect("the servers are numbered");
        Ok(Arc::new(Machine { index, nature: machines.clone(), epoch }))
    });
    let (witness, witnessed) = (nature.clone(), brokers.clone());
    world.journal = Box::new(move |sqlite| {
        let (deposed, (reached, _)) = (Deposed::new(), watch::channel(0));
        let journal = Replicated::new(Replica::of(sqlite)?, shelf, deposed, reached);
        Ok(Box::new(Witness { journal, nature: witness, brokers: witnessed }))
    });
    Gateway::start(config, world).map_err(|error| said(&error))
}

/// Whether whoever was refused something may still take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Now,
    Before,
}

impl Brokers {
    /// Tells the checker what is new in the log, and was said to be written if it is among these.
    fn tell(&mut self, state: &mut State, written: &[Record], known: Known) {
        let messages = self.shelf.behind(self.seen as u64);
        self.seen += messages.len();
        for (_, message) in messages {
            let Ok(Message { says: Says::Records(records), .. }) = Message::read(&message) else {
                continue;
            };
            for record in records {
                match &record {
                    Record::Accepted(accepted) => {
                        let id = accepted.order.id.to_string();
                        if written.contains(&record) {
                            state.checker.synced(&id);
                        } else if known == Known::Before {
                            state.checker.resurrected(&id);
                        } else {
                            state.checker.doubtful(&id);
                        }
                    }
                    Record::Withdrawn(id) => state.checker.withdrawn(&id.to_string()),
                    Record::Ended { request, .. } => {
                        state.checker.end_synced(&request.to_string());
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The journal of a machine that leads, and what the checker is told of it.
struct Witness {
    journal: Replicated<Shelf>,
    nature: Nature,
    brokers: Arc<Mutex<Brokers>>,
}

impl Journal for Witness {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<journal::Fate>, JournalError> {
        let mut state = self.nature.state();
        for record in batch {
            if let Record::Ended { request, .. } = record {
                state.checker.end_written(&request.to_string());
            }
        }
        drop(state);
        let result = self.journal.append(batch);
        let written = |fates: &Vec<journal::Fate>| {
            let pairs = batch.iter().zip(fates);
            let written = pairs.filter(|(_, fate)| **fate == journal::Fate::Written);
            written.map(|(record, _)| record.clone()).collect::<Vec<_>>()
        };
        let written = result.as_ref().map(written).unwrap_or_default();
        let mut state = self.nature.state();
        self.brokers.lock().unwrap().tell(&mut state, &written, Known::Now);
        result
    }
}

#[test]
fn machines_under_a_seed_keep_every_promise() {
    keeps_every_promise(|seed| world(seed, super::SHORT, Fence::Up));
}

#[test]
fn the_same_seed_is_the_same_world_of_machines() {
    let [once, again] = [0, 1].map(|_| world(3, 0.4, Fence::Up));
    assert_eq!((once.events, once.hash), (again.events, again.hash));
}

#[test]
fn a_log_without_its_fence_is_found_out() {
    for seed in 1..=4 {
        // It ends as soon as that is found out.
        let broken = world(seed, LONG, Fence::Down).broken.expect("it is found out");
        println!("seed {seed}: {}", broken.lines().last().unwrap_or_default());
    }
}

/// Worlds for `ATELIER_WORLD_HOURS`, from `ATELIER_WORLD_SEED` on.
#[test]
#[ignore = "takes as long as it is told to"]
fn machines_for_hours() {
    for_hours(20.0, |seed| world(seed, LONG, Fence::Up));
}
