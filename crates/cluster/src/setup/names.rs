//! Names: they become tokens of subjects, names of folders and words in the brokers' configuration.

use std::collections::HashSet;

use super::error::SetupError;

/// Characters of a name.
const LONGEST: usize = 64;
/// Characters of a cell's name, which others stand behind.
const LONGEST_CELL: usize = 32;

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Cell,
    Node,
    Agent,
    Server,
}

impl Named {
    fn word(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Node => "node",
            Self::Agent => "agent",
            Self::Server => "server",
        }
    }

    /// # Errors
    /// [`SetupError::Name`]
    pub(super) fn check(self, name: &str) -> Result<(), SetupError> {
        let most = if self == Self::Cell { LONGEST_CELL } else { LONGEST };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=most).contains(&name.len()) && name.bytes().all(allowed) {
            return Ok(());
        }
        Err(SetupError::Name { what: self.word(), name: name.into(), most })
    }

    /// Checks names that must differ: those of folders also where upper and lower case are one.
    ///
    /// # Errors
    /// [`SetupError::Name`] and [`SetupError::Taken`]
    pub(super) fn check_all<'a>(
        self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), SetupError> {
        let taken = |name: &str, problem| SetupError::Taken {
            what: self.word(),
            name: name.into(),
            problem,
        };
        let mut seen = HashSet::new();
        for name in names {
            self.check(name)?;
            if self == Self::Node && name.eq_ignore_ascii_case(super::AGENTS) {
                return Err(taken(name, "has the name of the agents' folder: choose another"));
            }
            let same = if self == Self::Server { name.into() } else { name.to_ascii_lowercase() };
            if !seen.insert(same) {
                return Err(taken(
                    name,
                    "is there twice: names must differ, and not in case alone",
                ));
            }
        }
        Ok(())
    }
}

/// As much of a value as fits on the line of an error.
pub(super) fn shown(value: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = value.chars().take(MOST).flat_map(char::escape_debug).collect();
    if value.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let check = |named: Named, name: &str, allowed: bool| {
            assert_eq!(named.check(name).is_ok(), allowed, "{named:?} {name:?}");
        };
        for named in [Named::Cell, Named::Node, Named::Agent, Named::Server] {
            check(named, "a", true);
            check(named, "Berlin-2_b", true);
            for name in ["", "a.b", "a b", "*", ">", "ä", "a\"", "$SYS", "a\n", "../a"] {
                check(named, name, false);
            }
            check(named, &"x".repeat(32), true);
            check(named, &"x".repeat(33), named != Named::Cell);
            check(named, &"x".repeat(64), named != Named::Cell);
            check(named, &"x".repeat(65), false);
        }
    }

    #[test]
    fn names_differ() {
        assert!(Named::Node.check_all(["n1", "n2"]).is_ok());
        assert!(Named::Server.check_all(["s", "S"]).is_ok());
        let error =
            |named: Named, names: [&str; 2]| named.check_all(names).unwrap_err().to_string();
        assert!(error(Named::Server, ["s", "s"]).starts_with("server \"s\" is there twice"));
        assert!(error(Named::Node, ["n1", "N1"]).starts_with("node \"N1\" is there twice"));
        assert!(error(Named::Node, ["n1", "Agents"]).contains("agents' folder"));
    }

    #[test]
    fn an_error_is_one_short_line() {
        let error = Named::Agent.check(&"\n".repeat(1000)).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.chars().count() < 300, "{error}");
        let error = Named::Cell.check("a.b").unwrap_err().to_string();
        assert_eq!(error, "cell \"a.b\": allowed are 1 to 32 of a-z, A-Z, 0-9, - and _");
    }
}
