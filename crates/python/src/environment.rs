//! Many episodes side by side, one step at a time.

use std::sync::{Arc, Mutex, PoisonError};

use numpy::ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use scheduling::{Cluster, Decision, Environment as _, Objective, Steps};
use simulation::{BatchedEnvironment, Episode, EpisodeSource, InstanceSource, Play};

use crate::observation;
use crate::refused;
use crate::rows::{self, Kind, nearest};
use crate::sources::Source;

/// Training episodes of a source, one in each lane. What is observed is a row of numbers for each of them.
#[pyclass(frozen, module = "atelier._core")]
pub(crate) struct Environment {
    lanes: Mutex<Lanes>,
    /// J
    #[pyo3(get)]
    servers: usize,
    /// I: decisions of an episode; more where requests are decided again.
    #[pyo3(get)]
    requests: usize,
    /// Numbers in a row.
    #[pyo3(get)]
    width: usize,
    #[pyo3(get)]
    lanes_count: usize,
}

struct Lanes {
    instances: Arc<dyn InstanceSource>,
    seed: u64,
    /// The first episode that no lane has begun.
    next: u64,
    under_way: UnderWay,
}

/// The episodes.
enum UnderWay {
    /// With the paper's state.
    Paper(Box<BatchedEnvironment<Arc<dyn EpisodeSource>>>),
    /// With what servers offer.
    Offers(Vec<Lane>),
}

/// An episode of offers.
struct Lane {
    play: Play,
    /// What policies are shown of it, once one has asked: the same for all of the episode, by which they know it.
    shown: Option<(Arc<Cluster>, Arc<Objective>)>,
}

/// What a step gives: observations, rewards, whether each episode is over, and whether each decision was replaced.
type Stepped<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
    Bound<'py, PyArray1<bool>>,
);

#[pymethods]
impl Environment {
    #[new]
    #[pyo3(signature = (source, *, lanes=1, observation="paper", seed=1))]
    fn new(source: Source<'_>, lanes: usize, observation: &str, seed: u64) -> PyResult<Self> {
        if !(1..=65_536).contains(&lanes) {
            return Err(refused(format!("lanes is {lanes}: allowed is 1 to 65536")));
        }
        let source = source.find()?;
        let (instances, episodes) = (source.instances(), source.episodes()?);
        let (servers, requests) = (episodes.servers(), episodes.requests());
        let kind: Kind = observation.parse().map_err(refused)?;
        let under_way = match kind {
            Kind::Paper if instances.is_plain() => {
                UnderWay::Paper(Box::new(BatchedEnvironment::new(episodes, seed, lanes)))
            }
            Kind::Paper => {
                return Err(refused(format!(
                    "observation is \"paper\", and {} has models, sizes, noise or failures: \
                     allowed is \"offers\"",
                    instances.name()
                )));
            }
            Kind::Offers => UnderWay::Offers(Vec::new()),
        };
        let width = kind.width(servers);
        let mut lanes_of = Lanes { instances, seed, next: 0, under_way };
        lanes_of.begin(lanes, 0);
        Ok(Self { lanes: Mutex::new(lanes_of), servers, requests, width, lanes_count: lanes })
    }

    /// Starts the lanes on the next episodes, or on those from `first`, under this seed or the one before, and returns
    /// what is observed there.
    #[pyo3(signature = (*, seed=None, first=None))]
    fn reset<'py>(
        &self,
        py: Python<'py>,
        seed: Option<u64>,
        first: Option<u64>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        if let Some(first) = first.filter(|&first| first >= 1 << 62) {
            return Err(refused(format!("first is {first}: allowed is below 2^62")));
        }
        let seen = py.detach(|| {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(seed) = seed.filter(|&seed| seed != lanes.seed) {
                lanes.reseed(seed, self.lanes_count);
            }
            let first = first.unwrap_or(lanes.next);
            lanes.begin(self.lanes_count, first);
            lanes.observe(self.lanes_count, self.width)
        });
        Ok(seen.into_pyarray(py))
    }

    /// Starts the next episodes in the lanes whose own are over, and returns what is observed in all.
    fn renew<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        let seen = py.detach(|| {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.renew(self.lanes_count);
            lanes.observe(self.lanes_count, self.width)
        });
        seen.into_pyarray(py)
    }

    /// Takes one decision in each lane, `[lanes × 2]`: the position of the server or offer, and steps less one. Steps
    /// outside the bounds of an offer become the nearest within; an offer that there is not becomes the one that would
    /// be finished first. Lanes that are over wait for the others. Once all are, reset.
    fn step<'py>(
        &self,
        py: Python<'py>,
        actions: PyReadonlyArray2<'py, i64>,
    ) -> PyResult<Stepped<'py>> {
        let actions = actions.as_array();
        if actions.dim() != (self.lanes_count, 2) {
            let (rows, columns) = actions.dim();
            return Err(refused(format!(
                "actions are {rows} × {columns}: allowed is {} × 2",
                self.lanes_count
            )));
        }
        let mut decisions = Vec::with_capacity(self.lanes_count);
        for (lane, action) in actions.rows().into_iter().enumerate() {
            let (server, steps) = (action[0], action[1]);
            let decision = usize::try_from(server)
                .ok()
                .filter(|&server| server < self.servers)
                .zip(u32::try_from(steps).ok().and_then(|steps| Steps::new(steps + 1).ok()));
            let (server, steps) = decision.ok_or_else(|| {
                refused(format!(
                    "lane {lane} takes [{server}, {steps}]: allowed is [0 to {}, 0 to {}]",
                    self.servers - 1,
                    Steps::COUNT - 1
                ))
            })?;
            decisions.push(Decision { server, steps });
        }
        let (seen, rewards, over, replaced) = py.detach(|| {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            let mut rewards = vec![0.0; self.lanes_count];
            let mut replaced = vec![false; self.lanes_count];
            lanes.step(&decisions, &mut rewards, &mut replaced).map_err(refused)?;
            let seen = lanes.observe(self.lanes_count, self.width);
            // The last rewards come to light when the next request is waited for.
            let over = lanes.over(&mut rewards);
            Ok::<_, PyErr>((seen, rewards, over, replaced))
        })?;
        Ok((
            seen.into_pyarray(py),
            Array1::from(rewards).into_pyarray(py),
            Array1::from(over).into_pyarray(py),
            Array1::from(replaced).into_pyarray(py),
        ))
    }

    /// What a policy would see in a lane; None once its episode is over, and in the paper's state.
    fn observation(
        &self,
        py: Python<'_>,
        lane: usize,
    ) -> PyResult<Option<observation::Observation>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let UnderWay::Offers(plays) = &mut lanes.under_way else { return Ok(None) };
        let lane = plays.get_mut(lane).ok_or_else(|| {
            refused(format!("lane is {lane}: allowed is 0 to {}", self.lanes_count - 1))
        })?;
        let instance = lane.play.instance();
        let (cluster, objective) = lane.shown.get_or_insert_with(|| {
            (Arc::new(instance.cluster().clone()), Arc::new(instance.objective().clone()))
        });
        let seen = lane.play.observation();
        seen.map(|seen| observation::Observation::of(py, &seen, objective, cluster)).transpose()
    }
}

