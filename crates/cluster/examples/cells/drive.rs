//! What a decision costs: a scheduler driven by made-up time, and timed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dispatch::{Effect, Limits, Order, RequestId, RunId, Scheduler, ServerSpec};
use scheduling::policies::Myopic;
use scheduling::{Objective, Request, Seconds, Server, StepRate, Steps, TardinessPenalty, Time};

/// What the scheduler takes for one of so many servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) servers: usize,
    /// Seconds for a request: submitted, recorded, completed. The median.
    pub(crate) decision: f64,
    /// Its mean, with the rare requests that many others move for.
    pub(crate) mean: f64,
    /// Seconds for a report of progress.
    pub(crate) report: f64,
    /// Decisions per request: what waits is decided again when a server is free early.
    pub(crate) decided: f64,
}

/// A scheduler with all servers busy, and what happens to it next.
pub(crate) struct Drive {
    pub(crate) scheduler: Scheduler<Myopic>,
    pub(crate) servers: usize,
    pub(crate) effects: Vec<Effect>,
    /// When runs end, in microseconds.
    pub(crate) ends: BTreeSet<(u64, RunId)>,
    pub(crate) now: Time,
    pub(crate) slack: Seconds,
    pub(crate) submitted: u128,
    pub(crate) decided: usize,
}

impl Drive {
    /// Every server has a run, and one in ten has another one waiting.
    pub(crate) fn filled(servers: usize, seconds_per_picture: f64) -> Self {
        let specs = (0..servers).map(|index| {
            // 200 steps take so long on the mean server; they differ by up to a quarter.
            let factor = 0.75 + 0.05 * (index * 7 % 11) as f64;
            let rate = f64::from(Steps::MAX.get()) / seconds_per_picture * factor;
            let server =
                Server::new(format!("s{index}"), StepRate::saturating(rate), Seconds::ZERO);
            ServerSpec { server, max_pixels: 1024 * 1024 }
        });
        let limits = Limits { waiting: usize::MAX, attempts: 2, horizon: None };
        let mut scheduler = Scheduler::new(specs.collect(), Objective::default(), Myopic, limits);
        (0..servers).for_each(|server| scheduler.server_up(Time::ZERO, server));
        let mut drive = Self {
            scheduler,
            servers,
            effects: Vec::new(),
            ends: BTreeSet::new(),
            now: Time::ZERO,
            slack: Seconds::of(1.5 * seconds_per_picture),
            submitted: 0,
            decided: 0,
        };
        // Apart, so that they do not all end at once.
        let interval = seconds_per_picture / servers as f64;
        for index in 0..servers + servers / 10 {
            let now = time(index as f64 * interval);
            while drive.ends.first().is_some_and(|(end, _)| micro(*end) <= now) {
                drive.complete();
                drive.carry_out();
            }
            drive.now = now;
            drive.submit();
            drive.carry_out();
        }
        drive
    }

    /// The next run ends.
    pub(crate) fn complete(&mut self) {
        let (end, run) = self.ends.pop_first().expect("something runs");
        self.now = micro(end);
        self.scheduler.completed(self.now, run);
    }

    /// A request comes and is written down.
    pub(crate) fn submit(&mut self) {
        self.submitted += 1;
        let (now, due) = (self.now, self.now + self.slack);
        let penalty = TardinessPenalty::ALL[self.submitted as usize % 3];
        let id = RequestId(uuid::Uuid::from_u128(self.submitted));
        let order = Order {
            id,
            owner: "local".into(),
            request: Request::new(now, due, penalty),
            pixels: 1024 * 1024,
            expires: due + Seconds::of(1e6),
        };
        self.scheduler.submit(now, order).expect("there is room");
        self.scheduler.recorded(now, id);
    }

    /// Takes note of what starts. Runs stray from their predictions by up to a twentieth.
    pub(crate) fn carry_out(&mut self) {
        self.scheduler.swap_effects(&mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Start(run) => {
                    let stray = 0.95 + 0.001 * (run.id.request.0.as_u128() * 37 % 101) as f64;
                    let end = (run.start + run.service * stray).seconds();
                    self.ends.insert(((end * 1e6).ceil() as u64, run.id));
                }
                Effect::Decided(_) => self.decided += 1,
                _ => {}
            }
        }
    }

    /// One run ends and one request comes, again and again for about so long. Medians.
    pub(crate) fn time(mut self, wall: Duration) -> Cost {
        let (mut decisions, mut reports) = (Vec::new(), Vec::new());
        self.decided = 0;
        let begun = Instant::now();
        while decisions.len() < 100 || begun.elapsed() < wall && decisions.len() < 5000 {
            let start = Instant::now();
            self.complete();
            self.submit();
            decisions.push(start.elapsed().as_secs_f64());
            self.carry_out();
            let run = self.ends.last().expect("something runs").1;
            let start = Instant::now();
            // So small a share is looked up and changes nothing. The engine asks when to wake after every event.
            self.scheduler.progressed(self.now, run, 0.05);
            std::hint::black_box(self.scheduler.next_wakeup());
            reports.push(start.elapsed().as_secs_f64());
        }
        let count = decisions.len() as f64;
        let (decided, mean) = (self.decided as f64 / count, decisions.iter().sum::<f64>() / count);
        let servers = self.servers;
        Cost { servers, decision: median(decisions), mean, report: median(reports), decided }
    }
}

pub(crate) fn time(seconds: f64) -> Time {
    Time::new(seconds).expect("a time of a short run is in range")
}

pub(crate) fn micro(micros: u64) -> Time {
    time(micros as f64 / 1e6)
}

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
