//! The present as [`Time`], and the way between it and the wall clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use scheduling::{Seconds, Time};
use tokio::time::Instant;

use crate::journal::{Clock, Clocks, Moment};

/// The gateway's time: seconds since its origin, which is the first start on its journal.
///
/// Within one process it follows the monotonic clock alone, so it never stands still or goes back
/// when somebody sets the wall clock. Across restarts it goes on from the journal's last record by
/// what the wall clock has moved since, which is believed within bounds: it never goes back, a clock
/// that is too far ahead makes it leap [`Timeline::BELIEVED`] at most, and one that was too far behind
/// for a while is recognised by the date that was there before. Wall-clock times
/// are translated in both directions through the wall clock of the moment: a due time given as a
/// date means what the clock shows when it is read.
///
/// The time lived is counted beside it: how long gateways have run on the journal, whatever any
/// clock said in between. What is old is deleted by it.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    anchor: Arc<Mutex<Anchor>>,
    wall: WallClock,
}

/// A moment from which on time is counted.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    instant: Instant,
    time: Time,
    lived: Seconds,
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
    /// Longest time between a stop and a start that is believed: 30 days, after which nothing would
    /// be remembered by the default limits.
    pub(crate) const BELIEVED: Seconds = Seconds::of(2_592_000.0);

    /// Goes on from a journal whose last record is at `last`, and in which the clocks were written
    /// down.
    pub(crate) fn resume(last: Time, clocks: Clocks, wall: WallClock) -> Self {
        let Clocks { latest, furthest, lived } = clocks;
        let last = last.max(latest.time);
        let now = (wall.0)();
        // By either, if the wall clock has not been set since; what is not a number is no time.
        let since = |moment: Moment| now - (moment.wall + (last - moment.time).seconds());
        let stood = [latest, furthest].map(since).into_iter().filter(|stood| *stood > 0.0);
        let stood = stood.reduce(f64::min).map_or(0.0, |stood| stood.min(Self::BELIEVED.seconds()));
        let time = within(last.seconds() + stood);
        let anchor = Anchor { instant: Instant::now(), time, lived };
        Self { anchor: Arc::new(Mutex::new(anchor)), wall }
    }

    /// One that begins at the present.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn start(wall: WallClock) -> Self {
        let latest = Moment { time: Time::ZERO, wall: (wall.0)() };
        Self::resume(Time::ZERO, Clocks { latest, furthest: latest, lived: Seconds::ZERO }, wall)
    }

    /// The present.
    pub(crate) fn now(&self) -> Time {
        let Anchor { instant, time, .. } = self.anchor();
        within(time.seconds() + instant.elapsed().as_secs_f64())
    }

    /// The time lived.
    pub(crate) fn lived(&self) -> Seconds {
        let Anchor { instant, lived, .. } = self.anchor();
        lived + Seconds::of(instant.elapsed().as_secs_f64())
    }

    /// From now on it goes by what another one has said a moment ago, who leads.
    pub(crate) fn follow(&self, time: Time, lived: Seconds) {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) =
            Anchor { instant: Instant::now(), time, lived };
    }

    /// The present by all clocks.
    pub(crate) fn clock(&self) -> Clock {
        let wall = (self.wall.0)();
        let wall = if wall.is_finite() { wall } else { 0.0 };
        Clock { moment: Moment { time: self.now(), wall }, lived: self.lived() }
    }

    fn anchor(&self) -> Anchor {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the wall clock shows at `time`, given what it shows now.
    pub(crate) fn date(&self, time: Time) -> Timestamp {
        let unix = (self.wall.0)() + (time - self.now()).seconds();
        // Whole milliseconds: the two clocks are not read at the very same moment.
        let milliseconds = (unix * 1e3).round().clamp(0.0, 253e12);
        Timestamp::from_millisecond(milliseconds as i64).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// How far `date` lies ahead of the wall clock; negative if it has passed.
    pub(crate) fn until(&self, date: Timestamp) -> Seconds {
        Seconds::of(date.as_microsecond() as f64 / 1e6 - (self.wall.0)())
    }

    /// How far the wall clock has moved against this time line since `origin` was fixed.
    pub(crate) fn drift(&self, origin: f64) -> Seconds {
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

    fn at(seconds: f64) -> Time {
        Time::new(seconds).unwrap()
    }

    fn moment(time: f64, wall: f64) -> Moment {
        Moment { time: at(time), wall }
    }

    fn clocks(time: f64, wall: f64, lived: f64) -> Clocks {
        let latest = moment(time, wall);
        Clocks { latest, furthest: latest, lived: Seconds::of(lived) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_line_ignores_a_clock_that_jumps() {
        WALL.set(1_000_000.0);
        let timeline = Timeline::resume(Time::ZERO, clocks(0.0, 1_000_000.0, 30.0), WALL_CLOCK);
        let mut before = timeline.now();
        for jump in [0.0, 1e9, -5e6, 3600.0, -3600.0, f64::NAN] {
            WALL.set(1_000_000.0 + jump);
            tokio::time::advance(Duration::from_millis(250)).await;
            assert_eq!(timeline.now() - before, Seconds::of(0.25), "jump of {jump} s");
            before = timeline.now();
        }
        assert_eq!(timeline.lived(), Seconds::of(31.5));
        let clock = Clock { moment: moment(1.5, 0.0), lived: Seconds::of(31.5) };
        assert_eq!(timeline.clock(), clock, "what is not a number is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn dates_follow_the_clock_of_the_moment() {
        WALL.set(500.0);
        let timeline = Timeline::resume(Time::ZERO, clocks(0.0, 400.0, 0.0), WALL_CLOCK);
        assert_eq!(timeline.now().seconds(), 100.0);
        WALL.set(9_000.0);
        let date = timeline.date(timeline.now() + Seconds::of(12.5));
        assert_eq!(date.as_millisecond(), 9_012_500);
        assert_eq!(timeline.until(date), Seconds::of(12.5));
        assert_eq!(timeline.until(Timestamp::UNIX_EPOCH), Seconds::of(-9_000.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_never_goes_back_and_never_leaps_far() {
        let most = Timeline::BELIEVED.seconds();
        for (wall, last, expected) in [
            // The clock was written down at 15, when the wall clock showed 1015.
            (1_050.0, 15.0, 50.0),
            (1_050.0, 20.0, 50.0),
            (1_018.0, 20.0, 20.0),
            (1_050.0, 3.0, 50.0),
            (900.0, 20.0, 20.0),
            (1e12, 20.0, 20.0 + most),
            (f64::INFINITY, 20.0, 20.0 + most),
            (f64::NEG_INFINITY, 20.0, 20.0),
            (f64::NAN, 7.0, 15.0),
        ] {
            WALL.set(wall);
            let timeline = Timeline::resume(at(last), clocks(15.0, 1_015.0, 4.0), WALL_CLOCK);
            assert_eq!(timeline.now(), at(expected), "wall clock {wall}, last record {last}");
            assert_eq!(timeline.lived(), Seconds::of(4.0), "whatever the wall clock shows");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_at_one_start_costs_one_leap_at_most() {
        // What the wall clock shows at each start, 10 s after the one before, and how far time moves.
        let ahead =
            [(1e9 + 4e8, Timeline::BELIEVED.seconds()), (1e9 + 100.0, 0.0), (1e9 + 130.0, 20.0)];
        let behind = [(1e3, 0.0), (1e9 + 40.0, 30.0), (1e9 + 75.0, 25.0)];
        for starts in [ahead, behind] {
            WALL.set(1e9);
            let mut timeline = Timeline::start(WALL_CLOCK);
            let mut furthest = timeline.clock().moment;
            for (wall, moved) in starts {
                let Clock { moment: latest, lived } = timeline.clock();
                furthest = if latest.wall >= furthest.wall { latest } else { furthest };
                WALL.set(wall);
                let clocks = Clocks { latest, furthest, lived };
                timeline = Timeline::resume(latest.time, clocks, WALL_CLOCK);
                assert_eq!(timeline.now() - latest.time, Seconds::of(moved), "wall clock {wall}");
                tokio::time::advance(Duration::from_secs(10)).await;
                WALL.set(wall + 10.0);
            }
            assert_eq!(timeline.lived(), Seconds::of(30.0), "whatever the wall clock shows");
        }
    }
}
