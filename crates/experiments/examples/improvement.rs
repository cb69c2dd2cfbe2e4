//! How much more than a given policy any online policy could earn, where no optimum can be computed.
//!
//! ```text
//! cargo run --release -p experiments --example improvement -- 1.5,2 160 'agent[models/universal]'
//! ```
//!
//! The arguments are the mean intervals of the contended scenario in seconds, the number of sampled
//! states, and policies.
//!
//! By the performance difference lemma (Kakade and Langford, 2002) the best policy π* earns per request
//!
//! ```text
//! J(π*) − J(π) = E[A_π(x, a*)] ≤ E[max_a A_π(x, a)],   A_π(x, a) = Q_π(x, a) − Q_π(x, π(x))
//! ```
//!
//! more than π, over the states x in which π* finds itself. The advantage A_π of a decision is what it
//! and the next requests, decided by π, earn more than after π's own decision. It is measured by
//! playing both on in the same sampled futures. Two things make this an estimate and not a bound: the
//! states are those of π, which differ little where π is nearly optimal, and some 150 of 2000 decisions
//! are tried. The best of them is found by successive halving. *Found* is its advantage in futures that
//! did not choose it; *most* is the highest of the last three by all their futures, which chance makes
//! too high.

use agent::Recipe;
use rayon::prelude::*;
use scheduling::{Decision, Generator, Instance, Policy, Purpose, Queues, Request, Steps, Time};
use simulation::{Episode, InstanceSource, Scenario, estimate};

const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
const SEED: u64 = 41;
/// Requests that a decision is followed for, unless both queues are the same before.
const FOLLOWED: usize = 100;
/// Rounds of successive halving: futures, and how many decisions stay.
const HALVINGS: [(u64, usize); 3] = [(48, 24), (192, 8), (768, 3)];
/// Futures that judge the decisions that are left.
const FUTURES: u64 = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [intervals, states, policies @ ..] = arguments.as_slice() else {
        return Err("arguments are INTERVAL[,…] STATES POLICY…".into());
    };
    println!("| interval | policy | found | most | other decision |");
    println!("|---:|---|---:|---:|---:|");
    for interval in intervals.split(',') {
        let contended = Scenario::from_toml(CONTENDED)?;
        let scenario = contended.with_mean_interval(scheduling::Seconds::of(interval.parse()?))?;
        let futures = scenario.with(|settings| settings.requests = FOLLOWED)?;
        for policy in policies {
            let recipe = Recipe::load(&policy.parse()?)?;
            let advantages = (0..states.parse()?)
                .into_par_iter()
                .map(|number| Ok(State::sample(&scenario, &recipe, number)?.advantage(&futures)))
                .collect::<Result<Vec<_>, agent::PolicyError>>()?;
            let column = |value: &dyn Fn(&Advantage) -> f64| {
                let values: Vec<f64> = advantages.iter().map(value).collect();
                let estimate = estimate(&values, SEED);
                let [low, high] = estimate.ci95.unwrap_or([estimate.mean; 2]);
                format!("{:.3} [{low:.3}, {high:.3}]", estimate.mean)
            };
            let other = advantages.iter().filter(|advantage| advantage.is_other).count();
            println!(
                "| {interval} s | {policy} | {} | {} | {:.0} % |",
                column(&|advantage| advantage.found),
                column(&|advantage| advantage.most),
                100.0 * other as f64 / advantages.len() as f64,
            );
        }
    }
    Ok(())
}

/// What the best decision found earns more than the policy's own.
struct Advantage {
    found: f64,
    most: f64,
    is_other: bool,
}

/// A request that waits for its decision, somewhere in an episode of the policy.
struct State {
    instance: Instance,
    /// Index of the request.
    at: usize,
    /// As the request finds them.
    queues: Queues,
    policy: Box<dyn Policy>,
    number: u64,
}

/// A decision, and what it earned more than the policy's own, over all futures so far.
struct Candidate {
    decision: Decision,
    /// How much more this very request earns.
    at_once: f64,
    sum: f64,
    futures: f64,
}

impl Candidate {
    fn mean(&self) -> f64 {
        self.sum / self.futures
    }
}

impl State {
    fn sample(
        scenario: &Scenario,
        recipe: &Recipe,
        number: u64,
    ) -> Result<Self, agent::PolicyError> {
        let instance = scenario.instance(SEED, Episode::Evaluation(number));
        let generator = Generator::new(SEED, Purpose::Policy, number);
        let policy = recipe.policy(instance.cluster(), generator)?;
        let queues = Queues::new(instance.cluster());
        let count = instance.requests().len();
        // The first requests find queues that are not yet as long as they will be.
        let warm = count / 5;
        let at = warm + Generator::new(SEED, Purpose::Search, number).below(count - warm);
        let mut state = Self { instance, at, queues, policy, number };
        let mut queues = state.queues.clone();
        for index in 0..at {
            let request = state.instance.requests()[index];
            state.serve(&mut queues, &request);
        }
        queues.arrive(&state.instance.requests()[at]);
        state.queues = queues;
        Ok(state)
    }

