//! One life of the gateway, from a start to a stop or a kill, within a runtime of its own: ending the
//! runtime ends it as a kill would, in the middle of everything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::Notify;

use super::clients::{Client, traffic};
use super::disk::{self, Condition as DiskCondition, Disk};
use super::machine::{Condition, Machine, pause};
use super::nature::{self, Nature};
use crate::gateway::{Gateway, World};
use crate::policies::rules;
use crate::threads::simulated;
use crate::timeline::WallClock;

/// How a life ends that nothing ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Stopped,
    Killed,
    /// At peace, when all that was acknowledged has ended.
    Peace,
}

/// Lives for so many seconds at most.
pub(super) fn live(nature: &Nature, folder: &Path, seconds: f64, ending: Ending) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads");
    let simulation = {
        let nature = nature.clone();
        simulated::simulate(move |threads, moment| disk::delay(&nature, threads, moment))
    };
    runtime.block_on(async {
        nature::life_begins();
        begin(nature, ending);
        let mut gateway = match start(nature, folder) {
            Ok(gateway) => gateway,
            Err(error) => {
                nature.state().checker.broken.push(format!("the gateway does not start: {error}"));
                return;
            }
        };
        let router = gateway.router();
        let kill = nature.state().kill.clone();
        let script = async {
            if ending == Ending::Peace {
                make_peace(nature, &router, seconds).await;
            } else {
                tokio::spawn(look_back(nature.clone(), router.clone()));
                tokio::spawn(weather(nature.clone()));
                tokio::spawn(traffic(nature.clone(), router.clone()));
                pause(seconds).await;
            }
        };
        let dead = dies(nature, &mut gateway, &kill, script).await;
        end(nature, gateway, &kill, if dead { None } else { Some(ending) }, 20.0).await;
    });
    drop(runtime);
    drop(simulation);
    nature.state().checker.life_ends();
    nature.state().lives += 1;
    disk::after_a_kill(nature);
}

/// Goes through a script. Whether it was killed meanwhile, or something ended.
pub(super) async fn dies(
    nature: &Nature,
    gateway: &mut Gateway,
    kill: &Notify,
    script: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        biased;
        () = kill.notified() => true,
        ended = gateway.ended() => {
            nature.state().checker.broken.push(ended.to_string());
            true
        }
        () = script => false,
    }
}

/// Ends as it is to end, unless it is dead already, and is off for some time: so many seconds in the mean.
pub(super) async fn end(
    nature: &Nature,
    gateway: Gateway,
    kill: &Notify,
    ending: Option<Ending>,
    off: f64,
) {
    match ending {
        None => {}
        Some(Ending::Killed) => nature.state().die(),
        Some(Ending::Stopped | Ending::Peace) => {
            nature.note("is told to stop");
            let stop = gateway.stop(Duration::from_secs(20));
            tokio::select! {
                biased;
                () = kill.notified() => {}
                () = stop => nature.note("has stopped"),
            }
        }
    }
    // What is dropped from here on is dropped by nobody's will.
    nature.state().dead = true;
    let mut state = nature.state();
    state.time_goes_on();
    let off = state.dice.exponential(off);
    drop(state);
    nature::life_ends(off);
}

pub(super) fn begin(nature: &Nature, ending: Ending) {
    let mut state = nature.state();
    let state = &mut *state;
    state.dead = false;
    state.latest = nature::now();
    // A kill that came at the end of the last life.
    state.kill = Arc::default();
    state.peace = ending == Ending::Peace;
    state.drive.deadly = state.dice.below(2) == 0;
    if state.peace {
        state.drive.condition = DiskCondition::Sound;
        for server in 0..state.servers.len() {
            state.turns(server, Condition::Sound);
        }
    }
    state.note("a life begins");
}

fn start(nature: &Nature, folder: &Path) -> Result<Gateway, crate::gateway::StartError> {
    let config = nature.state().plan.config(folder);
    let mut world = World::real(Arc::new(rules));
    world.wall = WallClock(nature::wall);
    let machines = nature.clone();
    world.backends = Arc::new(move |server, _| {
        let index = server.name.get_ref()[1..].parse().expect("the servers are numbered");
        Ok(Arc::new(Machine { index, nature: machines.clone(), epoch: 0 }))
    });
    let disk = nature.clone();
    world.journal = Box::new(move |sqlite| Ok(Box::new(Disk { sqlite, nature: disk })));
    Gateway::start(config, world)
}

/// Things change, at any time.
pub(super) async fn weather(nature: Nature) {
    loop {
        let wait = nature.state().dice.exponential(40.0);
        pause(wait).await;
        let mut state = nature.state();
        let kind = state.dice.below(10);
        match kind {
            0 => {
                let jump = a_jump(&mut state);
                state.note(&format!("the wall clock jumps by {jump} s"));
                nature::set_wall_clock(jump);
            }
            1..=3 => {
                use DiskCondition::{Failing, Full, Slow, Sound};
                let condition = [Sound, Sound, Sound, Slow, Full, Failing][state.dice.below(6)];
                state.drive.condition = condition;
                state.note(&format!("the disk is {condition:?}"));
            }
            _ => {
                use Condition::{Busy, Down, Flaky, Hanging, Slow, Sound};
                let conditions =
                    [Sound, Sound, Sound, Sound, Sound, Slow, Flaky, Flaky, Busy, Hanging, Down];
                let condition = conditions[state.dice.below(conditions.len())];
                let servers = state.servers.len();
                let server = state.dice.below(servers);
                state.turns(server, condition);
            }
        }
    }
}

/// Seconds, mostly some and seldom years.
fn a_jump(state: &mut nature::State) -> f64 {
    let size = [1.0, 60.0, 3_600.0, 86_400.0, 1e7][state.dice.below(5)];
    state.dice.between(-size, size)
}

/// After a start, all that was acknowledged is found again: whatever is open, what came last, and
/// some of the rest.
pub(super) async fn look_back(nature: Nature, router: Router) {
    let ids = {
        let mut state = nature.state();
        let (open, ended) = state.checker.acknowledged();
        let mut ids = open;
        let latest = ended.len().saturating_sub(30);
        ids.extend_from_slice(&ended[latest..]);
        for _ in 0..latest.min(20) {
            ids.push(ended[state.dice.below(latest)].clone());
        }
        ids
    };
    for (owner, id) in ids {
        let client = Client::new(&nature, &router, owner);
        client.asks(&id, None).await;
    }
}

/// Nothing goes wrong any more: all that was acknowledged ends, and can be seen by its owner.
pub(super) async fn make_peace(nature: &Nature, router: &Router, seconds: f64) {
    /// Between two looks.
    const LOOK: f64 = 60.0;
    let mut left = seconds;
    loop {
        let (open, _) = nature.state().checker.acknowledged();
        if open.is_empty() {
            break;
        }
        if left <= 0.0 {
            nature.state().checker.all_must_have_ended();
            break;
        }
        pause(LOOK).await;
        left -= LOOK;
        for (owner, id) in open {
            let client = Client::new(nature, router, owner);
            client.asks(&id, None).await;
        }
    }
    let (_, ended) = nature.state().checker.acknowledged();
    for (owner, id) in ended {
        let client = Client::new(nature, router, owner);
        client.asks(&id, None).await;
        client.asks_for_the_picture(&id).await;
    }
}
