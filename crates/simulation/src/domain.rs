//! Randomised scenarios: every episode has a cluster, a load and customers of its own.

use scheduling::Generator;
use scheduling::message::bounded;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod bursts;
mod fleet;
mod instance;

pub use self::bursts::{BurstDomain, PauseDomain};
pub use self::fleet::FleetDomain;

/// How scenarios are drawn for an agent that has to cope with all of them.
///
/// Ranges are drawn from uniformly, or uniformly in the logarithm where the field says so.
///
/// ```
/// use simulation::{Domain, Episode, InstanceSource};
/// let domain = Domain::from_toml(include_str!("../../../scenarios/universal.toml"))?;
/// let instance = domain.instance(1, Episode::Training(0));
/// assert!((1..=64).contains(&instance.cluster().len()));
/// # Ok::<(), simulation::DomainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// What results are filed under.
    pub name: String,
    /// Requests of each instance: so many, and so many more for each server.
    pub requests: RequestCount,
    /// J: logarithm uniform.
    pub servers: [usize; 2],
    /// c_j of the whole cluster, in steps per second: logarithm uniform.
    pub steps_per_second: [f64; 2],
    /// The fastest server is at most so many times as fast as the slowest one; 1 or more.
    pub speed_ratio: f64,
    /// Overheads as shares of the time of a full service; half of the clusters have none.
    pub overhead_share: [f64; 2],
    /// Full services asked for per full service that the cluster can do; in fleets three in ten of them
    /// count with a load.
    pub load: [f64; 2],
    /// Shortest slack of an instance, in mean times of a full service.
    pub least_slack: [f64; 2],
    /// Longest slack, in the same unit.
    pub most_slack: [f64; 2],
    /// w, in what a full service gains per time that it takes: logarithm uniform.
    pub tardiness_weight: [f64; 2],
    /// Share of the instances whose quality curve is the paper's; the others draw theirs.
    pub paper_quality: f64,
    /// Share of the instances in which the three penalties are equally likely; the others draw
    /// their mix.
    pub even_penalties: f64,
    /// Arrivals that are not Poisson's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bursts: Option<BurstDomain>,
    /// The clusters are fleets whose servers load models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<FleetDomain>,
    /// Some of the episodes are drawn from another domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wide: Option<Wide>,
}

/// A domain beside another one. In the file it has only the fields that differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// Share of the episodes that are drawn from it.
    pub share: f64,
    /// Where those come from.
    pub domain: Box<Domain>,
}

