//! Policy names as they stand on the command line and in files: `greedy[ties=fastest]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::message::excerpt;
use crate::policies::own::own;
use crate::policies::{Fixed, Greedy, Myopic, Price, Priced, Random, Ties};
use crate::policy::Policy;
use crate::random::Generator;
use crate::units::{Seconds, Steps};

/// Which policy, with its options.
///
/// ```
/// let name: scheduling::PolicyName = "greedy[ties=fastest]".parse()?;
/// assert_eq!(name.to_string(), "greedy[ties=fastest]");
/// # Ok::<(), scheduling::PolicyNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PolicyName {
    /// A rule, which needs nothing but its name.
    Rule(Rule),
    /// A trained agent, which the `agent` crate reads from its checkpoint.
    Agent(AgentName),
    /// A policy in a Python file, which the `agent` crate runs.
    File(PathBuf),
    /// A policy from outside.
    Own(OwnName),
}

/// A policy that needs no training, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// [`Random`]
    Random {
        /// Steps of every request; 120 unless told.
        steps: Steps,
    },
    /// [`Greedy`]
    Greedy {
        /// Which of several servers that are free first.
        ties: Ties,
    },
    /// [`Fixed`]
    Fixed {
        /// Steps of every request; 30 unless told.
        steps: Steps,
    },
    /// [`Myopic`]
    Myopic,
    /// [`Priced`]
    Priced {
        /// What server time costs; [`Price::CONTENDED`] unless told.
        price: Price,
    },
}

/// Which trained agent, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentName {
    /// Folder of the checkpoint.
    pub checkpoint: PathBuf,
    /// Longest tardiness that it may plan for, where another decision avoids it.
    pub cap: Option<Cap>,
}

/// Which policy from outside, with what stands between the brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// One of those that were [`register`](crate::policies::register)ed.
    pub name: String,
    /// For the policy alone to understand.
    pub options: Option<String>,
}

impl OwnName {
    /// The policy. The generator is for those that draw random numbers.
    ///
    /// # Errors
    /// [`PolicyNameError`] if it does not understand its options.
    pub fn policy(&self, generator: Generator) -> Result<Box<dyn Policy>, PolicyNameError> {
        let registered = own().iter().find(|own| own.name == self.name);
        let own = registered.ok_or_else(|| PolicyNameError::unknown(&self.to_string()))?;
        (own.make)(self.options.as_deref(), generator)
            .map_err(|problem| PolicyNameError::Own { text: self.to_string(), problem })
    }
}

/// A limit on predicted tardiness; never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cap(pub Seconds);

impl Eq for Cap {}

/// All names, for help texts and errors.
const VALID: &str = "random, random[steps=1..200], greedy, greedy[ties=lowest|fastest], \
                     fixed[steps=1..200], myopic, priced[base=B,slope=S,power=P,load=L], \
                     agent[FOLDER OF A CHECKPOINT], agent[FOLDER,cap=SECONDS], file[POLICY.py]";

impl Rule {
    /// Steps of the paper's random policy (§IV-B).
    const RANDOM_STEPS: u32 = 120;
    /// What most people use.
    const FIXED_STEPS: u32 = 30;

    /// The policy. The generator is for those that draw random numbers.
    pub fn policy(self, generator: Generator) -> Box<dyn Policy> {
        match self {
            Self::Random { steps } => Box::new(Random::new(steps, generator)),
            Self::Greedy { ties } => Box::new(Greedy { ties }),
            Self::Fixed { steps } => Box::new(Fixed { steps }),
            Self::Myopic => Box::new(Myopic),
            Self::Priced { price } => Box::new(Priced { price }),
        }
    }
}

impl FromStr for PolicyName {
    type Err = PolicyNameError;

    fn from_str(text: &str) -> Result<Self, PolicyNameError> {
        match parts(text)? {
            ("agent", options) => agent(text, options.unwrap_or_default()).map(Self::Agent),
            ("file", Some(file)) if !file.is_empty() => Ok(Self::File(file.into())),
            ("file", _) => Err(PolicyNameError::option(text, "", "a file with a policy in Python")),
            (name, options) if own().iter().any(|own| own.name == name) => {
                Ok(Self::Own(OwnName { name: name.into(), options: options.map(str::to_owned) }))
            }
            _ => text.parse().map(Self::Rule),
        }
    }
}

