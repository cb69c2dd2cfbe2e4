//! What a backend says, fit to be shown.

use std::fmt;

/// A text from outside as it may stand in errors, logs and the journal: one line of bounded
/// length, without anything that a terminal would obey.
///
/// White space is run together. Control characters, and those that change the direction of
/// writing, are escaped as in `\u{1b}`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// Most characters, without the mark that something was cut off.
    pub const MOST: usize = 300;

    /// The beginning of `text`.
    pub fn of(text: &str) -> Self {
        let mut line = String::new();
        let mut length = 0;
        for word in text.split_whitespace() {
            let gap = if line.is_empty() { "" } else { " " };
            for char in gap.chars().chain(word.chars()) {
                let from = line.len();
                if is_tame(char) {
                    line.push(char);
                } else {
                    line.extend(char.escape_unicode());
                }
                length += line[from..].chars().count();
                if length > Self::MOST {
                    line.truncate(from);
                    line.push('…');
                    return Self(line.into());
                }
            }
        }
        Self(line.into())
    }

    /// The beginning of bytes that should be text.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        // No character takes more than four bytes, and words are apart by white space, of which
        // some is passed over.
        Self::of(&String::from_utf8_lossy(&bytes[..bytes.len().min(16 * Self::MOST)]))
    }
}

/// Neither a control character nor one that is seen only by what it does to others.
fn is_tame(char: char) -> bool {
    !char.is_control()
        && !matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        Self::of(text)
    }
}

impl From<String> for Excerpt {
    fn from(text: String) -> Self {
        Self::of(&text)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not escaped once more.
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_become_one_tame_line() {
        for (text, expected) in [
            ("", ""),
            ("CUDA out of memory", "CUDA out of memory"),
            ("  a\r\n\tb\u{2028}c  ", "a b c"),
            ("\u{1b}[31mRED\u{1b}[0m\u{7}", "\\u{1b}[31mRED\\u{1b}[0m\\u{7}"),
            ("user\u{202e}gnp.exe", "user\\u{202e}gnp.exe"),
            ("\0\u{9b}2J\u{feff}", "\\u{0}\\u{9b}2J\\u{feff}"),
            ("猫 é 🦊", "猫 é 🦊"),
        ] {
            assert_eq!(Excerpt::of(text).to_string(), expected);
        }
        assert_eq!(Excerpt::of_bytes(b"bad \xff byte").to_string(), "bad \u{fffd} byte");
        assert_eq!(Excerpt::of(&"x".repeat(300)).to_string(), "x".repeat(300));
        assert_eq!(Excerpt::of(&"x".repeat(301)).to_string(), "x".repeat(300) + "…");
    }

    proptest! {
        #[test]
        fn any_bytes_become_a_line_of_bounded_length(
            bytes in prop::collection::vec(any::<u8>(), 0..2000), text in any::<String>(),
        ) {
            for line in [Excerpt::of_bytes(&bytes), Excerpt::of(&text)] {
                let line = line.to_string();
                prop_assert!(line.chars().count() <= Excerpt::MOST + 1);
                prop_assert!(line.chars().all(is_tame), "{line:?}");
                let again = Excerpt::of(&line).to_string();
                prop_assert!(again == line || line.ends_with('…'), "{again:?} of {line:?}");
            }
        }
    }
}
