//! Policies from outside: a crate of one's own adds them, under names of their own.

use std::sync::OnceLock;

use thiserror::Error;

use crate::message::excerpt;
use crate::policy::Policy;
use crate::random::Generator;

/// A policy from outside, and what it is called wherever a policy is named.
///
/// ```
/// use scheduling::policies::{Fixed, OwnPolicy, register};
/// use scheduling::{PolicyName, Steps};
///
/// let few = OwnPolicy {
///     name: "few",
///     options: "",
///     make: |_, _| Ok(Box::new(Fixed { steps: Steps::saturating(8.0) })),
/// };
/// register(vec![few])?;
/// let name: PolicyName = "few".parse()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OwnPolicy {
    /// Its name: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// What may stand between brackets behind the name, for messages, such as `[share=0..1]`.
    pub options: &'static str,
    /// Makes it, once for each instance, from what stands between the brackets. Random numbers come from the
    /// generator, so that results depend on nothing else. The error says what is allowed.
    pub make: Make,
}

/// From what stands between the brackets, and a generator, to a policy, or to what is wrong.
pub type Make = fn(Option<&str>, Generator) -> Result<Box<dyn Policy>, String>;

/// All of them. They are told once, before any name is read, and never change.
static OWN: OnceLock<Vec<OwnPolicy>> = OnceLock::new();

/// Names that are taken.
const BUILT_IN: [&str; 7] = ["random", "greedy", "fixed", "myopic", "priced", "agent", "file"];

/// Adds policies to those that can be named. Only once, before the first name is read.
///
/// # Errors
/// [`RegisterError`]; then nothing is added.
pub fn register(policies: Vec<OwnPolicy>) -> Result<(), RegisterError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    for (index, OwnPolicy { name, .. }) in policies.iter().enumerate() {
        if name.is_empty() || !name.chars().all(valid) {
            return Err(RegisterError::Name(excerpt(name)));
        }
        let twice = policies[..index].iter().any(|other| other.name == *name);
        if twice || BUILT_IN.contains(name) {
            return Err(RegisterError::Taken((*name).into()));
        }
    }
    OWN.set(policies).map_err(|_| RegisterError::Again)
}

/// The policies that were added.
pub(super) fn own() -> &'static [OwnPolicy] {
    OWN.get().map_or(&[], Vec::as_slice)
}

/// Policies that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// A name that could not be read again.
    #[error("a policy cannot be called \"{0}\": allowed are letters, digits, - and _")]
    Name(String),
    /// A name that another policy has.
    #[error("two policies are called {0}: names must differ, also from those built in")]
    Taken(String),
    /// They are told once.
    #[error("policies are added twice: allowed is once, before the first name is read")]
    Again,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::{Fixed, PolicyName};
    use crate::{Purpose, Steps};

    fn called(name: &'static str) -> OwnPolicy {
        let make = |options: Option<&str>, _: Generator| -> Result<Box<dyn Policy>, String> {
            let steps = options.unwrap_or("9").parse().map_err(|_| "allowed is a number")?;
            Ok(Box::new(Fixed { steps: Steps::saturating(steps) }))
        };
        OwnPolicy { name, options: "[N]", make }
    }

    // One test: they are told once in a process.
    #[test]
    fn own_policies_are_named_as_the_built_in_ones_are() {
        let refused = |names: &[&'static str]| {
            register(names.iter().copied().map(called).collect()).unwrap_err().to_string()
        };
        assert!(refused(&["mine", "greedy"]).contains("two policies are called greedy"));
        assert!(refused(&["mine", "mine"]).contains("two policies are called mine"));
        assert!(refused(&["mine[x]"]).contains("letters, digits"));
        assert!(refused(&[""]).contains("letters, digits"));
        let unknown = |text: &str| text.parse::<PolicyName>().unwrap_err().to_string();
        assert!(unknown("mine").contains("no such policy"));

        register(vec![called("mine"), called("mine-too")]).unwrap();
        assert_eq!(refused(&["other"]), RegisterError::Again.to_string());
        for text in ["mine", "mine[7]", "mine-too[a,b]"] {
            let name: PolicyName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
        assert!(unknown("min").ends_with("mine[N], mine-too[N]"), "{}", unknown("min"));
        let PolicyName::Own(mine) = "mine[x]".parse().unwrap() else { panic!() };
        let generator = || Generator::new(1, Purpose::Policy, 0);
        let error = mine.policy(generator()).err().unwrap().to_string();
        assert_eq!(error, "policy mine[x]: allowed is a number");
        let PolicyName::Own(mine) = "mine[7]".parse().unwrap() else { panic!() };
        assert!(mine.policy(generator()).is_ok());
    }
}
