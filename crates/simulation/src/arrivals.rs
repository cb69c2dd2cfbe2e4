//! The arrival processes of scenarios.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use scheduling::{Generator, Seconds, Time};

use crate::scenario::{Arrivals, Daily, Gap, Modulated, Recorded, SessionLength, Sessions};

/// The arrivals of one instance, in order.
pub(crate) struct ArrivalProcess {
    now: Time,
    kind: Kind,
}

enum Kind {
    Poisson { mean_interval: Seconds },
    Modulated { process: Modulated, bursts: Option<Bursts> },
    Daily(Rhythm),
    Sessions(Box<Users>),
    Recording(Playback),
}

impl ArrivalProcess {
    pub(crate) fn new(arrivals: &Arrivals) -> Self {
        let kind = match arrivals {
            &Arrivals::Poisson { mean_interval } => Kind::Poisson { mean_interval },
            &Arrivals::Modulated(process) => Kind::Modulated { process, bursts: None },
            Arrivals::Daily(Daily { mean_interval, day, profile }) => {
                let profile = profile.iter().map(|&weight| weight.into()).collect();
                Kind::Daily(Rhythm::new(mean_interval.seconds(), day.seconds(), profile))
            }
            Arrivals::Sessions(sessions) => Kind::Sessions(Box::new(Users::new(sessions))),
            Arrivals::Recording(recorded) => Kind::Recording(Playback::new(recorded)),
        };
        Self { now: Time::ZERO, kind }
    }

    /// When the next request arrives.
    #[inline]
    pub(crate) fn next(&mut self, draw: &mut Generator) -> Time {
        if let Kind::Poisson { mean_interval } = self.kind {
            self.now += Seconds::of(draw.exponential(mean_interval.seconds()));
        } else {
            self.now = self.now.max(self.later(draw));
        }
        self.now
    }

    #[inline(never)]
    fn later(&mut self, draw: &mut Generator) -> Time {
        match &mut self.kind {
            Kind::Poisson { .. } => self.now,
            Kind::Modulated { process, bursts } => {
                let &mut Modulated { peak, requests_per_burst, share_in_bursts: share, .. } =
                    process;
                let interval = process.mean_interval.seconds();
                let mut begin = || Bursts::new(peak, requests_per_burst, share, draw.uniform());
                let scale = bursts.get_or_insert_with(&mut begin).next_scale(draw);
                self.now + Seconds::of(draw.exponential(interval * scale))
            }
            Kind::Daily(rhythm) => Time::ZERO + Seconds::of(rhythm.next(draw)),
            Kind::Sessions(users) => Time::ZERO + Seconds::of(users.next(draw)),
            Kind::Recording(playback) => self.now + Seconds::of(playback.next(draw)),
        }
    }
}

/// A Poisson process with one rate in bursts, and another between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts {
    /// What intervals in a burst are multiplied with, and those between.
    scales: [f64; 2],
    /// How likely a burst is to end with a request, and to begin.
    turns: [f64; 2],
    in_burst: bool,
}

impl Bursts {
    /// Of all requests, `share` come in bursts of the mean `length` and at `peak` times the mean rate; together
    /// they keep the mean. It begins in a burst if `begins`, from 0 to 1, is below the share.
    pub(crate) fn new(peak: f64, length: f64, share: f64, begins: f64) -> Self {
        let scales = [1.0 / peak, (1.0 - share / peak) / (1.0 - share)];
        let turns = [1.0 / length, share / (1.0 - share) / length];
        Self { scales, turns, in_burst: begins < share }
    }

    /// Mean time until the next request, in mean intervals. With it a burst may end or begin.
    pub(crate) fn next_scale(&mut self, turn: &mut Generator) -> f64 {
        let state = usize::from(!self.in_burst);
        if self.turns[state] > 0.0 && turn.uniform() < self.turns[state] {
            self.in_burst = !self.in_burst;
        }
        self.scales[state]
    }
}

