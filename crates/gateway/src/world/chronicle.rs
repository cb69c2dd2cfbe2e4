//! What happened, in order: hashed, so that two worlds can be compared, and kept for the report.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write as _;

/// The events of a world.
pub(super) struct Chronicle {
    hash: u64,
    events: u64,
    latest: VecDeque<String>,
    /// Identifiers are random: here they are counted, in the order in which they appeared.
    names: HashMap<String, usize>,
    /// Where all of it is written down, if somebody wants to read it.
    log: Option<File>,
}

impl Chronicle {
    /// Events that are kept for the report.
    const KEPT: usize = 60;

    pub(super) fn new() -> Self {
        let log = std::env::var_os("ATELIER_WORLD_LOG");
        let log = log.map(|path| File::create(path).expect("a place for the log"));
        // FNV-1a's offset.
        let hash = 0xcbf2_9ce4_8422_2325;
        Self { hash, events: 0, latest: VecDeque::new(), names: HashMap::new(), log }
    }

    /// Takes note of an event at `time`, in seconds since the world began.
    pub(super) fn note(&mut self, time: f64, event: &str) {
        let line = format!("{time:.3} {}", self.named(event));
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(log) = &mut self.log {
            writeln!(log, "{line}").expect("a place for the log");
        }
        self.events += 1;
        if self.latest.len() == Self::KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(line);
    }

    /// The same in two worlds in which the same happened.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The latest events, a line each.
    pub(super) fn latest(&self) -> String {
        let lines: Vec<_> = self.latest.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// The text with every identifier replaced by its number.
    pub(super) fn named(&mut self, text: &str) -> String {
        const LENGTH: usize = 36;
        let mut named = String::with_capacity(text.len());
        let (mut kept, mut from) = (0, 0);
        // Looked for by its first hyphen, which stands behind eight digits.
        while let Some(found) = text[from..].find('-') {
            let hyphen = from + found;
            from = hyphen + 1;
            let Some(start) = hyphen.checked_sub(8).filter(|start| *start >= kept) else {
                continue;
            };
            let Some(candidate) = text.get(start..start + LENGTH) else { continue };
            if !is_identifier(candidate) {
                continue;
            }
            let next = self.names.len() + 1;
            let number = *self.names.entry(candidate.into()).or_insert(next);
            named += &text[kept..start];
            named.push('r');
            named += &number.to_string();
            kept = start + LENGTH;
            from = kept;
        }
        named + &text[kept..]
    }
}

fn is_identifier(text: &str) -> bool {
    text.bytes().enumerate().all(|(position, byte)| match position {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[test]
fn identifiers_are_counted_in_the_order_in_which_they_appear() {
    let (a, b) = ("0190d5a0-7c1e-7f00-8000-000000000001", "0190d5a0-7c1e-7f00-8000-00000000000f");
    let mut chronicle = Chronicle::new();
    assert_eq!(chronicle.named(&format!("{b}: x-y-z {a}/1")), "r1: x-y-z r2/1");
    assert_eq!(chronicle.named(&format!("é-{a}{b}-{a}0")), "é-r2r1-r20");
    assert_eq!(chronicle.named("2030-01-31 and 01234567-"), "2030-01-31 and 01234567-");
}
