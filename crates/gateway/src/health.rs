//! When a server counts as healthy, and when it is asked.

use std::time::Duration;

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

    /// Other thresholds hold; what is known stays.
    pub(crate) fn expect(&mut self, failures: u32, successes: u32) {
        (self.failures, self.successes) = (failures, successes);
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

    /// It did not answer.
    pub(crate) fn failed(&mut self) -> Option<Turn> {
        match &mut self.state {
            State::Down { succeeded } => *succeeded = 0,
            State::Up { failed } if *failed + 1 < self.failures => *failed += 1,
            State::Up { .. } | State::Unknown => {
                self.state = State::Down { succeeded: 0 };
                return Some(Turn::Down);
            }
        }
        None
    }
}

/// Pauses between the probes of one server: short at first and after every change, so that a server
/// that comes or goes is noticed within a second, and growing up to the configured interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    interval: Duration,
    pause: Duration,
    answered: Option<bool>,
}

impl Rhythm {
    const SHORTEST: Duration = Duration::from_millis(100);

    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, pause: Self::SHORTEST, answered: None }
    }

    /// How long to wait after a probe that was answered or not.
    pub(crate) fn pause_after(&mut self, answered: bool) -> Duration {
        if self.answered.replace(answered) != Some(answered) {
            self.start_anew();
        }
        let pause = self.pause.min(self.interval);
        self.pause = self.interval.min(pause * 2);
        pause
    }

    /// The next pauses are short again.
    pub(crate) fn start_anew(&mut self) {
        self.pause = Self::SHORTEST;
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
                        _ => counter.failed(),
                    };
                    turn.map_or('.', |turn| if turn == Turn::Up { 'U' } else { 'D' })
                })
                .collect();
            assert_eq!(seen, turns, "{outcomes}");
        };
        check("+---++", "U..D.U");
        check("+--+--+", "U......");
        check("-+-++", "D...U");
    }

    #[test]
    fn pauses_grow_to_the_interval_and_start_anew_at_every_change() {
        let check = |interval: u64, outcomes: &str, pauses: &[u64]| {
            let mut rhythm = Rhythm::new(Duration::from_millis(interval));
            let seen: Vec<_> = (outcomes.chars())
                .map(|outcome| rhythm.pause_after(outcome == '+').as_millis() as u64)
                .collect();
            assert_eq!(seen, pauses, "{outcomes}");
        };
        check(5000, "++++++++", &[100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        check(1000, "+++++--+", &[100, 200, 400, 800, 1000, 100, 200, 100]);
        check(50, "++-+", &[50, 50, 50, 50]);
    }
}