impl Lanes {
    /// Episodes `first`, `first + 1`, …
    fn begin(&mut self, lanes: usize, first: u64) {
        self.next = first + lanes as u64;
        match &mut self.under_way {
            UnderWay::Paper(environment) => environment.reset(first),
            UnderWay::Offers(plays) => {
                let lane = |episode| begun(&*self.instances, self.seed, episode);
                *plays = (first..self.next).map(lane).collect();
            }
        }
    }

    fn renew(&mut self, lanes: usize) {
        match &mut self.under_way {
            UnderWay::Paper(environment) if environment.done() => self.begin(lanes, self.next),
            UnderWay::Paper(_) => {}
            UnderWay::Offers(plays) => {
                for lane in plays {
                    if lane.play.observation().is_none() {
                        *lane = begun(&*self.instances, self.seed, self.next);
                        self.next += 1;
                    }
                }
            }
        }
    }

    fn reseed(&mut self, seed: u64, lanes: usize) {
        self.seed = seed;
        self.next = 0;
        if let UnderWay::Paper(environment) = &mut self.under_way {
            let episodes = environment.source().clone();
            **environment = BatchedEnvironment::new(episodes, seed, lanes);
        }
    }

    fn step(
        &mut self,
        decisions: &[Decision],
        rewards: &mut [f64],
        replaced: &mut [bool],
    ) -> Result<(), &'static str> {
        match &mut self.under_way {
            UnderWay::Paper(environment) => {
                if environment.done() {
                    return Err("the episodes are over: allowed is reset");
                }
                environment.step(decisions, rewards);
            }
            UnderWay::Offers(plays) => {
                let mut going_on = false;
                for (number, Lane { play, .. }) in plays.iter_mut().enumerate() {
                    let Some(observation) = play.observation() else { continue };
                    going_on = true;
                    let nearest = nearest(&observation, decisions[number]);
                    replaced[number] = nearest != decisions[number];
                    play.decide(nearest);
                }
                if !going_on {
                    return Err("the episodes are over: allowed is reset");
                }
                for (reward, Lane { play, .. }) in rewards.iter_mut().zip(plays) {
                    *reward = play.take_reward();
                }
            }
        }
        Ok(())
    }

    /// What is observed in each lane; zeros once its episode is over.
    fn observe(&mut self, lanes: usize, width: usize) -> Array2<f32> {
        let mut seen = Array2::zeros((lanes, width));
        let rows = seen.as_slice_mut().expect("it has just been made in one piece");
        let rows = rows.chunks_exact_mut(width);
        match &mut self.under_way {
            UnderWay::Paper(environment) => {
                let servers = environment.servers();
                let lanes = environment.backlog().chunks_exact(servers);
                let requests = environment.slack().iter().zip(environment.penalty());
                for ((row, backlog), (&slack, &penalty)) in rows.zip(lanes).zip(requests) {
                    rows::paper(backlog.iter().copied(), slack, penalty, row);
                }
            }
            UnderWay::Offers(plays) => {
                for (row, Lane { play, .. }) in rows.zip(plays) {
                    if let Some(observation) = play.observation() {
                        Kind::Offers.write(&observation, row);
                    }
                }
            }
        }
        seen
    }

    /// Which episodes are over. What their last runs earned is added to the rewards.
    fn over(&mut self, rewards: &mut [f64]) -> Vec<bool> {
        match &mut self.under_way {
            UnderWay::Paper(environment) => vec![environment.done(); rewards.len()],
            UnderWay::Offers(plays) => plays
                .iter_mut()
                .zip(rewards)
                .map(|(Lane { play, .. }, reward)| {
                    let over = play.observation().is_none();
                    *reward += play.take_reward();
                    over
                })
                .collect(),
        }
    }
}

/// A training episode that has just begun.
fn begun(instances: &dyn InstanceSource, seed: u64, episode: u64) -> Lane {
    let instance = instances.instance(seed, Episode::Training(episode));
    Lane { play: Play::new(Arc::new(instance)), shown: None }
}
