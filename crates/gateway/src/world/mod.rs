//! A world under a seed: the whole gateway, its journal, its disk, its servers, its clients and its
//! clocks in one simulation, in which everything goes wrong that can.
//!
//! One thread and one seed decide all of it, in the runtime's own time, so hours pass in seconds and
//! whatever breaks breaks again:
//!
//! ```text
//! ATELIER_WORLD_SEED=7 cargo test --release -p gateway world
//! ATELIER_WORLD_HOURS=500 cargo test --release -p gateway world -- --ignored --nocapture
//! ```
//!
//! What is real: everything from the HTTP routes to SQLite. What is simulated: threads, whose calls
//! are made by the runtime ([`crate::threads::simulated`]); time; the [`disk`] under the journal; the
//! [`machine`]s; and the [`clients`]. The [`checker`] knows nothing but what they tell it.

mod checker;
mod chronicle;
mod clients;
mod disk;
mod life;
mod machine;
mod machines;
mod nature;
mod plan;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use scheduling::{Generator, Purpose};

use self::disk::Lie;
use self::life::{Ending, live};
use self::nature::Nature;

/// What became of a world.
struct Fate {
    seed: u64,
    /// Hours after which it was let come to its end.
    hours: f64,
    /// Seconds that it lasted.
    seconds: f64,
    lives: usize,
    events: u64,
    hash: u64,
    outcomes: BTreeMap<String, usize>,
    /// The first broken rule, and what happened before.
    broken: Option<String>,
}

/// Lets a world of this seed last for so many hours.
fn world(seed: u64, hours: f64, lie: Option<Lie>) -> Fate {
    let folder = folder();
    nature::reset_clocks();
    let nature = Nature::new(Generator::new(seed, Purpose::Search, 0), folder.path().into());
    nature.state().drive.lie = lie;
    let plan = nature.state().plan.toml.clone();
    nature.note(&plan);
    let mut broken = None;
    while broken.is_none() {
        let over = nature::now() > hours * 3600.0;
        let (seconds, ending) = {
            let mut state = nature.state();
            if over {
                (PEACE, Ending::Peace)
            } else {
                let ending = if state.chance(0.3) { Ending::Stopped } else { Ending::Killed };
                (state.dice.between(1.5, 8.5).exp(), ending)
            }
        };
        live(&nature, folder.path(), seconds, ending);
        broken = nature.state().first_broken();
        if over {
            break;
        }
    }
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

/// A folder that is forgotten with the world, in memory where there is such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

impl Fate {
    /// # Panics
    /// If a rule was broken.
    fn must_be_good(&self) {
        if let Some(broken) = &self.broken {
            let (hours, ignored) = if self.hours > SHORT {
                (" ATELIER_WORLD_HOURS=1", " -- --ignored")
            } else {
                ("", "")
            };
            panic!(
                "{broken}\nATELIER_WORLD_SEED={}{hours} cargo test --release -p gateway \
                 world{ignored} replays it",
                self.seed
            );
        }
    }

    fn tell(&self) {
        println!(
            "seed {}: {:.1} h, {} lives, {} events, hash {:016x}, {:?}",
            self.seed,
            self.seconds / 3600.0,
            self.lives,
            self.events,
            self.hash,
            self.outcomes
        );
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn a_world_under_a_seed_keeps_every_promise() {
    keeps_every_promise(|seed| world(seed, SHORT, None));
}

/// A few seeds, and that of `ATELIER_WORLD_SEED`: all of it is good, and enough of everything comes about.
fn keeps_every_promise(world: impl Fn(u64) -> Fate) {
    let mut outcomes = BTreeMap::<String, usize>::new();
    for seed in number("ATELIER_WORLD_SEED").into_iter().chain(1..=5) {
        println!("seed {seed}");
        let fate = world(seed);
        fate.tell();
        fate.must_be_good();
        for (outcome, count) in fate.outcomes {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    for outcome in ["completed", "failed", "cancelled", "expired"] {
        assert!(outcomes.get(outcome).is_some_and(|count| *count > 10), "{outcomes:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [1, 2] {
        let [once, again] = [0, 1].map(|_| world(seed, 0.6, None));
        assert_eq!((once.events, once.hash), (again.events, again.hash), "seed {seed}");
    }
    assert_ne!(world(2, 0.01, None).hash, world(3, 0.01, None).hash);
}

#[test]
fn a_disk_that_lies_is_found_out() {
    for (lie, rules) in [
        (Lie::Early, ["was acknowledged before", "runs before the disk"]),
        // Found out after a kill.
        (Lie::Hidden, ["is not found", "runs after its end was told"]),
    ] {
        for seed in 1..=4 {
            // It ends as soon as the lie is found out; some hours have a single kill.
            let broken = world(seed, LONG, Some(lie)).broken.expect("it is found out");
            assert!(rules.iter().any(|rule| broken.contains(rule)), "{lie:?}, {seed}: {broken}");
        }
    }
}

/// Seconds within which all must have ended at the end.
const PEACE: f64 = 20_000.0;
/// Hours of a world in every test run.
const SHORT: f64 = 0.4;
/// Hours of each world where they run for as long as they are told to.
const LONG: f64 = 4.0;

/// Worlds for `ATELIER_WORLD_HOURS`, from `ATELIER_WORLD_SEED` on, one after the other on each core.
#[test]
#[ignore = "takes as long as it is told to"]
fn worlds_for_hours() {
    for_hours(100.0, |seed| world(seed, LONG, None));
}

fn for_hours(otherwise: f64, world: impl Fn(u64) -> Fate + Sync) {
    let hours = number("ATELIER_WORLD_HOURS").map_or(otherwise, |hours| hours as f64);
    let start = Instant::now();
    let seeds = AtomicU64::new(number("ATELIER_WORLD_SEED").unwrap_or(1000));
    let lasted = Mutex::new(0.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min((hours / LONG).ceil() as usize) {
            scope.spawn(|| {
                while *lasted.lock().unwrap() < hours {
                    let fate = world(seeds.fetch_add(1, Ordering::Relaxed));
                    fate.tell();
                    fate.must_be_good();
                    *lasted.lock().unwrap() += fate.seconds / 3600.0;
                }
            });
        }
    });
    let (lasted, minutes) = (lasted.into_inner().unwrap(), start.elapsed().as_secs_f64() / 60.0);
    println!("{lasted:.0} h in {minutes:.2} minutes: {:.0} h a minute", lasted / minutes);
}