/// Recorded intervals, round and round.
struct Playback {
    /// In seconds, at the pace that is wanted; the last leads back to the first arrival.
    intervals: Vec<f64>,
    /// The next one; none before the first arrival.
    at: Option<usize>,
}

impl Playback {
    fn new(recorded: &Recorded) -> Self {
        let mean = recorded.mean_interval.seconds();
        let own_mean = recorded.span() / (recorded.arrivals.len() - 1) as f64;
        let pairs = recorded.arrivals.windows(2);
        let intervals = pairs.map(|pair| (pair[1] - pair[0]).seconds() * mean / own_mean);
        Self { intervals: intervals.chain([mean]).collect(), at: None }
    }

    /// Seconds until the next arrival.
    fn next(&mut self, draw: &mut Generator) -> f64 {
        let at = self.at.unwrap_or_else(|| draw.below(self.intervals.len()));
        self.at = Some((at + 1) % self.intervals.len());
        self.intervals[at]
    }
}

/// A Poisson process whose rate is a profile that repeats.
struct Rhythm {
    /// Of the profile, in seconds.
    part: f64,
    /// Arrivals per second in each of them.
    rates: Vec<f64>,
    /// The present, in seconds; none before the first arrival.
    now: Option<f64>,
    /// How far into the profile time 0 is.
    phase: f64,
}

impl Rhythm {
    fn new(mean_interval: f64, day: f64, profile: Vec<f64>) -> Self {
        let mean = profile.iter().sum::<f64>() / profile.len() as f64;
        let part = day / profile.len() as f64;
        // All at once, if there is no time between them.
        let rate = 1.0 / mean_interval.max(1e-9);
        let rates = profile.into_iter().map(|weight| rate * weight / mean).collect();
        Self { part, rates, now: None, phase: 0.0 }
    }

    /// Begins so many seconds before time 0, anywhere in the profile.
    fn begin(&mut self, before: f64, draw: &mut Generator) {
        self.phase = self.part * self.rates.len() as f64 * draw.uniform();
        self.now = Some(-before);
    }

    /// Seconds from time 0 to the next arrival.
    fn next(&mut self, draw: &mut Generator) -> f64 {
        if self.now.is_none() {
            self.begin(0.0, draw);
        }
        let mut now = self.now.unwrap_or_default();
        // The integral of the rate until the next arrival is exponential with mean 1.
        let mut left = draw.exponential(1.0);
        let day = self.part * self.rates.len() as f64;
        let per_day: f64 = self.rates.iter().sum::<f64>() * self.part;
        // Whole days are skipped at once.
        let days = (left / per_day).floor();
        (now, left) = (now + days * day, left - days * per_day);
        let within = (now + self.phase).rem_euclid(day);
        let mut part = ((within / self.part) as usize).min(self.rates.len() - 1);
        let mut end = (part + 1) as f64 * self.part - within;
        while left > self.rates[part] * end {
            left -= self.rates[part] * end;
            now += end;
            part = (part + 1) % self.rates.len();
            end = self.part;
        }
        now += left / self.rates[part].max(f64::MIN_POSITIVE);
        self.now = Some(now);
        now
    }
}