/// Requests of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestCount {
    /// Whatever the cluster.
    pub base: usize,
    /// For each server.
    pub per_server: usize,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DomainError {
    /// Not TOML, or not of this form; the message has line, column and the line itself.
    #[error("{}", bounded(&.0.to_string()))]
    Toml(#[from] toml::de::Error),
    /// A value or range that is not allowed.
    #[error("{field} is {found}: allowed is {allowed}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

impl Domain {
    /// Reads the file.
    ///
    /// # Errors
    /// [`DomainError`] with the line, or the field, and what is allowed there.
    pub fn from_toml(text: &str) -> Result<Self, DomainError> {
        let mut table: toml::Table = toml::from_str(text)?;
        let wide = table.get("wide").and_then(toml::Value::as_table).cloned();
        let domain: Self = match wide {
            // Of what is wrong with a field the text knows the line.
            None => toml::from_str(text)?,
            Some(mut wide) => {
                let share = wide.remove("share").map(|share| ("share".to_owned(), share));
                let mut all = table.clone();
                all.remove("wide");
                overwrite(&mut all, &wide);
                let domain = ("domain".to_owned(), toml::Value::Table(all));
                let own: toml::Table = share.into_iter().chain([domain]).collect();
                table.insert("wide".into(), own.into());
                table.try_into()?
            }
        };
        domain.check()?;
        Ok(domain)
    }

    fn check(&self) -> Result<(), DomainError> {
        let [low, high] = self.servers;
        let servers = [low as f64, high as f64];
        check_ranges(&[
            ("servers", servers, 1.0, 1000.0, "[low, high] with 1 ≤ low ≤ high ≤ 1000"),
            ("steps_per_second", self.steps_per_second, 0.01, 1e4, "[low, high] in 0.01 to 1e4"),
            ("speed_ratio", [self.speed_ratio; 2], 1.0, 100.0, "1 to 100"),
            ("overhead_share", self.overhead_share, 0.0, 1.0, "[low, high] in 0 to 1"),
            ("load", self.load, 0.001, 10.0, "[low, high] in 0.001 to 10"),
            ("least_slack", self.least_slack, 0.0, 100.0, "[low, high] in 0 to 100"),
            ("most_slack", self.most_slack, 0.0, 100.0, "[low, high] in 0 to 100"),
            ("tardiness_weight", self.tardiness_weight, 1e-4, 1e4, "[low, high] in 1e-4 to 1e4"),
            ("paper_quality", [self.paper_quality; 2], 0.0, 1.0, "0 to 1"),
            ("even_penalties", [self.even_penalties; 2], 0.0, 1.0, "0 to 1"),
        ])?;
        self.bursts.as_ref().map_or(Ok(()), BurstDomain::check)?;
        self.models.as_ref().map_or(Ok(()), FleetDomain::check)?;
        if let Some(Wide { share, domain }) = &self.wide {
            if !(0.0..=1.0).contains(share) {
                let found = share.to_string();
                return Err(DomainError::Range { field: "wide.share", found, allowed: "0 to 1" });
            }
            domain.check()?;
        }
        let RequestCount { base, per_server } = self.requests;
        if base == 0 || base > 100_000 || per_server > 1000 {
            return Err(DomainError::Range {
                field: "requests",
                found: format!("base = {base}, per_server = {per_server}"),
                allowed: "base 1 to 100000 and per_server 0 to 1000",
            });
        }
        Ok(())
    }
}

/// Field, range, least, most, and what is allowed in words.
type Check = (&'static str, [f64; 2], f64, f64, &'static str);

fn check_ranges(ranges: &[Check]) -> Result<(), DomainError> {
    for &(field, range, least, most, allowed) in ranges {
        let [low, high] = range;
        if !(least <= low && low <= high && high <= most) {
            return Err(DomainError::Range { field, found: format!("{range:?}"), allowed });
        }
    }
    Ok(())
}

/// Puts the values of one table over those of another, table by table.
fn overwrite(table: &mut toml::Table, by: &toml::Table) {
    for (name, value) in by {
        match (table.get_mut(name), value) {
            (Some(toml::Value::Table(own)), toml::Value::Table(by)) => overwrite(own, by),
            _ => drop(table.insert(name.clone(), value.clone())),
        }
    }
}

fn between(draw: &mut Generator, [low, high]: [f64; 2]) -> f64 {
    draw.between(low, high)
}

fn log_uniform(draw: &mut Generator, [low, high]: [f64; 2]) -> f64 {
    libm::exp(draw.between(libm::log(low), libm::log(high))).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use scheduling::{Request, Seconds, Server};

    use super::*;
    use crate::source::{Episode, InstanceSource};

    const UNIVERSAL: &str = include_str!("../../../scenarios/universal.toml");
    const FLEETS: &str = include_str!("../../../scenarios/fleets.toml");

    #[test]
    fn instances_are_as_varied_as_the_file_says() {
        // Those of the wide share have ranges of their own.
        let domain = Domain { wide: None, ..Domain::from_toml(UNIVERSAL).unwrap() };
        let (mut servers, mut loads) = (Vec::new(), Vec::new());
        for episode in 0..200 {
            let instance = domain.instance(3, Episode::Training(episode));
            let worth = instance.objective().full_service();
            let rates = instance.cluster().iter().map(|s| s.step_rate.steps_per_second());
            let fastest = rates.clone().fold(0.0, f64::max);
            let slowest = rates.fold(f64::INFINITY, f64::min);
            assert!(fastest / slowest <= domain.speed_ratio * (1.0 + 1e-9), "episode {episode}");
            let speed = |s: &Server| 1.0 / s.service_time(worth.steps).seconds();
            let capacity: f64 = instance.cluster().iter().map(speed).sum();
            let requests = instance.requests();
            let per_second = requests.len() as f64 / requests[requests.len() - 1].arrival.seconds();
            servers.push(instance.cluster().len());
            loads.push(per_second / capacity);
            let count =
                domain.requests.base + domain.requests.per_server * instance.cluster().len();
            assert_eq!(requests.len(), count);
        }
        servers.sort_unstable();
        loads.sort_by(f64::total_cmp);
        assert!(servers[0] == 1 && servers[199] > 50 && servers[100] < 12, "{servers:?}");
        // Drawn arrivals are within some tens of percent of their mean.
        assert!(loads[0] < 0.2 && loads[199] > 1.8 && loads[199] < 3.0, "{loads:?}");
    }

    #[test]
    fn the_wider_domain_has_what_differs_and_its_share_of_the_episodes() {
        let domain = Domain::from_toml(FLEETS).unwrap();
        let wide = domain.wide.as_ref().unwrap();
        assert_eq!(wide.domain.load, [0.05, 2.5]);
        assert_eq!(wide.domain.overhead_share, domain.overhead_share);
        let (of_all, of_wide) = (domain.models.unwrap(), wide.domain.models.unwrap());
        assert_eq!((of_all.number, of_wide.number), ([2, 10], [2, 100]));
        assert_eq!(of_all.resident, of_wide.resident);
        let (mut sized, mut many) = (0, 0);
        for episode in 0..200 {
            let instance = domain.instance(3, Episode::Training(episode));
            let largest = instance.requests().iter().map(|request| request.size.get());
            let largest = largest.fold(0.0, f64::max);
            assert!((1.0..=8.0).contains(&largest), "episode {episode}");
            sized += usize::from(largest > 1.0);
            many += usize::from(instance.cluster().models().len() > 10);
        }
        // Half of the wide ones have several pictures, and six in ten of them more than ten models.
        assert!((30..70).contains(&sized) && (40..80).contains(&many), "{sized} {many}");
        let check = |from: &str, to: &str, parts: &[&str]| {
            assert!(FLEETS.contains(from), "{from}");
            let message = Domain::from_toml(&FLEETS.replace(from, to)).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        };
        check("share = 0.5", "share = 1.5", &["wide.share is 1.5", "0 to 1"]);
        check("share = 0.5\n", "", &["share", "missing field"]);
        check("peak = [1.0", "peak = [0.5", &["bursts.peak is [0.5, 40.0]", "1 to 1000"]);
        check("pictures = 8", "pictures = 0", &["models.pictures is [0.0, 0.0]", "1 to 1000"]);
        check("[wide.models]", "[wide.modules]", &["modules", "unknown field"]);
    }

    #[test]
    fn no_fleet_is_asked_for_more_than_it_could_do() {
        let domain = Domain::from_toml(FLEETS).unwrap();
        for episode in 0..40 {
            let instance = domain.instance(5, Episode::Training(episode));
            let span = instance.requests().last().unwrap().arrival.seconds();
            let least = |request: &Request, server: &Server| {
                let offer = server.offer(request, Seconds::ZERO, &server.loaded()).unwrap();
                offer.overhead.seconds() + request.size.get() / server.step_rate.steps_per_second()
            };
            let each = |server: &Server| {
                let all = instance.requests().iter().map(|request| least(request, server));
                1.0 / (all.sum::<f64>() / instance.requests().len() as f64)
            };
            let fastest: f64 = instance.cluster().iter().map(each).sum();
            let rate = instance.requests().len() as f64 / span;
            assert!(rate < fastest, "episode {episode}: {rate} and {fastest}");
        }
    }

    #[test]
    fn the_episode_decides_the_instance() {
        let domain = Domain::from_toml(UNIVERSAL).unwrap();
        let instance = |seed, episode| domain.instance(seed, episode);
        let one = instance(1, Episode::Training(4));
        assert_eq!(one, instance(1, Episode::Training(4)));
        assert_ne!(one, instance(2, Episode::Training(4)));
        assert_ne!(one, instance(1, Episode::Evaluation(4)));
    }

    #[test]
    fn bad_files_are_refused_with_field_and_range() {
        let check = |from: &str, to: &str, parts: &[&str]| {
            assert!(UNIVERSAL.contains(from), "{from}");
            let error = Domain::from_toml(&UNIVERSAL.replace(from, to)).unwrap_err();
            let message = error.to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        };
        check("servers = [1, 64]", "servers = [0, 64]", &["servers", "[0.0, 64.0]", "1 ≤ low"]);
        check("load = [0.05", "load = [3.0", &["load is [3.0, 2.2]", "0.001 to 10"]);
        check("base = 1500", "base = 0", &["requests is base = 0", "1 to 100000"]);
        check("load =", "lode =", &["lode", "unknown field"]);
        check("speed_ratio = 6.0", "speed_ratio = nan", &["speed_ratio", "1 to 100"]);
    }
}
