//! What a study says to hold.

use std::str::FromStr;

use scheduling::message::excerpt;
use serde::Deserialize;
use simulation::Metrics;

use super::file::{FigureKind, StudyFile};

/// A claim about the rows of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimFile {
    /// What is claimed.
    pub claim: Statement,
    /// The same in the words of the report; put together from the rest unless given.
    #[serde(default)]
    pub says: Option<String>,
    /// Where the paper claims it, such as `Fig. 4`; none if the paper does not.
    #[serde(default)]
    pub paper: Option<String>,
    /// Panel that it is about; all that have the policies unless told.
    #[serde(default)]
    pub panel: Option<String>,
    /// Value of what is swept; all of them unless told.
    #[serde(default)]
    pub at: Option<toml::Value>,
    /// What is compared; the reward unless told.
    #[serde(default)]
    pub figure: FigureOf,
    /// By how much at least.
    #[serde(default)]
    pub by: Margin,
}

/// A policy against another one or a number, or what becomes of it along a sweep.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Statement {
    /// `A > B`, and `B < A`.
    Above {
        /// The policy with more of it.
        more: Level,
        /// The one with less.
        less: Level,
    },
    /// `A rises`, `A falls`, `A - B rises`, `A - B falls`.
    Trend {
        /// Whose figure.
        policy: String,
        /// Whose figure is taken from it first.
        minus: Option<String>,
        /// Whether it grows along the sweep.
        direction: Direction,
    },
}

/// What a policy is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Level {
    /// The figure of this policy, on the same instances.
    Policy(String),
    /// A number in the unit of the figure.
    Number(f64),
}

/// Which way along a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// More with larger values.
    Rises,
    /// Less with larger values.
    Falls,
}

const FORMS: &str = "A > B, A < B, A rises, A falls, A - B rises or A - B falls, with names of policies or, at \
                     one side of > and <, a number";

impl TryFrom<String> for Statement {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let problem = || format!("claim is \"{}\": allowed is {FORMS}", excerpt(&text));
        let sides = |sign| {
            let (left, right) = text.split_once(sign)?;
            Some((Level::of(left)?, Level::of(right)?))
        };
        let (more, less) = match (sides(" > "), sides(" < ")) {
            (Some((more, less)), None) | (None, Some((less, more))) => (more, less),
            (None, None) => return Self::trend(&text).ok_or_else(problem),
            (Some(_), Some(_)) => return Err(problem()),
        };
        match (&more, &less) {
            (Level::Number(_), Level::Number(_)) => Err(problem()),
            _ => Ok(Self::Above { more, less }),
        }
    }
}

impl Statement {
    fn trend(text: &str) -> Option<Self> {
        let (what, direction) = match text.rsplit_once(' ')? {
            (what, "rises") => (what, Direction::Rises),
            (what, "falls") => (what, Direction::Falls),
            _ => return None,
        };
        let (policy, minus) = match what.split_once(" - ") {
            Some((policy, minus)) => (policy, Some(minus.trim())),
            None => (what, None),
        };
        let policy = policy.trim();
        let named = !policy.is_empty()
            && !policy.ends_with(" -")
            && minus.is_none_or(|minus| !minus.is_empty());
        named.then(|| Self::Trend {
            policy: policy.into(),
            minus: minus.map(Into::into),
            direction,
        })
    }

    /// The policies that it names.
    pub(crate) fn policies(&self) -> Vec<&str> {
        let (first, second) = match self {
            Self::Above { more, less } => (more.policy(), less.policy()),
            Self::Trend { policy, minus, .. } => (Some(policy.as_str()), minus.as_deref()),
        };
        first.into_iter().chain(second).collect()
    }
}

impl Level {
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.parse::<f64>() {
            Ok(number) => number.is_finite().then_some(Self::Number(number)),
            Err(_) => (!text.is_empty()).then(|| Self::Policy(text.into())),
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Policy(_) => None,
            Self::Number(number) => Some(*number),
        }
    }

    /// The policy, if it is one.
    pub(crate) fn policy(&self) -> Option<&str> {
        match self {
            Self::Policy(name) => Some(name),
            Self::Number(_) => None,
        }
    }
}

/// A figure of [`Metrics`], by its name in the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureOf {
    /// Mean reward per request.
    #[default]
    Reward,
    /// Mean quality.
    Quality,
    /// Mean tardiness in seconds.
    Tardiness,
    /// Mean penalty, before it is weighted.
    Penalty,
    /// Share of requests that are late, from 0 to 1.
    LateFraction,
    /// What 99 of 100 requests are no later than, in seconds.
    TardinessP99,
    /// The largest tardiness, in seconds.
    TardinessWorst,
}