/// Sessions that are under way, and those that begin.
struct Users {
    begins: Rhythm,
    /// When the next session begins.
    next: Option<f64>,
    length: SessionLength,
    gaps: Vec<Gap>,
    weights: Vec<f64>,
    longest_gap: f64,
    /// When each asks next, as ordered bits, and how often it still will.
    asking: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Users {
    fn new(sessions: &Sessions) -> Self {
        let Sessions { mean_interval, day, profile, requests, gaps, longest_gap } = sessions;
        let profile = profile.iter().map(|&weight| weight.into()).collect();
        let interval = mean_interval.seconds() * mean_length(requests);
        Self {
            begins: Rhythm::new(interval, day.seconds(), profile),
            next: None,
            length: *requests,
            weights: gaps.iter().map(|gap| gap.weight.into()).collect(),
            gaps: gaps.clone(),
            longest_gap: longest_gap.seconds(),
            asking: BinaryHeap::new(),
        }
    }

    /// Seconds from time 0 to the next request.
    fn next(&mut self, draw: &mut Generator) -> f64 {
        if self.next.is_none() {
            // Sessions of before that go on: nearly all are over after so long.
            self.begins.begin(20.0 * self.longest_gap, draw);
            self.next = Some(self.begins.next(draw));
        }
        loop {
            let begins = self.next.expect("it has been drawn");
            let asks = self.asking.peek().map(|&Reverse((bits, _))| from_ordered(bits));
            if asks.is_none_or(|asks| begins <= asks) {
                let requests = (self.length.mu + self.length.sigma * draw.normal()).min(20.0);
                let requests = libm::exp(requests).ceil().clamp(1.0, f64::from(self.length.most));
                self.asking.push(Reverse((ordered(begins), requests as u32)));
                self.next = Some(self.begins.next(draw));
                continue;
            }
            let Some(Reverse((bits, requests))) = self.asking.pop() else { continue };
            let now = from_ordered(bits);
            if requests > 1 {
                let gap = self.gap(draw);
                self.asking.push(Reverse((ordered(now + gap), requests - 1)));
            }
            if now >= 0.0 {
                return now;
            }
        }
    }

    fn gap(&self, draw: &mut Generator) -> f64 {
        let Gap { mu, sigma, .. } = self.gaps[draw.weighted(&self.weights)];
        // Longer ones are drawn again, but not for ever.
        for _ in 0..100 {
            let gap = libm::exp(mu + sigma * draw.normal());
            if gap <= self.longest_gap {
                return gap;
            }
        }
        self.longest_gap
    }
}

/// Mean requests of a session: the sum of the chances to have more than 0, 1, 2, …
fn mean_length(&SessionLength { mu, sigma, most }: &SessionLength) -> f64 {
    let more_than = |number: u32| match number {
        0 => 1.0,
        _ if sigma == 0.0 => f64::from(u8::from(libm::exp(mu) > f64::from(number))),
        _ => {
            let beyond = (libm::log(f64::from(number)) - mu) / sigma;
            0.5 * libm::erfc(beyond * std::f64::consts::FRAC_1_SQRT_2)
        }
    };
    (0..most).map(more_than).sum()
}

/// Bits in the order of the numbers, negative ones included.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn from_ordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use scheduling::Purpose;

    fn arrivals(text: &str) -> Arrivals {
        Scenario::from_toml(text).unwrap().settings().arrivals.clone()
    }

    /// Times between so many arrivals under a seed.
    fn intervals(arrivals: &Arrivals, seed: u64, number: usize) -> Vec<f64> {
        let mut draw = Generator::new(seed, Purpose::Arrival, 0);
        let mut process = ArrivalProcess::new(arrivals);
        let mut last = process.next(&mut draw);
        let mut interval = || {
            let now = process.next(&mut draw);
            let interval = (now - last).seconds();
            last = now;
            interval
        };
        (0..number).map(|_| interval()).collect()
    }