    /// Decides a request by the policy, and gives its reward.
    fn serve(&mut self, queues: &mut Queues, request: &Request) -> f64 {
        let objective = self.instance.objective();
        let now = request.arrival;
        queues.arrive(request);
        let decision = self.policy.decide(&queues.observe(now, request, objective));
        let finish = queues.dispatch(now, decision).execution.finish;
        objective.reward(decision.steps, request.penalty, finish - request.due)
    }

    /// The policy's own decision, and others that might be better: on each server some steps near its
    /// own and far from them.
    fn decisions(&mut self) -> (Decision, Vec<Candidate>) {
        let Self { instance, at, queues, policy, .. } = self;
        let (cluster, objective) = (instance.cluster(), instance.objective());
        let request = &instance.requests()[*at];
        let observation = queues.observe(request.arrival, request, objective);
        let own = policy.decide(&observation);
        let near = [-48, -36, -24, -16, -8, 0, 8, 16, 24, 36, 48].map(f64::from);
        let steps = |server: usize| {
            let near = near.map(|step| f64::from(own.steps.get()) + step);
            let far =
                [1.0, 50.0, 70.0, 150.0, 180.0].into_iter().filter(move |_| server != own.server);
            near.into_iter().chain(far).filter(|steps| (1.0..=200.0).contains(steps))
        };
        let reward = observation.reward(own);
        let others: Vec<Candidate> = (0..cluster.len())
            .flat_map(|server| steps(server).map(move |steps| (server, steps)))
            .map(|(server, steps)| Decision { server, steps: Steps::saturating(steps) })
            .filter(|&decision| decision != own)
            .map(|decision| {
                let at_once = observation.reward(decision) - reward;
                Candidate { decision, at_once, sum: 0.0, futures: 0.0 }
            })
            .collect();
        let best = others.iter().map(|other| other.at_once).fold(0.0, f64::max);
        // What gives up so much now cannot win it back.
        (own, others.into_iter().filter(|other| other.at_once > best - 45.0).collect())
    }

    fn advantage(mut self, futures: &Scenario) -> Advantage {
        let (own, mut candidates) = self.decisions();
        let mut next = 0..;
        for (count, keep) in HALVINGS {
            for number in next.by_ref().take(count as usize) {
                self.play(futures, number, own, &mut candidates);
            }
            candidates.sort_by(|a, b| b.mean().total_cmp(&a.mean()));
            candidates.truncate(keep);
        }
        let chosen = candidates[0].mean();
        let before = candidates[0].sum;
        for number in next.by_ref().take(FUTURES as usize) {
            self.play(futures, number, own, &mut candidates);
        }
        let found = (candidates[0].sum - before) / FUTURES as f64;
        let most = candidates.iter().map(Candidate::mean).fold(0.0, f64::max);
        let is_other = chosen > 0.0;
        Advantage { found: if is_other { found } else { 0.0 }, most, is_other }
    }

    /// Plays one future after the policy's own decision and after each candidate.
    fn play(
        &mut self,
        futures: &Scenario,
        number: u64,
        own: Decision,
        candidates: &mut [Candidate],
    ) {
        let now = self.instance.requests()[self.at].arrival;
        let future = futures.instance(SEED + 1 + self.number, Episode::Evaluation(number));
        let requests: Vec<Request> = (future.requests().iter())
            .map(|request| {
                let arrival = now + (request.arrival - Time::ZERO);
                let due = arrival + (request.due - request.arrival);
                Request { arrival, due, ..*request }
            })
            .collect();
        let start = |state: &Self, decision: Decision| {
            let mut queues = state.queues.clone();
            queues.dispatch(now, decision);
            queues
        };
        let mut queues = start(self, own);
        let plain: Vec<(f64, Vec<Time>)> = (requests.iter())
            .map(|request| (self.serve(&mut queues, request), queues.free_at().to_vec()))
            .collect();
        for candidate in candidates {
            let mut queues = start(self, candidate.decision);
            candidate.futures += 1.0;
            candidate.sum += candidate.at_once;
            for (request, (were, free_at)) in requests.iter().zip(&plain) {
                candidate.sum += self.serve(&mut queues, request) - were;
                let now = request.arrival;
                let mut pairs = queues.free_at().iter().zip(free_at);
                if pairs.all(|(&is, &was)| is.max(now) == was.max(now)) {
                    // From here on both are the same.
                    break;
                }
            }
        }
    }
}
