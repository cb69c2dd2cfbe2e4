//! The present as [`Time`], and the way between it and the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use scheduling::{Seconds, Time};
use tokio::time::Instant;

/// The gateway's time: seconds since its origin, which is the first start on its journal.
///
/// Within one process it follows the monotonic clock alone, so it never stands still or goes back
/// when somebody sets the wall clock. Across restarts it goes on where the wall clock says, or
/// where the journal ends if that is later. Wall-clock times are translated in both directions
/// through the wall clock of the moment: a due time given as a date means what the clock shows
/// when it is read.
#[derive(Clone, Debug)]
pub struct Timeline {
    anchor: Instant,
    at_anchor: Time,
    wall: WallClock,
}

/// Where the date comes from.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(pub fn() -> f64);

impl WallClock {
    /// The machine's.
    pub const SYSTEM: Self = Self(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    });
}

/// Latest time that is used, well within what [`Time`] allows.
const LATEST: f64 = 9e8;

impl Timeline {
    /// Goes on from a journal with this origin (Unix seconds) whose last entry is at `last`.
    pub fn resume(origin: f64, last: Time, wall: WallClock) -> Self {
        let by_wall = within((wall.0)() - origin);
        Self { anchor: Instant::now(), at_anchor: by_wall.max(last), wall }
    }

    /// The present.
    pub fn now(&self) -> Time {
        let elapsed = self.anchor.elapsed().as_secs_f64();
        within((self.at_anchor + Seconds::of(elapsed)).seconds())
    }

    /// What the wall clock shows at `time`, given what it shows now.
    pub fn date(&self, time: Time) -> Timestamp {
        let unix = (self.wall.0)() + (time - self.now()).seconds();
        // Whole milliseconds: the two clocks are not read at the very same moment.
        let milliseconds = (unix * 1e3).round().clamp(0.0, 253e12);
        Timestamp::from_millisecond(milliseconds as i64).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// How far `date` lies ahead of the wall clock; negative if it has passed.
    pub fn until(&self, date: Timestamp) -> Seconds {
        Seconds::of(date.as_microsecond() as f64 / 1e6 - (self.wall.0)())
    }

    /// How far the wall clock has moved against this time line since `origin` was fixed.
    pub fn drift(&self, origin: f64) -> Seconds {
        Seconds::of((self.wall.0)() - origin - self.now().seconds())
    }
}

fn within(seconds: f64) -> Time {
    let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, LATEST) };
    Time::new(seconds).expect("clamped into the range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! { static WALL: Cell<f64> = const { Cell::new(0.0) }; }
    const WALL_CLOCK: WallClock = WallClock(|| WALL.get());

    #[tokio::test(start_paused = true)]
    async fn the_time_line_ignores_a_clock_that_jumps() {
        WALL.set(1_000_000.0);
        let timeline = Timeline::resume(1_000_000.0, Time::ZERO, WALL_CLOCK);
        let mut before = timeline.now();
        for jump in [0.0, 1e9, -5e6, 3600.0, -3600.0, f64::NAN] {
            WALL.set(1_000_000.0 + jump);
            tokio::time::advance(Duration::from_millis(250)).await;
            assert_eq!(timeline.now() - before, Seconds::of(0.25), "jump of {jump} s");
            before = timeline.now();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dates_follow_the_clock_of_the_moment() {
        WALL.set(500.0);
        let timeline = Timeline::resume(400.0, Time::ZERO, WALL_CLOCK);
        assert_eq!(timeline.now().seconds(), 100.0);
        WALL.set(9_000.0);
        let date = timeline.date(timeline.now() + Seconds::of(12.5));
        assert_eq!(date.as_millisecond(), 9_012_500);
        assert_eq!(timeline.until(date), Seconds::of(12.5));
        assert_eq!(timeline.until(Timestamp::UNIX_EPOCH), Seconds::of(-9_000.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_never_goes_back() {
        let at = |t| Time::new(t).unwrap();
        for (wall, last, expected) in
            [(1_050.0, 20.0, 50.0), (900.0, 20.0, 20.0), (1e12, 20.0, LATEST), (f64::NAN, 7.0, 7.0)]
        {
            WALL.set(wall);
            let timeline = Timeline::resume(1_000.0, at(last), WALL_CLOCK);
            assert_eq!(timeline.now(), at(expected), "wall clock {wall}");
        }
    }
}
