//! The simulator turned inside out: an episode that waits for whoever decides.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use scheduling::{
    Decision, Dispatched, Instance, Observation, Offer, Policy, Queues, Request, Residency, Row,
    Time, Traffic,
};

use crate::simulator::row;
use crate::virtual_time::simulate_telling;

/// One episode, decision by decision: [`crate::simulate`] for those who are asked from outside, as
/// environments of reinforcement learning are.
///
/// The same decisions give the same rows, to the last bit. Where runs stray or servers fail, a request may be
/// asked for more than once, and what it earned is known when it ends.
///
/// ```
/// use std::sync::Arc;
/// use scheduling::{Decision, Steps};
/// use simulation::{Episode, InstanceSource, Play, Scenario};
///
/// let scenario = Scenario::from_toml(include_str!("../../../scenarios/noisy.toml"))?;
/// let mut play = Play::new(Arc::new(scenario.instance(1, Episode::Training(0))));
/// let mut earned = 0.0;
/// while let Some(observation) = play.observation() {
///     let bounds = observation.offers[0].bounds;
///     let steps = bounds.clamp(Steps::saturating(30.0));
///     play.decide(Decision { server: 0, steps });
///     earned += play.take_reward();
/// }
/// earned += play.take_reward();
/// # Ok::<(), simulation::ScenarioError>(())
/// ```
pub struct Play {
    instance: Arc<Instance>,
    world: World,
    /// Of the requests that have ended, since somebody took it.
    reward: f64,
    /// Of the requests that have ended, in the order in which they did.
    rows: Vec<Row>,
}

enum World {
    /// Predictions come true.
    Ideal { queues: Box<Queues>, next: usize, arrived: usize },
    /// They do not: the simulator runs on a thread of its own, which waits for each decision.
    Events { told: Receiver<Told>, decisions: Sender<Decision>, asked: Option<Box<Asked>> },
}

/// What the thread of an episode tells.
enum Told {
    Ended(Row),
    Asked(Box<Asked>),
}

/// An observation that owns what it shows.
struct Asked {
    now: Time,
    request: Request,
    offers: Vec<Offer>,
    residencies: Vec<Residency>,
    traffic: Traffic,
}

impl Play {
    /// An episode that has not begun.
    pub fn new(instance: Arc<Instance>) -> Self {
        let world = if instance.is_ideal() {
            World::Ideal { queues: Box::new(Queues::new(instance.cluster())), next: 0, arrived: 0 }
        } else {
            begin(instance.clone())
        };
        Self { instance, world, reward: 0.0, rows: Vec::new() }
    }

    /// What the episode is of.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What is to be decided next; nothing once the episode is over. Waits until it is known.
    pub fn observation(&mut self) -> Option<Observation<'_>> {
        let objective = self.instance.objective();
        match &mut self.world {
            World::Ideal { queues, next, arrived } => {
                let request = self.instance.requests().get(*next)?;
                if *arrived == *next {
                    queues.arrive(request);
                    *arrived += 1;
                }
                Some(queues.observe(request.arrival, request, objective))
            }
            World::Events { told, asked, .. } => {
                while asked.is_none() {
                    match told.recv() {
                        Ok(Told::Ended(row)) => {
                            self.reward += row.reward;
                            self.rows.push(row);
                        }
                        Ok(Told::Asked(next)) => *asked = Some(next),
                        // The simulator has come to its end.
                        Err(_) => return None,
                    }
                }
                let asked = asked.as_deref()?;
                Some(Observation {
                    now: asked.now,
                    request: &asked.request,
                    offers: &asked.offers,
                    objective,
                    residencies: &asked.residencies,
                    traffic: &asked.traffic,
                })
            }
        }
    }

    /// Decides what [`Self::observation`] shows. Of many episodes, let all decide before the first is
    /// observed again: they go on side by side.
    ///
    /// # Panics
    /// If there is nothing to decide, or no such offer.
    pub fn decide(&mut self, decision: Decision) {
        let observation = self.observation().expect("the episode is not over");
        let offers = observation.offers.len();
        assert!(
            decision.server < offers,
            "offer {} is taken: allowed is 0 to {}",
            decision.server,
            offers - 1
        );
        match &mut self.world {
            World::Ideal { queues, next, .. } => {
                let request = &self.instance.requests()[*next];
                let dispatched: Dispatched = queues.dispatch(request.arrival, decision);
                let row = row(&self.instance, *next, decision, &dispatched);
                *next += 1;
                self.reward += row.reward;
                self.rows.push(row);
            }
            World::Events { decisions, asked, .. } => {
                *asked = None;
                decisions.send(decision).expect("the simulator waits for it");
            }
        }
    }

    /// What requests have earned that ended since this was asked last: eq. (5).
    pub fn take_reward(&mut self) -> f64 {
        std::mem::take(&mut self.reward)
    }

    /// What happened, in order of arrival, once the episode is over.
    pub fn into_rows(mut self) -> Vec<Row> {
        self.rows.sort_by_key(|row| row.request);
        self.rows
    }
}