    /// Mean, and standard deviation against the mean.
    fn mean_and_cv(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt() / mean)
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    }

    #[test]
    fn every_process_keeps_its_mean_interval() {
        for text in [
            include_str!("../../../scenarios/contended.toml"),
            include_str!("../../../scenarios/bursty.toml"),
            include_str!("../../../scenarios/daily.toml"),
            include_str!("../../../scenarios/office.toml"),
        ] {
            let arrivals = arrivals(text);
            let of_seed = |seed| mean_and_cv(&intervals(&arrivals, seed, 20_000)).0;
            let mean = median((0..20).map(of_seed).collect());
            let expected = arrivals.mean_interval().seconds();
            assert!((mean / expected - 1.0).abs() < 0.1, "{mean} for {expected}: {arrivals:?}");
        }
    }

    /// The fitted model of the trace has a median coefficient of variation of 11.15, and in nine of ten
    /// cases one from 10.5 to 12.0.
    #[test]
    fn sessions_are_as_bursty_as_those_of_the_trace() {
        let office = arrivals(include_str!("../../../scenarios/office.toml"));
        let cv = |seed| mean_and_cv(&intervals(&office, seed, 16_000)).1;
        let all: Vec<_> = (0..20).map(cv).collect();
        let median = median(all.clone());
        assert!((10.5..12.0).contains(&median), "{median}: {all:?}");
    }

    #[test]
    fn recordings_are_played_back_at_the_pace_that_is_wanted() {
        let recorded =
            "recording = { mean_interval_seconds = 2.0, arrivals_seconds = [5, 6, 6, 9] }";
        let text = include_str!("../../../scenarios/contended.toml");
        let poisson = "poisson = { mean_interval_seconds = 1.0 }";
        assert!(text.contains(poisson));
        let recorded_instead = |recorded: &str| text.replace(poisson, recorded);
        // 1, 0 and 3 s of 4 s in all become 6 s, and 2 s lead back to the first.
        let intervals = intervals(&arrivals(&recorded_instead(recorded)), 3, 8);
        let begin = [1.5, 0.0, 4.5, 2.0].repeat(4);
        assert!(begin.windows(8).any(|part| part == intervals), "{intervals:?}");
        for (times, message) in [
            (
                "[5, 4]",
                "arrivals_seconds[1] is 4, before the one ahead of it: allowed is 5 or later",
            ),
            ("[5, 5]", "has 2 arrivals within 0 s: allowed are up to 1000000 at two moments"),
            ("[]", "has 0 arrivals within 0 s"),
        ] {
            let text = recorded_instead(&recorded.replace("[5, 6, 6, 9]", times));
            let error = Scenario::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_day_has_its_hours() {
        let text = include_str!("../../../scenarios/daily.toml");
        let Arrivals::Daily(daily) = arrivals(text) else { panic!("it is") };
        let weights: Vec<f64> = daily.profile.iter().map(|&weight| weight.into()).collect();
        let all: f64 = weights.iter().sum();
        let mut draw = Generator::new(3, Purpose::Arrival, 0);
        let mut rhythm = Rhythm::new(1.5, 1440.0, weights.clone());
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..100_000 {
            let now = rhythm.next(&mut draw) + rhythm.phase;
            counts[(now.rem_euclid(1440.0) / 60.0) as usize] += 1e-5;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            assert!((count - weight / all).abs() < 0.005, "{counts:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let bursty = include_str!("../../../scenarios/bursty.toml");
        let office = include_str!("../../../scenarios/office.toml");
        for (text, good, bad, message) in [
            (
                bursty,
                "peak = 10.0",
                "peak = 0.5",
                "arrivals.modulated.peak is 0.5: allowed is 1 to 1000",
            ),
            (bursty, "bursts = 0.5", "bursts = 1.0", "share_in_bursts is 1: allowed is 0 to 0.99"),
            (
                office,
                "most = 250",
                "most = 0",
                "sessions.requests.most is 0: allowed is 1 to 10000",
            ),
            (
                office,
                "sigma = 0.458",
                "sigma = -1.0",
                "sessions.gaps[0].sigma is -1: allowed is 0 to 5",
            ),
            (
                office,
                "day_seconds = 13440",
                "day_seconds = 0.5",
                "day_seconds is 0.5: allowed is 1 to",
            ),
        ] {
            let error = Scenario::from_toml(&text.replacen(good, bad, 1)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let (begin, end) =
            (office.find("profile = [").unwrap(), office.find("\n]\n\n[due]").unwrap());
        let flat = format!("{}profile = [0.0, 0.0{}", &office[..begin], &office[end..]);
        let error = Scenario::from_toml(&flat).unwrap_err().to_string();
        assert!(error.contains("profile has 2 rates, 0 of them above 0"), "{error}");
    }
}