impl FromStr for Rule {
    type Err = PolicyNameError;

    fn from_str(text: &str) -> Result<Self, PolicyNameError> {
        let (name, options) = parts(text)?;
        let steps = |default: u32| match options {
            None => Ok(Steps::new(default).expect("defaults are in range")),
            Some(options) => options
                .strip_prefix("steps=")
                .and_then(|value| Steps::new(value.parse().ok()?).ok())
                .ok_or_else(|| PolicyNameError::option(text, options, "steps=N with N 1 to 200")),
        };
        match (name, options) {
            ("random", _) => Ok(Self::Random { steps: steps(Self::RANDOM_STEPS)? }),
            ("fixed", _) => Ok(Self::Fixed { steps: steps(Self::FIXED_STEPS)? }),
            ("greedy", None | Some("ties=lowest")) => Ok(Self::Greedy { ties: Ties::Lowest }),
            ("greedy", Some("ties=fastest")) => Ok(Self::Greedy { ties: Ties::Fastest }),
            ("greedy", Some(other)) => {
                Err(PolicyNameError::option(text, other, "ties=lowest or ties=fastest"))
            }
            ("myopic", None) => Ok(Self::Myopic),
            ("myopic", Some(other)) => Err(PolicyNameError::option(text, other, "no option")),
            ("priced", None) => Ok(Self::Priced { price: Price::CONTENDED }),
            ("priced", Some(options)) => {
                options.parse().map(|price| Self::Priced { price }).map_err(|problem| {
                    let allowed =
                        "base=B,slope=S,power=P,load=L with B, S, L 0 to 1e6 and P 0 to 8";
                    PolicyNameError::problem(text, format!("{problem}, allowed is {allowed}"))
                })
            }
            _ => Err(PolicyNameError::unknown(text)),
        }
    }
}

/// `name[options]`
fn parts(text: &str) -> Result<(&str, Option<&str>), PolicyNameError> {
    match text.split_once('[') {
        None => Ok((text, None)),
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(options) => Ok((name, Some(options))),
            None => Err(PolicyNameError::unclosed(text)),
        },
    }
}

/// `FOLDER` or `FOLDER,cap=SECONDS`
fn agent(text: &str, options: &str) -> Result<AgentName, PolicyNameError> {
    let (folder, cap) = match options.rsplit_once(",cap=") {
        None => (options, None),
        Some((folder, seconds)) => {
            let cap = seconds.parse().ok().and_then(|seconds| Seconds::new(seconds).ok());
            let allowed = "cap=SECONDS with 0 to 1e9";
            let cap = cap
                .ok_or_else(|| PolicyNameError::option(text, &format!("cap={seconds}"), allowed))?;
            (folder, Some(Cap(cap)))
        }
    };
    if folder.is_empty() {
        return Err(PolicyNameError::option(text, "", "the folder of a checkpoint"));
    }
    Ok(AgentName { checkpoint: folder.into(), cap })
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Agent(AgentName { checkpoint, cap: None }) => {
                write!(f, "agent[{}]", checkpoint.display())
            }
            Self::Agent(AgentName { checkpoint, cap: Some(Cap(cap)) }) => {
                write!(f, "agent[{},cap={}]", checkpoint.display(), cap.seconds())
            }
            Self::File(file) => write!(f, "file[{}]", file.display()),
            Self::Own(own) => own.fmt(f),
        }
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.options {
            None => f.write_str(&self.name),
            Some(options) => write!(f, "{}[{options}]", self.name),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { steps } if steps.get() == Rule::RANDOM_STEPS => f.write_str("random"),
            Self::Random { steps } => write!(f, "random[steps={}]", steps.get()),
            Self::Greedy { ties: Ties::Lowest } => f.write_str("greedy"),
            Self::Greedy { ties: Ties::Fastest } => f.write_str("greedy[ties=fastest]"),
            Self::Fixed { steps } => write!(f, "fixed[steps={}]", steps.get()),
            Self::Myopic => f.write_str("myopic"),
            Self::Priced { price } => write!(f, "priced[{price}]"),
        }
    }
}

