//! Judging what a study claims, on paired differences with a 95 % interval.

use simulation::Metrics;

use super::{Claim, Verdict, plain, signed};
use crate::figures::label;
use crate::results::InstanceRow;
use crate::statistics::{Finding, Series, finding, series};
use crate::study::{ClaimFile, Direction, Level, Margin, Point, Statement, Study};

/// All claims of a study, from its rows.
pub(crate) fn judge(study: &Study, rows: &[InstanceRow]) -> Vec<Claim> {
    (study.file.claims.iter()).map(|claim| judged(study, claim, rows)).collect()
}

/// One place that a claim is about, with what was found there.
struct Case {
    /// Panel and point, for a person; empty where there is but one.
    place: String,
    /// The difference that decides.
    decides: Finding,
    /// What a person is told: the difference, or the level itself where that is compared with a number.
    told: Finding,
    /// On how many instances and training seeds the difference has the claimed sign, of how many.
    ahead: Option<(usize, usize)>,
    verdict: Verdict,
}

fn judged(study: &Study, claim: &ClaimFile, rows: &[InstanceRow]) -> Claim {
    let places = study.places(claim);
    let many = places.len() > 1;
    let mut cases = Vec::new();
    for (index, points) in &places {
        let panel = &study.file.panels[*index].name;
        let all = series(rows, panel);
        let judge = Judge { claim, all: &all, seed: study.file.seed };
        let name = |at: &str| match (many, at.is_empty()) {
            (true, true) => panel.clone(),
            (true, false) => format!("{panel}, {at}"),
            (false, _) => at.to_owned(),
        };
        match &claim.claim {
            Statement::Above { more, less } => cases.extend(
                points.iter().filter_map(|point| judge.lead(more, less, point, name(&point.label))),
            ),
            Statement::Trend { policy, minus, direction } => {
                cases.extend(judge.trend(policy, minus.as_deref(), *direction, points, name));
            }
        }
    }
    let own = || claim.says.clone().unwrap_or_else(|| claim.text());
    Claim {
        statement: own(),
        paper: claim.paper.clone(),
        measured: found(claim, &cases, Shown::All),
        brief: found(claim, &cases, Shown::Difference),
        places: listed(claim, &cases),
        verdict: if cases.is_empty() {
            Verdict::NotDecided
        } else {
            Verdict::all(cases.iter().map(|case| case.verdict))
        },
    }
}

/// Whether a difference is above a number: for the interval and for every training seed. One instance has no
/// interval and decides nothing.
fn verdict(finding: &Finding, least: f64) -> Verdict {
    let [low, high] = finding.range();
    match finding.estimate.ci95 {
        Some(_) if low > least => Verdict::Holds,
        Some(_) if high <= least => Verdict::DoesNotHold,
        Some(_) | None => Verdict::NotDecided,
    }
}

struct Judge<'a> {
    claim: &'a ClaimFile,
    all: &'a [Series],
    seed: u64,
}

impl Judge<'_> {
    fn series(&self, policy: &str, point: &Point) -> Option<&Series> {
        self.all.iter().find(|series| series.policy == policy && series.x == point.x)
    }

    fn value(&self) -> fn(&Metrics) -> f64 {
        self.claim.figure.value()
    }

    fn least(&self) -> f64 {
        let (Margin::Absolute(least) | Margin::Percent(least)) = self.claim.by;
        least
    }

    /// How much more one has than the other.
    fn lead(&self, more: &Level, less: &Level, point: &Point, place: String) -> Option<Case> {
        let values = |level: &Level| {
            let series = level.policy().map(|name| self.series(name, point));
            series.map(|series| Some(by_seed(series?, self.value())))
        };
        let (told, decides, ahead) = match (values(more), values(less)) {
            (Some(more), Some(less)) => {
                let (more, less) = (more?, less?);
                let mut leads = against(&more, &less);
                let count = leads.iter().flatten().count();
                let ahead = leads.iter().flatten().filter(|lead| **lead > 0.0).count();
                if let Margin::Percent(_) = self.claim.by {
                    let base = mean(less.iter().flatten());
                    leads.iter_mut().flatten().for_each(|lead| *lead *= 100.0 / base.abs());
                }
                let found = finding(&leads, self.seed);
                (found, found, Some((ahead, count)))
            }
            (Some(values), None) => {
                let found = finding(&values?, self.seed);
                (found, found.plus(-less.number()?), None)
            }
            (None, Some(values)) => {
                let found = finding(&values?, self.seed);
                (found, found.scaled(-1.0).plus(more.number()?), None)
            }
            (None, None) => return None,
        };
        let verdict = verdict(&decides, self.least());
        Some(Case { place, decides, told, ahead, verdict })
    }

    /// From the first point to the last, and each step on the way, which may stay level but not turn back.
    fn trend(
        &self,
        policy: &str,
        minus: Option<&str>,
        direction: Direction,
        points: &[&Point],
        name: impl Fn(&str) -> String,
    ) -> Option<Case> {
        let values = |point: &&&Point| {
            let own = by_seed(self.series(policy, point)?, self.value());
            let Some(minus) = minus else { return Some(own) };
            Some(against(&own, &by_seed(self.series(minus, point)?, self.value())))
        };
        let all: Vec<_> = points.iter().filter_map(|point| values(&point)).collect();
        let (first, last) = (all.first()?, all.last()?);
        let growth = |from: &[Vec<f64>], to: &[Vec<f64>]| {
            let growth = between(to, from);
            match direction {
                Direction::Rises => finding(&growth, self.seed),
                Direction::Falls => finding(&negative(&growth), self.seed),
            }
        };
        let whole = growth(first, last);
        let turns = all.windows(2).any(|pair| {
            verdict(&growth(&pair[0], &pair[1]), 0.0) == Verdict::DoesNotHold && pair[0] != pair[1]
        });
        let verdict = match verdict(&whole, self.least()) {
            _ if all.len() < 2 => Verdict::NotDecided,
            Verdict::Holds if turns => Verdict::DoesNotHold,
            verdict => verdict,
        };
        let (digits, unit) = self.claim.figure.form();
        let means = all.iter().map(|values| {
            let mean = finding(values, self.seed).estimate.mean;
            label(mean, digits)
        });
        let means = means.collect::<Vec<_>>().join(" → ");
        let place = name("");
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        let told = match direction {
            Direction::Rises => whole,
            Direction::Falls => whole.scaled(-1.0),
        };
        let place = format!("{place}{means}{unit}");
        Some(Case { place, decides: whole, told, ahead: None, verdict })
    }
}

