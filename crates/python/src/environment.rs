//! Many episodes side by side, one step at a time.

use std::sync::{Arc, Mutex, PoisonError};

use numpy::ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use scheduling::{
    Cluster, Decision, Environment as _, Objective, Observation, Steps, TardinessPenalty,
};
use simulation::{BatchedEnvironment, Episode, EpisodeSource, InstanceSource, Play};

use crate::observation;
use crate::refused;
use crate::sources::Source;

/// Training episodes of a source, one in each lane.
///
/// What is observed is a row of numbers for each lane:
/// - `paper`: m_1, …, m_J in seconds, o_t in seconds, and o_p, the state of §III-A;
/// - `offers`: seconds to the due time, one 1 among three penalties, size, mean seconds between arrivals (0 before
///   the second), then for each of J offers: 1 if there is one, backlog, load, overhead, steps per second, fewest and
///   most steps, and sigma.
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
    kind: Kind,
}

enum Kind {
    /// The paper's state.
    Paper(Box<BatchedEnvironment<Arc<dyn EpisodeSource>>>),
    /// What servers offer.
    Offers(Vec<Play>),
}

/// Numbers of a request, and of each offer.
const OF_REQUEST: usize = 6;
const OF_OFFER: usize = 8;

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
        let (kind, width) = match observation {
            "paper" if instances.is_plain() => {
                (Kind::Paper(Box::new(BatchedEnvironment::new(episodes, seed, lanes))), servers + 2)
            }
            "paper" => {
                return Err(refused(format!(
                    "observation is \"paper\", and {} has models, sizes, noise or failures: \
                     allowed is \"offers\"",
                    instances.name()
                )));
            }
            "offers" => (Kind::Offers(Vec::new()), OF_REQUEST + OF_OFFER * servers),
            other => {
                return Err(refused(format!(
                    "observation is \"{other}\": allowed is \"paper\" or \"offers\""
                )));
            }
        };
        let mut lanes_of = Lanes { instances, seed, next: 0, kind };
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
        let Kind::Offers(plays) = &mut lanes.kind else { return Ok(None) };
        let play = plays.get_mut(lane);
        let play = play.ok_or_else(|| {
            refused(format!("lane is {lane}: allowed is 0 to {}", self.lanes_count - 1))
        })?;
        let cluster: Arc<Cluster> = Arc::new(play.instance().cluster().clone());
        let objective: Arc<Objective> = Arc::new(play.instance().objective().clone());
        let seen = play.observation();
        seen.map(|seen| observation::Observation::of(py, &seen, &objective, &cluster)).transpose()
    }
}

impl Lanes {
    /// Episodes `first`, `first + 1`, …
    fn begin(&mut self, lanes: usize, first: u64) {
        self.next = first + lanes as u64;
        match &mut self.kind {
            Kind::Paper(environment) => environment.reset(first),
            Kind::Offers(plays) => {
                let play = |episode| play(&*self.instances, self.seed, episode);
                *plays = (first..self.next).map(play).collect();
            }
        }
    }

    fn renew(&mut self, lanes: usize) {
        match &mut self.kind {
            Kind::Paper(environment) if environment.done() => self.begin(lanes, self.next),
            Kind::Paper(_) => {}
            Kind::Offers(plays) => {
                for lane in plays {
                    if lane.observation().is_none() {
                        *lane = play(&*self.instances, self.seed, self.next);
                        self.next += 1;
                    }
                }
            }
        }
    }

    fn reseed(&mut self, seed: u64, lanes: usize) {
        self.seed = seed;
        self.next = 0;
        if let Kind::Paper(environment) = &mut self.kind {
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
        match &mut self.kind {
            Kind::Paper(environment) => {
                if environment.done() {
                    return Err("the episodes are over: allowed is reset");
                }
                environment.step(decisions, rewards);
            }
            Kind::Offers(plays) => {
                let mut going_on = false;
                for (lane, play) in plays.iter_mut().enumerate() {
                    let Some(observation) = play.observation() else { continue };
                    going_on = true;
                    let possible = possible(&observation, decisions[lane]);
                    replaced[lane] = possible != decisions[lane];
                    play.decide(possible);
                }
                if !going_on {
                    return Err("the episodes are over: allowed is reset");
                }
                for (reward, play) in rewards.iter_mut().zip(plays) {
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
        match &mut self.kind {
            Kind::Paper(environment) => {
                let servers = environment.servers();
                let lanes = environment.backlog().chunks_exact(servers);
                let requests = environment.slack().iter().zip(environment.penalty());
                for ((row, backlog), (&slack, penalty)) in rows.zip(lanes).zip(requests) {
                    row[..servers].copy_from_slice(backlog);
                    row[servers] = slack;
                    row[servers + 1] = penalty.urgency() as f32;
                }
            }
            Kind::Offers(plays) => {
                for (row, play) in rows.zip(plays) {
                    if let Some(observation) = play.observation() {
                        write(&observation, row);
                    }
                }
            }
        }
        seen
    }

    /// Which episodes are over. What their last runs earned is added to the rewards.
    fn over(&mut self, rewards: &mut [f64]) -> Vec<bool> {
        match &mut self.kind {
            Kind::Paper(environment) => vec![environment.done(); rewards.len()],
            Kind::Offers(plays) => plays
                .iter_mut()
                .zip(rewards)
                .map(|(play, reward)| {
                    let over = play.observation().is_none();
                    *reward += play.take_reward();
                    over
                })
                .collect(),
        }
    }
}

/// A training episode that has not begun.
fn play(instances: &dyn InstanceSource, seed: u64, episode: u64) -> Play {
    Play::new(Arc::new(instances.instance(seed, Episode::Training(episode))))
}

/// The decision, or the nearest that there is.
fn possible(observation: &Observation<'_>, decision: Decision) -> Decision {
    let server = if decision.server < observation.offers.len() {
        decision.server
    } else {
        let finish = |offer: usize| {
            let offer = &observation.offers[offer];
            offer.time_to_finish(offer.bounds.clamp(decision.steps)).seconds()
        };
        let all = 0..observation.offers.len();
        all.min_by(|&a, &b| finish(a).total_cmp(&finish(b))).expect("there is at least one offer")
    };
    Decision { server, steps: observation.offers[server].bounds.clamp(decision.steps) }
}

fn write(observation: &Observation<'_>, row: &mut [f32]) {
    let (of_request, of_offers) = row.split_at_mut(OF_REQUEST);
    let asked = observation.request;
    of_request[0] = observation.time_to_due().seconds() as f32;
    for (number, penalty) in of_request[1..4].iter_mut().zip(TardinessPenalty::ALL) {
        *number = f32::from(u8::from(asked.penalty == penalty));
    }
    of_request[4] = asked.size.get() as f32;
    of_request[5] = observation.traffic.mean_interval().map_or(0.0, |mean| mean.seconds() as f32);
    for (row, offer) in of_offers.chunks_exact_mut(OF_OFFER).zip(observation.offers) {
        row.copy_from_slice(&[
            1.0,
            offer.backlog.seconds() as f32,
            offer.load.seconds() as f32,
            offer.overhead.seconds() as f32,
            offer.step_rate.steps_per_second() as f32,
            offer.bounds.min.get() as f32,
            offer.bounds.max.get() as f32,
            f64::from(offer.spread.sigma()) as f32,
        ]);
    }
}
