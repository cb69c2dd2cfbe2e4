//! All that surrounds the gateway, and outlives it: dice, clocks, what happened so far, the state of
//! the disk and of the servers.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use scheduling::Generator;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::checker::Checker;
use super::chronicle::Chronicle;
use super::disk::Drive;
use super::machine::Server;
use super::plan::Plan;

/// Shared by whatever acts in a world. All of it runs on one thread.
#[derive(Clone)]
pub(super) struct Nature(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) dice: Generator,
    pub(super) plan: Arc<Plan>,
    pub(super) chronicle: Chronicle,
    pub(super) checker: Checker,
    pub(super) drive: Drive,
    pub(super) servers: Vec<Server>,
    /// Ends the present life where it is.
    pub(super) kill: Arc<Notify>,
    /// Nothing happens any more in this life.
    pub(super) dead: bool,
    /// Nothing goes wrong any more.
    pub(super) peace: bool,
    /// Bodies that were sent so far.
    pub(super) bodies: usize,
    /// Clients so far.
    pub(super) clients: u64,
    pub(super) lives: usize,
    /// Until when the checker knows of the time of gateways.
    pub(super) latest: f64,
    broken: Option<String>,
}

/// The clocks of the world on this thread.
#[derive(Clone, Copy)]
struct Clocks {
    /// When the present life began, by the runtime's clock.
    life: Option<Instant>,
    /// Seconds of the world when it began.
    before: f64,
    /// What the wall clock shows beyond the seconds of the world.
    wall: f64,
}

thread_local! {
    static CLOCKS: Cell<Clocks> =
        const { Cell::new(Clocks { life: None, before: 0.0, wall: 0.0 }) };
}

/// Seconds since the world began.
pub(super) fn now() -> f64 {
    let clocks = CLOCKS.get();
    clocks.before + clocks.life.map_or(0.0, |life| life.elapsed().as_secs_f64())
}

/// What the wall clock shows.
pub(super) fn wall() -> f64 {
    now() + CLOCKS.get().wall
}

/// Sets the wall clock ahead, or back.
pub(super) fn set_wall_clock(by: f64) {
    let clocks = CLOCKS.get();
    CLOCKS.set(Clocks { wall: clocks.wall + by, ..clocks });
}

/// A world begins.
pub(super) fn reset_clocks() {
    CLOCKS.set(Clocks { life: None, before: 0.0, wall: 1.8e9 });
}

/// A life begins, within its runtime.
pub(super) fn life_begins() {
    CLOCKS.set(Clocks { life: Some(Instant::now()), ..CLOCKS.get() });
}

/// A life ends, still within its runtime, and for so long there is no other.
pub(super) fn life_ends(pause: f64) {
    let before = now() + pause;
    CLOCKS.set(Clocks { life: None, before, ..CLOCKS.get() });
}

impl Nature {
    pub(super) fn new(mut dice: Generator, folder: PathBuf) -> Self {
        let plan = Arc::new(Plan::draw(&mut dice));
        let servers = plan.servers.iter().map(|_| Server::default()).collect();
        Self(Arc::new(Mutex::new(State {
            dice,
            checker: Checker::new(plan.keep, plan.remember),
            plan,
            chronicle: Chronicle::new(),
            drive: Drive::new(folder),
            servers,
            kill: Arc::new(Notify::new()),
            dead: false,
            peace: false,
            bodies: 0,
            clients: 0,
            lives: 0,
            latest: 0.0,
            broken: None,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    pub(super) fn note(&self, event: &str) {
        self.state().note(event);
    }
}

impl State {
    /// Takes note of an event at the present.
    pub(super) fn note(&mut self, event: &str) {
        if self.dead {
            return;
        }
        self.time_goes_on();
        self.chronicle.note(now(), event);
        self.first_broken();
    }

    /// The checker hears what time it is.
    pub(super) fn time_goes_on(&mut self) {
        let now = now();
        if now > self.latest {
            self.checker.time_goes_on(now - self.latest);
            self.latest = now;
        }
    }

    /// The first rule that was broken, with what had happened until then.
    pub(super) fn first_broken(&mut self) -> Option<String> {
        if self.broken.is_none()
            && let Some(rule) = self.checker.broken.first()
        {
            let rule = self.chronicle.named(rule);
            self.broken = Some(format!("{}\n{rule}", self.chronicle.latest()));
            self.kill.notify_one();
        }
        self.broken.clone()
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.dice.uniform() < share
    }

    /// Whether something goes wrong that does so this often.
    pub(super) fn fault(&mut self, share: f64) -> bool {
        self.chance(share) && !self.peace
    }

    /// The process dies here.
    pub(super) fn die(&mut self) {
        self.note("killed");
        self.dead = true;
        self.kill.notify_one();
    }
}
