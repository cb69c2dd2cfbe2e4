//! When a server counts as healthy.

/// Consecutive outcomes of one server, against thresholds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HealthCounter {
    failures: u32,
    successes: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Unknown,
    Up { failed: u32 },
    Down { succeeded: u32 },
}

/// A change that the scheduler must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It became healthy.
    Up,
    /// It became unhealthy.
    Down,
}

impl HealthCounter {
    /// A server never asked; its first answer is believed at once.
    pub(crate) fn new(failures: u32, successes: u32) -> Self {
        Self { failures, successes, state: State::Unknown }
    }

    /// It answered.
    pub(crate) fn succeeded(&mut self) -> Option<Turn> {
        match &mut self.state {
            State::Up { failed } => *failed = 0,
            State::Down { succeeded } if *succeeded + 1 < self.successes => *succeeded += 1,
            State::Down { .. } | State::Unknown => {
                self.state = State::Up { failed: 0 };
                return Some(Turn::Up);
            }
        }
        None
    }

    /// It failed; `certainly` if there is no doubt that it is down.
    pub(crate) fn failed(&mut self, certainly: bool) -> Option<Turn> {
        match &mut self.state {
            State::Down { succeeded } => *succeeded = 0,
            State::Up { failed } if !certainly && *failed + 1 < self.failures => *failed += 1,
            State::Up { .. } | State::Unknown => {
                self.state = State::Down { succeeded: 0 };
                return Some(Turn::Down);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_consecutive_outcomes() {
        let check = |outcomes: &str, turns: &str| {
            let mut counter = HealthCounter::new(3, 2);
            let seen: String = (outcomes.chars())
                .map(|outcome| {
                    let turn = match outcome {
                        '+' => counter.succeeded(),
                        '-' => counter.failed(false),
                        _ => counter.failed(true),
                    };
                    turn.map_or('.', |turn| if turn == Turn::Up { 'U' } else { 'D' })
                })
                .collect();
            assert_eq!(seen, turns, "{outcomes}");
        };
        check("+---++", "U..D.U");
        check("+--+--+", "U......");
        check("-+-++", "D...U");
        check("+!++", "UD.U");
    }
}
