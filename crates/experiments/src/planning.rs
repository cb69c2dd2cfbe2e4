//! What the same traffic would have had with other servers.

use std::str::FromStr;

use agent::Recipe;
use rayon::prelude::*;
use scheduling::message::excerpt;
use scheduling::{
    Cluster, EmptyCluster, Fate, Generator, Instance, InstanceError, Purpose, Seconds, Server,
    ServerFate, StepRate,
};
use serde::Serialize;
use simulation::Metrics;
use thiserror::Error;

use crate::schedule::{ScheduleError, schedule};

/// Servers that come to a cluster, or leave it.
///
/// ```
/// use experiments::Change;
/// let change: Change = "steps_per_second=15,overhead_seconds=0.4,count=2".parse()?;
/// assert_eq!(change.to_string(), "steps_per_second=15,overhead_seconds=0.4,count=2");
/// # Ok::<(), experiments::ChangeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    text: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Nothing,
    Come(Newcomers),
    Leaves(String),
}

/// Servers that are all alike.
#[derive(Clone, Debug, Default, PartialEq)]
struct Newcomers {
    like: Option<String>,
    step_rate: Option<StepRate>,
    overhead: Option<Seconds>,
    count: usize,
}

/// A change that cannot be made.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// It does not say what it should.
    #[error(
        "{:?} in {:?}: allowed are like=SERVER, steps_per_second=NUMBER, overhead_seconds=NUMBER and \
         count=NUMBER, with commas between them",
        excerpt(part),
        excerpt(text)
    )]
    Part {
        /// What is wrong.
        part: String,
        /// All of it.
        text: String,
    },
    /// Nobody knows how fast the new servers are.
    #[error("{:?} says neither steps_per_second=NUMBER nor like=SERVER: one of them is needed", excerpt(.0))]
    NoSpeed(String),
    /// There is no such server.
    #[error("there is no server {:?}: there are {known}", excerpt(name))]
    Unknown {
        /// What was asked for.
        name: String,
        /// All that there are.
        known: String,
    },
    /// Servers load models there, and nobody knows what the new ones host.
    #[error(
        "{:?}: the instance has models, which a new server must host: write like=SERVER beside it",
        excerpt(.0)
    )]
    Models(String),
    /// No server is left.
    #[error(transparent)]
    Empty(#[from] EmptyCluster),
    /// A request is left that no server takes.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// A schedule cannot be made.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let mut new = Newcomers { count: 1, ..Newcomers::default() };
        for part in text.split(',') {
            let fault = || ChangeError::Part { part: part.into(), text: text.into() };
            let (name, value) = part.split_once('=').ok_or_else(fault)?;
            let number = || value.trim().parse::<f64>().map_err(|_| fault());
            match name.trim() {
                "like" => new.like = Some(value.trim().into()),
                "steps_per_second" => {
                    new.step_rate = Some(StepRate::new(number()?).map_err(|_| fault())?);
                }
                "overhead_seconds" => {
                    new.overhead = Some(Seconds::new(number()?).map_err(|_| fault())?);
                }
                "count" => {
                    let count = value.trim().parse().ok();
                    new.count =
                        count.filter(|count| (1..=1000).contains(count)).ok_or_else(fault)?;
                }
                _ => return Err(fault()),
            }
        }
        if new.like.is_none() && new.step_rate.is_none() {
            return Err(ChangeError::NoSpeed(text.into()));
        }
        Ok(Self { text: text.into(), what: What::Come(new) })
    }
}

impl Change {
    /// The cluster as it is.
    pub fn nothing() -> Self {
        Self { text: "as it was".into(), what: What::Nothing }
    }

    /// A server leaves.
    pub fn without(server: &str) -> Self {
        Self { text: format!("without {server}"), what: What::Leaves(server.into()) }
    }