impl From<Rule> for PolicyName {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

impl From<AgentName> for PolicyName {
    fn from(name: AgentName) -> Self {
        Self::Agent(name)
    }
}

impl TryFrom<String> for PolicyName {
    type Error = PolicyNameError;
    fn try_from(text: String) -> Result<Self, PolicyNameError> {
        text.parse()
    }
}

impl From<PolicyName> for String {
    fn from(name: PolicyName) -> Self {
        name.to_string()
    }
}

/// A policy name that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyNameError {
    /// There is no such policy, or no such option of it.
    #[error("policy \"{}\": {problem}; valid are {VALID}{}", excerpt(text), of_own())]
    Unknown {
        /// The name.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A policy from outside does not understand its options.
    #[error("policy {}: {problem}", excerpt(text))]
    Own {
        /// The name.
        text: String,
        /// What it says of them.
        problem: String,
    },
}

/// The names of policies from outside, behind those of the others.
fn of_own() -> String {
    let names = own().iter().flat_map(|own| [", ", own.name, own.options]);
    names.collect()
}

impl PolicyNameError {
    fn unknown(text: &str) -> Self {
        Self::problem(text, "there is no such policy".into())
    }

    fn unclosed(text: &str) -> Self {
        Self::problem(text, "the closing ] is missing".into())
    }

    fn problem(text: &str, problem: String) -> Self {
        Self::Unknown { text: text.into(), problem }
    }

    fn option(text: &str, option: &str, allowed: &str) -> Self {
        let problem = format!("\"{}\" is given, allowed is {allowed}", excerpt(option));
        Self::problem(text, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_their_shortest_form() {
        for (text, canonical) in [
            ("random", "random"),
            ("random[steps=120]", "random"),
            ("random[steps=7]", "random[steps=7]"),
            ("greedy", "greedy"),
            ("greedy[ties=lowest]", "greedy"),
            ("greedy[ties=fastest]", "greedy[ties=fastest]"),
            ("fixed", "fixed[steps=30]"),
            ("fixed[steps=200]", "fixed[steps=200]"),
            ("myopic", "myopic"),
            ("priced[slope=0.25,base=1]", "priced[base=1,slope=0.25,power=1]"),
            ("priced[base=0.1,slope=2,power=0.5]", "priced[base=0.1,slope=2,power=0.5]"),
            ("priced[load=0.5,base=1]", "priced[base=1,slope=0,power=1,load=0.5]"),
            ("priced[load=0,base=1]", "priced[base=1,slope=0,power=1]"),
            ("agent[models/paper]", "agent[models/paper]"),
            ("agent[a,b,cap=30]", "agent[a,b,cap=30]"),
            ("file[a/b.py]", "file[a/b.py]"),
        ] {
            let name: PolicyName = text.parse().unwrap();
            assert_eq!(name.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(name));
        }
    }

    #[test]
    fn wrong_names_list_the_valid_ones() {
        for (text, part) in [
            ("best", "no such policy"),
            ("", "no such policy"),
            ("greedy[ties=slowest]", "allowed is ties=lowest or ties=fastest"),
            ("fixed[steps=0]", "allowed is steps=N with N 1 to 200"),
            ("fixed[steps=x]", "steps=x"),
            ("fixed[steps=30", "closing ]"),
            ("myopic[steps=3]", "no option"),
            ("priced[base=-1]", "-1 is not a base price: allowed is 0 to 1e6"),
            ("priced[load=-1]", "-1 is not a price of loading: allowed is 0 to 1e6"),
            ("priced[base=1,base=2]", "base=2"),
            ("priced[price=1]", "allowed is base=B,slope=S,power=P"),
            ("priced[]", "allowed is base=B"),
            ("agent[models/paper,cap=soon]", "allowed is cap=SECONDS"),
            ("agent[,cap=3]", "folder of a checkpoint"),
            ("agent", "folder of a checkpoint"),
            ("agent[]", "folder of a checkpoint"),
            ("file", "a file with a policy in Python"),
            ("file[]", "a file with a policy in Python"),
            ("file[a.py", "closing ]"),
            (&"x".repeat(9000), "no such policy"),
            (&format!("priced[base={}]", "9".repeat(9000)), "allowed is base=B"),
        ] {
            let message = text.parse::<PolicyName>().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.contains("valid are random, ") && message.len() < 700, "{message}");
        }
    }
}
