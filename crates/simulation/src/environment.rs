//! The batched environment: many training episodes side by side, one step at a time.

use scheduling::{Cluster, Decision, Environment, TardinessPenalty, Time};

use crate::source::{Episode, EpisodeSource, Workload};

/// Many episodes side by side, one per lane, each step taking one decision in every lane.
///
/// Lane `k` runs the instance of `Episode::Training(first_episode + k)` and pays the very rewards
/// that [`crate::simulate`] would, to the last bit, whatever the number of lanes. What is observed
/// is rounded to `f32`; all state is `f64`. Every field is one contiguous buffer over the lanes, and
/// a step allocates nothing. Requests are drawn when their step comes: an episode takes no memory
/// that grows with its length, and a reset costs next to nothing.
///
/// ```
/// use scheduling::{Decision, Environment, Steps};
/// use simulation::{BatchedEnvironment, Scenario};
///
/// let scenario = Scenario::from_toml(include_str!("../../../scenarios/paper.toml"))?;
/// let mut environment = BatchedEnvironment::new(&scenario, 1, 4);
/// let actions = [Decision { server: 0, steps: Steps::MAX }; 4];
/// let mut rewards = [0.0; 4];
/// while !environment.done() {
///     assert_eq!(environment.backlog().len(), 4 * environment.servers());
///     environment.step(&actions, &mut rewards);
/// }
/// environment.reset(4); // the next four episodes
/// # Ok::<(), simulation::ScenarioError>(())
/// ```
pub struct BatchedEnvironment<S> {
    source: S,
    seed: u64,
    lanes: usize,
    servers: usize,
    /// Requests decided so far, the same in every lane.
    decided: usize,

    /// One for each lane, or a single one that all lanes share.
    clusters: Vec<Cluster>,
    /// Source of each lane's requests.
    workloads: Vec<Workload>,
    /// When each server has finished what it was given; `[lanes × servers]`.
    free_at: Vec<Time>,
    /// Due time of the request to be decided; `[lanes]`.
    due: Vec<Time>,
    /// Its arrival, which is the present; `[lanes]`.
    now: Vec<Time>,

    backlog: Vec<f32>,
    slack: Vec<f32>,
    penalty: Vec<TardinessPenalty>,
}

impl<S: EpisodeSource> BatchedEnvironment<S> {
    /// So many lanes at the start of training episodes 0, 1, … of `source` under `seed`.
    pub fn new(source: S, seed: u64, lanes: usize) -> Self {
        let servers = source.servers();
        let mut environment = Self {
            source,
            seed,
            lanes,
            servers,
            decided: 0,
            clusters: Vec::new(),
            workloads: Vec::new(),
            free_at: vec![Time::ZERO; lanes * servers],
            due: vec![Time::ZERO; lanes],
            now: vec![Time::ZERO; lanes],
            backlog: vec![0.0; lanes * servers],
            slack: vec![0.0; lanes],
            penalty: vec![TardinessPenalty::Linear; lanes],
        };
        environment.reset(0);
        environment
    }

    /// Where the episodes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Draws the next request of every lane and writes the observation.
    fn arrive(&mut self) {
        for (lane, workload) in self.workloads.iter_mut().enumerate() {
            let request = workload.next().expect("workloads do not end");
            self.now[lane] = request.arrival;
            self.due[lane] = request.due;
            self.penalty[lane] = request.penalty;
            self.slack[lane] = request.slack().seconds() as f32;
        }
        let lanes = self.backlog.chunks_exact_mut(self.servers);
        for ((backlog, free_at), &now) in
            lanes.zip(self.free_at.chunks_exact(self.servers)).zip(&self.now)
        {
            for (backlog, &free_at) in backlog.iter_mut().zip(free_at) {
                *backlog = (free_at - now).positive_part().seconds() as f32;
            }
        }
    }

    /// Whether every request of the episodes is decided.
    pub fn done(&self) -> bool {
        self.decided == self.requests()
    }
}

impl<S: EpisodeSource> Environment for BatchedEnvironment<S> {
    fn servers(&self) -> usize {
        self.servers
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn requests(&self) -> usize {
        self.source.requests()
    }

    fn reset(&mut self, first_episode: u64) {
        let episodes = (first_episode..).map(Episode::Training).take(self.lanes);
        let (source, seed) = (&self.source, self.seed);
        let clusters = if source.shares_cluster() { 1 } else { self.lanes };
        self.clusters.clear();
        self.clusters.extend(episodes.clone().take(clusters).map(|e| source.cluster(seed, e)));
        self.workloads.clear();
        self.workloads.extend(episodes.map(|e| source.workload(seed, e)));
        self.free_at.fill(Time::ZERO);
        self.decided = 0;
        self.arrive();
    }

    fn step(&mut self, actions: &[Decision], rewards: &mut [f64]) {
        assert!(!self.done(), "the episodes are done after {} steps", self.requests());
        assert_eq!(actions.len(), self.lanes, "one action per lane");
        assert_eq!(rewards.len(), self.lanes, "one reward per lane");
        let objective = self.source.objective();
        let lanes = self.free_at.chunks_exact_mut(self.servers).enumerate();
        for ((lane, free_at), cluster) in lanes.zip(self.clusters.iter().cycle()) {
            let action = actions[lane];
            assert!(
                action.server < self.servers,
                "lane {lane} acts on server {}: allowed is 0 to {}",
                action.server,
                self.servers - 1,
            );
            let free_at = &mut free_at[action.server];
            let start = free_at.max(self.now[lane]);
            *free_at = start + cluster[action.server].service_time(action.steps);
            let tardiness = (*free_at - self.due[lane]).positive_part();
            rewards[lane] = objective.reward(action.steps, self.penalty[lane], tardiness);
        }
        self.decided += 1;
        if !self.done() {
            self.arrive();
        }
    }

    fn backlog(&self) -> &[f32] {
        &self.backlog
    }

    fn slack(&self) -> &[f32] {
        &self.slack
    }

    fn penalty(&self) -> &[TardinessPenalty] {
        &self.penalty
    }
}