    /// The same traffic with the change made so many times.
    ///
    /// # Errors
    /// [`ChangeError`] where it does not fit the instance.
    pub fn made(&self, instance: &Instance, times: usize) -> Result<Instance, ChangeError> {
        let cluster = instance.cluster();
        let mut servers = cluster.to_vec();
        let mut fates = instance.fate().map(|fate| fate.servers.clone());
        match &self.what {
            What::Nothing => return Ok(instance.clone()),
            What::Leaves(name) => {
                let at = position(cluster, name)?;
                servers.remove(at);
                if let Some(fates) = &mut fates {
                    fates.remove(at);
                }
            }
            What::Come(new) => {
                for _ in 0..times * new.count {
                    let (server, like) = new.server(self, cluster, servers.len())?;
                    servers.push(server);
                    if let Some(fates) = &mut fates {
                        // It strays as the one it is like, and never fails.
                        let sigma = like.map_or_else(Default::default, |at| fates[at].sigma);
                        fates.push(ServerFate { sigma, down: Vec::new() });
                    }
                }
            }
        }
        let cluster = Cluster::with_models(servers, cluster.models().to_vec())?;
        let fate = instance.fate().zip(fates);
        let fate = fate.map(|(fate, servers)| Fate { servers, luck: fate.luck.clone() });
        let (requests, objective) = (instance.requests().to_vec(), instance.objective().clone());
        Ok(Instance::new(cluster, requests, objective)?.under(fate)?)
    }
}

impl Newcomers {
    /// One of them, and the position of the server that it is like.
    fn server(
        &self,
        change: &Change,
        cluster: &Cluster,
        number: usize,
    ) -> Result<(Server, Option<usize>), ChangeError> {
        let like = self.like.as_ref().map(|name| position(cluster, name)).transpose()?;
        if like.is_none() && cluster.loads_models() {
            return Err(ChangeError::Models(change.text.clone()));
        }
        let mut server = match (like, self.step_rate) {
            (Some(at), _) => cluster[at].clone(),
            (None, Some(rate)) => Server::new("", rate, Seconds::ZERO),
            (None, None) => unreachable!("a change without either was refused"),
        };
        // No server of the instance has such a name, whatever they are called.
        let taken = |name: &String| cluster.iter().any(|other| other.name == *name);
        let names = (0..).map(|mark| format!("new{}{number}", "_".repeat(mark)));
        server.name = names.into_iter().find(|name| !taken(name)).unwrap_or_default();
        let times = self
            .step_rate
            .map_or(1.0, |rate| rate.steps_per_second() / server.step_rate.steps_per_second());
        for hosted in server.hosting.iter_mut().flat_map(|hosting| &mut hosting.models) {
            let rate = times * hosted.step_rate.steps_per_second();
            hosted.step_rate = StepRate::saturating(rate);
            hosted.overhead = self.overhead.unwrap_or(hosted.overhead);
        }
        server.step_rate = self.step_rate.unwrap_or(server.step_rate);
        server.overhead = self.overhead.unwrap_or(server.overhead);
        Ok((server, like))
    }
}

fn position(cluster: &Cluster, name: &str) -> Result<usize, ChangeError> {
    cluster.iter().position(|server| server.name == name).ok_or_else(|| {
        let known: Vec<_> = cluster.iter().take(20).map(|server| &server.name[..]).collect();
        let more = if cluster.len() > known.len() { ", …" } else { "" };
        ChangeError::Unknown { name: name.into(), known: known.join(", ") + more }
    })
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Mean reward of a request, or more.
    Reward(f64),
    /// Share of requests on time, or more.
    OnTime(f64),
    /// Seconds that 99 of 100 requests are not later than.
    P99(f64),
}

