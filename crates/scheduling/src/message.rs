//! What an error message may show of the text or number that it is about.
//!
//! Input comes from anywhere: a value may be a whole file, a number may have three hundred digits, and
//! either may hold codes that a terminal obeys. A message shows as much of it as a person can use.

use std::fmt;

/// Characters of a value that was read.
const VALUE: usize = 80;
/// Characters of a word in a message that others wrote.
const WORD: usize = 160;
/// Characters of a line in such a message.
const LINE: usize = 500;
/// Lines of such a message.
const LINES: usize = 10;

/// A value as an error shows it: on one line, cut in the middle where it is long, control characters
/// escaped.
///
/// ```
/// use scheduling::message::excerpt;
/// assert_eq!(excerpt("best"), "best");
/// assert_eq!(excerpt("a\nb"), r"a\nb");
/// assert!(excerpt(&"x".repeat(10_000)).len() < 100);
/// ```
pub fn excerpt(value: &str) -> String {
    cut(&escaped(value), VALUE)
}

/// A message that a parser wrote, which may repeat what it read: long words and lines are cut in the
/// middle, as both ends matter, and control characters are escaped.
pub fn bounded(message: &str) -> String {
    let mut lines = message.trim_end().lines();
    let mut shown: Vec<_> = lines.by_ref().take(LINES).map(bounded_line).collect();
    if lines.next().is_some() {
        shown.push("…".into());
    }
    shown.join("\n")
}

fn bounded_line(line: &str) -> String {
    let words: Vec<_> = line.split(' ').map(|word| cut(&escaped(word), WORD)).collect();
    cut(&words.join(" "), LINE)
}

/// Bytes as hexadecimal digits.
///
/// ```
/// use scheduling::message::hex;
/// assert_eq!(hex(&[0, 0xab]), "00ab");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// A number in plain digits where these are few, else with an exponent.
///
/// ```
/// use scheduling::message::number;
/// assert_eq!(number(-2.5).to_string(), "-2.5");
/// assert_eq!(number(1e300).to_string(), "1e300");
/// ```
pub fn number(value: f64) -> impl fmt::Display {
    struct Number(f64);
    impl fmt::Display for Number {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self(value) = self;
            let size = value.abs();
            if size.is_finite() && size != 0.0 && !(1e-6..1e16).contains(&size) {
                write!(f, "{value:e}")
            } else {
                write!(f, "{value}")
            }
        }
    }
    Number(value)
}

fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * VALUE));
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The text if it has no more than so many characters, else its beginning and its end.
fn cut(text: &str, most: usize) -> String {
    let Some((beyond, _)) = text.char_indices().nth(most) else { return text.into() };
    let tail = most / 3;
    let start: String = text[..beyond].chars().take(most - tail - 1).collect();
    let skipped = text.chars().count() - tail;
    start + "…" + &text.chars().skip(skipped).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_texts_stay_and_long_ones_keep_both_ends() {
        assert_eq!(excerpt("greedy[ties=slowest]"), "greedy[ties=slowest]");
        let long = format!("start{}end", "x".repeat(1000));
        let shown = excerpt(&long);
        assert!(shown.starts_with("start") && shown.ends_with("end") && shown.contains('…'));
        assert_eq!(shown.chars().count(), VALUE);
    }

    #[test]
    fn control_characters_are_no_terminal_codes() {
        assert_eq!(excerpt("a\u{1b}[31mb\r\n"), r"a\u{1b}[31mb\r\n");
        assert_eq!(bounded("line 1\n\u{7}"), "line 1\n\\u{7}");
    }

    #[test]
    fn numbers_have_few_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (1e-9, "1e-9"),
            (15_000_000.0, "15000000"),
            (-1e300, "-1e300"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_short(text in "(?s).{0,2000}", repeated in 0..40_usize) {
            let text = text.repeat(repeated);
            let (value, message) = (excerpt(&text), bounded(&text));
            prop_assert!(value.chars().count() <= VALUE);
            prop_assert!(message.lines().count() <= LINES + 1);
            prop_assert!(message.lines().all(|line| line.chars().count() <= LINE));
            let control = |c: char| c.is_control() && c != '\n';
            prop_assert!(!value.contains(char::is_control) && !message.contains(control));
        }
    }
}