/// The values of a figure by training seed and instance.
fn by_seed(series: &Series, value: fn(&Metrics) -> f64) -> Vec<Vec<f64>> {
    series.seeds.iter().map(|seed| seed.iter().map(value).collect()).collect()
}

/// `a` − `b`, instance by instance: for each training seed of one the mean over those of the other.
fn against(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    if a.len() == 1 && b.len() > 1 {
        return negative(&against(b, a));
    }
    let over_seeds = |instance: usize| mean(b.iter().map(|seed| &seed[instance]));
    let common: Vec<f64> = (0..b[0].len()).map(over_seeds).collect();
    a.iter().map(|seed| minus(seed, &common)).collect()
}

/// `a` − `b`, instance by instance and seed by seed, where both are of one policy.
fn between(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    if a.len() != b.len() {
        return against(a, b);
    }
    a.iter().zip(b).map(|(a, b)| minus(a, b)).collect()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

fn negative(values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    values.iter().map(|seed| seed.iter().map(|value| -value).collect()).collect()
}

/// What was found at each of several places.
fn listed(claim: &ClaimFile, cases: &[Case]) -> Vec<String> {
    if cases.len() < 2 {
        return Vec::new();
    }
    let place = |case: &Case| {
        let verdict = match case.verdict {
            Verdict::Holds => "",
            Verdict::DoesNotHold => " (does not hold)",
            Verdict::Depends | Verdict::NotDecided => " (not decided)",
        };
        told(claim, case, Shown::All) + verdict
    };
    cases.iter().map(place).collect()
}

/// The case that the verdict hangs on.
fn found(claim: &ClaimFile, cases: &[Case], shown: Shown) -> String {
    let worst = cases.iter().min_by(|a, b| a.decides.range()[0].total_cmp(&b.decides.range()[0]));
    match worst {
        None => "no rows".into(),
        Some(case) if cases.len() == 1 => told(claim, case, shown),
        Some(case) => {
            let holds = cases.iter().filter(|case| case.verdict == Verdict::Holds).count();
            let least = told(claim, case, Shown::Difference);
            format!("at {holds} of {} places, least {least}", cases.len())
        }
    }
}

/// How much of a case is said.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    All,
    Difference,
}

fn told(claim: &ClaimFile, case: &Case, shown: Shown) -> String {
    let (digits, unit) = match claim.by {
        Margin::Percent(_) => (2, " %"),
        Margin::Absolute(_) => claim.figure.form(),
    };
    let level = matches!(claim.claim, Statement::Above { .. }) && case.ahead.is_none();
    let number = if level { plain } else { signed };
    let found = number(&case.told, digits, unit);
    let place = if case.place.is_empty() { String::new() } else { format!("{}: ", case.place) };
    match case.ahead {
        Some((ahead, all)) if shown == Shown::All && all > 1 => {
            format!("{place}{found}, on {ahead} of {all}")
        }
        _ => format!("{place}{found}"),
    }
}

#[cfg(test)]
mod tests;