impl Target {
    /// Whether figures reach it.
    pub fn is_reached(self, metrics: &Metrics) -> bool {
        match self {
            Self::Reward(least) => metrics.reward >= least,
            Self::OnTime(least) => 1.0 - metrics.late_fraction >= least,
            Self::P99(most) => metrics.tardiness_p99 <= most,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || {
            "allowed is reward=NUMBER, on_time=SHARE with 0 to 1, or p99=SECONDS with 0 or more"
                .to_owned()
        };
        let (name, value) = text.split_once('=').ok_or_else(allowed)?;
        let value = value.trim().parse().ok().filter(|value: &f64| value.is_finite());
        match (name.trim(), value.ok_or_else(allowed)?) {
            ("reward", value) => Ok(Self::Reward(value)),
            ("on_time", value) if (0.0..=1.0).contains(&value) => Ok(Self::OnTime(value)),
            ("p99", value) if value >= 0.0 => Ok(Self::P99(value)),
            _ => Err(allowed()),
        }
    }
}

/// What a change is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prospect {
    /// The change.
    pub change: String,
    /// Servers after it was made once.
    pub servers: usize,
    /// What the traffic would have had then.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// How many times the change has to be made until the target is reached, if it ever is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<Needed>,
}

/// How many times it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Needed {
    /// So many times, none if the target is reached already, and what the traffic would have had then.
    Times {
        /// How often.
        times: usize,
        /// Of the instance so changed.
        metrics: Metrics,
    },
    /// More often than was tried.
    MoreThan {
        /// How often was tried.
        more_than: usize,
    },
}