impl FigureOf {
    /// Its value.
    pub(crate) fn value(self) -> fn(&Metrics) -> f64 {
        match self {
            Self::Reward => |m| m.reward,
            Self::Quality => |m| m.quality,
            Self::Tardiness => |m| m.tardiness,
            Self::Penalty => |m| m.penalty,
            Self::LateFraction => |m| m.late_fraction,
            Self::TardinessP99 => |m| m.tardiness_p99,
            Self::TardinessWorst => |m| m.tardiness_worst,
        }
    }

    /// What a person calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reward => "reward",
            Self::Quality => "quality",
            Self::Tardiness => "tardiness",
            Self::Penalty => "penalty",
            Self::LateFraction => "share of late requests",
            Self::TardinessP99 => "p99 tardiness",
            Self::TardinessWorst => "worst tardiness",
        }
    }

    /// Digits behind the point, and the unit.
    pub(crate) fn form(self) -> (usize, &'static str) {
        match self {
            Self::Reward | Self::Quality | Self::Penalty => (2, ""),
            Self::Tardiness | Self::TardinessP99 | Self::TardinessWorst => (2, " s"),
            Self::LateFraction => (3, ""),
        }
    }
}

/// How much is meant by more.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Margin {
    /// In the unit of the figure.
    Absolute(f64),
    /// In per cent of what the policy with less has.
    Percent(f64),
}

impl Default for Margin {
    fn default() -> Self {
        Self::Absolute(0.0)
    }
}

impl TryFrom<toml::Value> for Margin {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
        let margin = match percent {
            Some(text) => f64::from_str(text.trim()).ok().map(Self::Percent),
            None => super::sweep::number(&value).map(Self::Absolute),
        };
        let finite = |margin: &Self| match *margin {
            Self::Absolute(value) | Self::Percent(value) => value.is_finite(),
        };
        margin.filter(finite).ok_or_else(|| {
            let given = excerpt(&value.to_string());
            format!("by is {given}: allowed is a number, or per cent such as \"12 %\"")
        })
    }
}

impl ClaimFile {
    /// What it is about, as it stands in the file.
    pub(crate) fn text(&self) -> String {
        let level = |level: &Level| match level {
            Level::Policy(name) => name.clone(),
            Level::Number(number) => number.to_string(),
        };
        let what = match &self.claim {
            Statement::Above { more, less } => match more {
                Level::Policy(_) => format!("{} > {}", level(more), level(less)),
                Level::Number(_) => format!("{} < {}", level(less), level(more)),
            },
            Statement::Trend { policy, minus, direction } => {
                let minus = minus.as_ref().map_or(String::new(), |minus| format!(" − {minus}"));
                let way = match direction {
                    Direction::Rises => "rises",
                    Direction::Falls => "falls",
                };
                format!("{policy}{minus} {way}")
            }
        };
        let by = match self.by {
            Margin::Absolute(0.0) => String::new(),
            Margin::Absolute(by) => format!(" by {by}{}", self.figure.form().1),
            Margin::Percent(by) => format!(" by {by} %"),
        };
        let panel = self.panel.as_ref().map_or(String::new(), |panel| format!(", {panel}"));
        let at = self.at.as_ref().map_or(String::new(), |at| format!(" at {at}"));
        format!("{}: {what}{by}{panel}{at}", self.figure.name())
    }

    /// What a type cannot say.
    pub(crate) fn check(&self, study: &StudyFile, known: &[String]) -> Result<(), String> {
        if study.figure == FigureKind::Distribution {
            return Err(
                "claims are judged over instances, and figure = \"distribution\" keeps the \
                        requests of one: allowed with the other figures"
                    .into(),
            );
        }
        let about = |problem: String| format!("claim \"{}\": {problem}", excerpt(&self.text()));
        if let Some(name) =
            self.claim.policies().iter().find(|name| !known.iter().any(|k| k == *name))
        {
            let name = excerpt(name);
            return Err(about(format!(
                "there is no policy \"{name}\": allowed are {}",
                known.join("; ")
            )));
        }
        if matches!(self.claim, Statement::Trend { .. })
            && (study.figure != FigureKind::Sweep || self.at.is_some())
        {
            let problem = "rises and falls are along a sweep: allowed with figure = \"sweep\", and without at";
            return Err(about(problem.into()));
        }
        match (&self.claim, self.by) {
            (Statement::Above { less: Level::Policy(_), more: Level::Policy(_) }, _)
            | (_, Margin::Absolute(_)) => Ok(()),
            (_, Margin::Percent(_)) => {
                Err(about("per cent are of a policy: allowed between two policies".into()))
            }
        }
    }
}
