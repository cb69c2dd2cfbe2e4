//! What is claimed, measured: each claim with its value, interval and verdict.
//!
//! Verdicts follow from numbers by the rules written here, never from a hand. What a study claims is in
//! [`judge`]; what takes more than a line of a study to say, about the committed ones, in [`paper`].

use crate::figures::label;
use crate::statistics::Finding;

pub(crate) mod judge;
pub(crate) mod paper;

/// A claim with what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What is claimed.
    pub statement: String,
    /// Where the paper claims it; none if the paper does not.
    pub paper: Option<String>,
    /// What was measured, with intervals; where it is about several places, that at which it holds least.
    pub measured: String,
    /// The same in a line for a terminal.
    pub brief: String,
    /// What was measured at each of several places.
    pub places: Vec<String>,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everywhere that it is about, for every training seed.
    Holds,
    /// It fails somewhere there.
    DoesNotHold,
    /// It holds under one reading or setting and fails, or differs, under another.
    Depends,
    /// An interval or the training seeds lie on both sides, or there is but one instance.
    NotDecided,
}

impl Verdict {
    /// What the page and the terminal say.
    pub fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::Depends => "depends",
            Self::NotDecided => "not decided at these numbers",
        }
    }

    /// Of several that must all hold.
    pub(crate) fn all(verdicts: impl Iterator<Item = Self>) -> Self {
        verdicts.fold(Self::Holds, |all, verdict| match (all, verdict) {
            (Self::DoesNotHold, _) | (_, Self::DoesNotHold) => Self::DoesNotHold,
            (Self::Holds, Self::Holds) => Self::Holds,
            _ => Self::NotDecided,
        })
    }
}

/// `63.1 s [62.9, 63.3; seeds 62.8 to 63.4]`
pub(crate) fn plain(finding: &Finding, digits: usize, unit: &str) -> String {
    let number = |value: f64| label(value, digits);
    with_range(finding, number(finding.estimate.mean) + unit, number)
}

/// As [`plain`], with a sign.
pub(crate) fn signed(finding: &Finding, digits: usize, unit: &str) -> String {
    let number = |value: f64| {
        let text = label(value, digits);
        if value > 0.0 { format!("+{text}") } else { text }
    };
    with_range(finding, number(finding.estimate.mean) + unit, number)
}

fn with_range(finding: &Finding, mean: String, number: impl Fn(f64) -> String) -> String {
    let interval = finding.estimate.ci95.map(|[l, h]| format!("{}, {}", number(l), number(h)));
    let seeds = finding.seeds.map(|[l, h]| format!("seeds {} to {}", number(l), number(h)));
    let parts: Vec<_> = interval.into_iter().chain(seeds).collect();
    if parts.is_empty() { mean } else { format!("{mean} [{}]", parts.join("; ")) }
}