/// Starts the simulator of an instance on a thread.
fn begin(instance: Arc<Instance>) -> World {
    let (telling, told) = channel();
    let (decisions, decided) = channel();
    let simulator = move || {
        let rows = telling.clone();
        let mut policy = Outside { telling, decided };
        simulate_telling(&instance, &mut policy, &mut |row| {
            drop(rows.send(Told::Ended(row.clone())));
        });
    };
    thread::Builder::new()
        .name("episode".into())
        .spawn(simulator)
        .expect("a thread can be started");
    World::Events { told, decisions, asked: None }
}

/// The policy of an episode that is decided from outside.
struct Outside {
    telling: Sender<Told>,
    decided: Receiver<Decision>,
}

impl Policy for Outside {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let asked = Asked {
            now: observation.now,
            request: *observation.request,
            offers: observation.offers.to_vec(),
            residencies: observation.residencies.to_vec(),
            traffic: observation.traffic.clone(),
        };
        let told = self.telling.send(Told::Asked(Box::new(asked)));
        match told.ok().and_then(|()| self.decided.recv().ok()) {
            Some(decision) => decision,
            // Nobody is interested in the rest of the episode: its thread ends here, without a word.
            None => std::panic::resume_unwind(Box::new("the episode was left")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Episode, InstanceSource, Scenario, simulate};
    use scheduling::{Generator, Purpose, Steps};

    const SEED: u64 = 11;

    fn instance(text: &str, requests: usize) -> Arc<Instance> {
        let scenario = Scenario::from_toml(text).unwrap();
        let short = scenario.with(|settings| settings.requests = requests).unwrap();
        Arc::new(short.instance(SEED, Episode::Training(0)))
    }

    /// Any offer, any number of its steps.
    struct Anything(Generator);

    impl Policy for Anything {
        fn decide(&mut self, observation: &Observation<'_>) -> Decision {
            let server = self.0.below(observation.offers.len());
            let steps = Steps::saturating(1.0 + self.0.below(200) as f64);
            Decision { server, steps: observation.offers[server].bounds.clamp(steps) }
        }
    }

    fn anything() -> Anything {
        Anything(Generator::new(SEED, Purpose::Policy, 0))
    }

    const SCENARIOS: [&str; 5] = [
        include_str!("../../../scenarios/paper.toml"),
        include_str!("../../../scenarios/contended.toml"),
        include_str!("../../../scenarios/fleet-mixed.toml"),
        include_str!("../../../scenarios/noisy.toml"),
        include_str!("../../../scenarios/failures.toml"),
    ];

    #[test]
    fn the_same_decisions_give_the_same_rows_to_the_last_bit() {
        println!("seed {SEED}");
        for text in SCENARIOS {
            let instance = instance(text, 300);
            let (mut policy, mut play) = (anything(), Play::new(instance.clone()));
            let (mut earned, mut decided) = (0.0, 0);
            while let Some(observation) = play.observation() {
                let decision = policy.decide(&observation);
                play.decide(decision);
                decided += 1;
                earned += play.take_reward();
            }
            earned += play.take_reward();
            assert!(decided >= 300, "{decided}");
            let rows = play.into_rows();
            assert_eq!(rows, simulate(&instance, &mut anything()));
            let of_rows: f64 = rows.iter().map(|row| row.reward).sum();
            assert!((earned - of_rows).abs() < 1e-6 * of_rows.abs(), "{earned} and {of_rows}");
        }
    }

    #[test]
    fn to_look_changes_nothing_and_an_episode_may_be_left() {
        for text in SCENARIOS {
            let mut play = Play::new(instance(text, 50));
            for _ in 0..7 {
                let [once, again] = [0, 1].map(|_| {
                    let observation = play.observation().unwrap();
                    (observation.offers.to_vec(), observation.traffic.clone())
                });
                assert_eq!(once, again);
                play.decide(Decision { server: 0, steps: once.0[0].bounds.min });
            }
            drop(play);
        }
    }

    #[test]
    #[should_panic(expected = "offer 99 is taken: allowed is 0 to")]
    fn offers_that_there_are_not_are_refused() {
        let mut play = Play::new(instance(SCENARIOS[4], 5));
        play.decide(Decision { server: 99, steps: Steps::MIN });
    }
}