/// What the traffic of an instance would have had under a policy, by change. Where there is a target, each
/// change is made 0, 1, 2, … times, up to `most`, until it is reached.
///
/// # Errors
/// [`ChangeError`] for the first change that cannot be made.
pub fn prospects(
    instance: &Instance,
    policy: &Recipe,
    changes: &[Change],
    target: Option<(Target, usize)>,
    seed: u64,
) -> Result<Vec<Prospect>, ChangeError> {
    let metrics = |instance: &Instance| {
        let generator = Generator::new(seed, Purpose::Policy, 0);
        Ok::<_, ChangeError>(Metrics::of(&schedule(policy, instance, generator)?))
    };
    let as_it_was = metrics(instance)?;
    let needed = |change: &Change, once: Metrics, (target, most): (Target, usize)| {
        for times in 0..=most {
            let metrics = match times {
                0 => as_it_was,
                1 => once,
                _ => metrics(&change.made(instance, times)?)?,
            };
            if target.is_reached(&metrics) {
                return Ok(Needed::Times { times, metrics });
            }
        }
        Ok::<_, ChangeError>(Needed::MoreThan { more_than: most })
    };
    changes
        .par_iter()
        .map(|change| {
            let changed = change.made(instance, 1)?;
            let once = match change.what {
                What::Nothing => as_it_was,
                _ => metrics(&changed)?,
            };
            let target = target.filter(|_| matches!(change.what, What::Come(_)));
            Ok(Prospect {
                change: change.to_string(),
                servers: changed.cluster().len(),
                metrics: once,
                needed: target.map(|target| needed(change, once, target)).transpose()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulation::{Episode, InstanceSource, Scenario};

    fn instance(text: &str) -> Instance {
        let scenario = Scenario::from_toml(text).unwrap();
        let scenario = scenario.with(|settings| settings.requests = 300).unwrap();
        scenario.instance(3, Episode::Evaluation(0))
    }

    fn contended() -> Instance {
        instance(include_str!("../../../scenarios/contended.toml"))
    }

    fn myopic() -> Recipe {
        Recipe::load(&"myopic".parse().unwrap()).unwrap()
    }

    #[test]
    fn more_servers_earn_more_and_a_target_says_how_many() {
        let changes =
            [Change::nothing(), Change::without("s0"), "steps_per_second=15".parse().unwrap()];
        let target = Some((Target::Reward(60.0), 20));
        let all = prospects(&contended(), &myopic(), &changes, target, 1).unwrap();
        let rewards: Vec<_> = all.iter().map(|prospect| prospect.metrics.reward).collect();
        assert!(rewards[1] < rewards[0] && rewards[0] < rewards[2], "{rewards:?}");
        assert_eq!(all.iter().map(|prospect| prospect.servers).collect::<Vec<_>>(), [10, 9, 11]);
        assert_eq!((&all[0].needed, &all[1].needed), (&None, &None));
        let Some(Needed::Times { times, metrics }) = &all[2].needed else { panic!("{:?}", all[2]) };
        assert!((2..20).contains(times) && metrics.reward >= 60.0, "{times} {metrics:?}");
        let one_less = changes[2].made(&contended(), times - 1).unwrap();
        let fewer = prospects(&one_less, &myopic(), &changes[..1], None, 1).unwrap();
        assert!(fewer[0].metrics.reward < 60.0, "{fewer:?}");
        let never = Some((Target::Reward(1e3), 2));
        let all = prospects(&contended(), &myopic(), &changes[2..], never, 1).unwrap();
        assert_eq!(all[0].needed, Some(Needed::MoreThan { more_than: 2 }));
    }

    #[test]
    fn targets_are_reached_from_their_own_side() {
        let metrics = prospects(&contended(), &myopic(), &[Change::nothing()], None, 1).unwrap();
        let metrics = metrics[0].metrics;
        let (on_time, p99) = (1.0 - metrics.late_fraction, metrics.tardiness_p99);
        for (target, reached) in [
            (Target::OnTime(on_time - 0.01), true),
            (Target::OnTime(on_time + 0.01), false),
            (Target::P99(p99 + 0.1), true),
            (Target::P99(p99 - 0.1), false),
            (Target::Reward(metrics.reward), true),
        ] {
            assert_eq!(target.is_reached(&metrics), reached, "{target:?} {metrics:?}");
        }
    }

    #[test]
    fn newcomers_host_what_the_server_hosts_that_they_are_like() {
        let fleet = instance(include_str!("../../../scenarios/fleet.toml"));
        let change: Change = "like=s0,steps_per_second=30,count=2".parse().unwrap();
        let changed = change.made(&fleet, 1).unwrap();
        let (old, new) = (&fleet.cluster()[0], &changed.cluster()[changed.cluster().len() - 1]);
        let rate = |server: &Server| {
            let hosting = server.hosting.as_ref().unwrap();
            hosting.models[0].step_rate.steps_per_second() / server.step_rate.steps_per_second()
        };
        assert!((rate(old) - rate(new)).abs() < 1e-12);
        assert_eq!(new.step_rate.steps_per_second(), 30.0);
        assert_eq!(changed.cluster().len(), fleet.cluster().len() + 2);
        let error = "steps_per_second=15".parse::<Change>().unwrap().made(&fleet, 1).unwrap_err();
        assert!(error.to_string().contains("like=SERVER"), "{error}");
    }

    #[test]
    fn servers_keep_their_fates() {
        let failing = instance(include_str!("../../../scenarios/failures.toml"));
        let fates = &failing.fate().unwrap().servers;
        let without = Change::without("s1").made(&failing, 1).unwrap();
        assert_eq!(without.fate().unwrap().servers[0], fates[0]);
        assert_eq!(without.fate().unwrap().servers[1], fates[2]);
        let more = "like=s1".parse::<Change>().unwrap().made(&failing, 2).unwrap();
        let new = &more.fate().unwrap().servers[11];
        assert_eq!((new.sigma, new.down.len()), (fates[1].sigma, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_is_allowed() {
        for (text, part) in [
            ("steps_per_second=0", "steps_per_second=0"),
            ("speed=5", "like=SERVER, steps_per_second=NUMBER"),
            ("steps_per_second=5,count=0", "count=0"),
            ("count=3", "neither steps_per_second"),
            ("", "\"\""),
        ] {
            let message = text.parse::<Change>().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let unknown = "like=s99".parse::<Change>().unwrap().made(&contended(), 1).unwrap_err();
        assert!(unknown.to_string().contains("\"s99\": there are s0, s1"), "{unknown}");
        for text in ["on_time=2", "p99=-1", "reward=x", "speed=1", "reward"] {
            assert!(text.parse::<Target>().unwrap_err().contains("on_time=SHARE"));
        }
    }
}
