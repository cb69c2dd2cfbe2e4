//! How far one cell goes, as arithmetic: `cargo run --release --example cells`.
//!
//! For fleets of 10 to 10,000 servers this prints how many decisions, records, messages and bytes a second they
//! need, how much of each part that takes, and at how many servers a part is full or must be split. The costs are
//! those that were measured, and stand in the table below. What a decision costs is measured on the spot.
//! Every server is taken to be busy all the time.
//!
//! Not counted, since nobody has measured it for this: HTTP, the leader's own SQLite and its JSON, previews, and what
//! brokers say to one another.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dispatch::{Effect, Limits, Order, RequestId, RunId, Scheduler, ServerSpec};
use scheduling::policies::Myopic;
use scheduling::{Objective, Request, Seconds, Server, StepRate, Steps, TardinessPenalty, Time};

/// What one thing costs, or how much of it a part can do.
struct Unit {
    value: f64,
    what: &'static str,
    from: &'static str,
}

const fn unit(value: f64, what: &'static str, from: &'static str) -> Unit {
    Unit { value, what, from }
}

const PAPER: &str = "CLUSTER.md, Capacity (paper)";
const APPENDS: &str = "CLUSTER.md, durable append";
const PICTURES: &str = "CLUSTER.md, pictures of 1.5 MB, 4 in parallel";

// The table of unit costs.
const RECORDS: Unit = unit(4.0, "records per request: accepted, decided, started, ended", PAPER);
const RECORD_BYTES: Unit = unit(600.0, "bytes of a record", APPENDS);
const LOG_1: Unit = unit(42_500.0, "records/s, one replica", APPENDS);
const LOG_3: Unit = unit(24_000.0, "records/s, three replicas", APPENDS);
const PUT_1: Unit = unit(176e6, "bytes/s of pictures in, one replica", PICTURES);
const PUT_3: Unit = unit(66e6, "bytes/s of pictures in, three replicas", PICTURES);
const GET_1: Unit = unit(413e6, "bytes/s of pictures out, one replica", PICTURES);
const GET_3: Unit = unit(226e6, "bytes/s of pictures out, three replicas", PICTURES);
const GETS: Unit = unit(1.0, "times that a picture is fetched", "assumed: once");
const CALLS: Unit =
    unit(4.0, "messages per request: submission and run, with answers", "transport.rs, remote.rs");
const CHANGES: Unit = unit(4.0, "changes told per request, beside its progress", "node.rs, tell");
const WORDS: Unit =
    unit(2.0, "messages per run: ticket and confirmation", "agent/seat.rs, remote.rs");
const REPORT_SECONDS: Unit =
    unit(0.2, "seconds between reports of progress", "agent/seat.rs, OFTEN");
const REPORT_MESSAGES: Unit =
    unit(2.0, "messages per report: to the leader, and on to the nodes", "node.rs, tell");
const PART_BYTES: Unit =
    unit(1_048_576.0, "bytes of a part of a picture on its way", "agent/seat.rs, PART");
const PROBES: Unit = unit(
    2.0 / 5.0,
    "messages/s per server: probe and answer every 5 s",
    "gateway config, [health]",
);
const BROKER: Unit = unit(
    877_000.0,
    "messages/s of 600 B through one broker",
    "NATS 2.15.1, loopback, two shared cores, one sender, one reader; median of 5 (666,000 to 952,000)",
);
const CELL: Unit = unit(250.0, "servers of a cell at most", PAPER);
const PER_BROKER: Unit =
    unit(4.0, "replicas on a broker", "CLUSTER.md: 48 replicas over 12 brokers");

/// The table, to be shown.
const UNITS: [&Unit; 19] = [
    &RECORDS,
    &RECORD_BYTES,
    &LOG_1,
    &LOG_3,
    &PUT_1,
    &PUT_3,
    &GET_1,
    &GET_3,
    &GETS,
    &CALLS,
    &CHANGES,
    &WORDS,
    &REPORT_SECONDS,
    &REPORT_MESSAGES,
    &PART_BYTES,
    &PROBES,
    &BROKER,
    &CELL,
    &PER_BROKER,
];

/// Fleets that are looked at.
const FLEETS: [usize; 9] = [10, 30, 100, 250, 300, 1000, 3000, 4000, 10_000];
/// Share of a part from which on it must be split.
const SPLIT: f64 = 0.7;

fn main() -> ExitCode {
    let workload = match Workload::read(std::env::args().skip(1)) {
        Ok(Some(workload)) => workload,
        Ok(None) => return show(USAGE),
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let costs: Vec<_> = (FLEETS.iter())
        .map(|&servers| {
            eprintln!("timing a scheduler of {servers} servers");
            Drive::filled(servers, workload.seconds_per_picture).time(Duration::from_millis(500))
        })
        .collect();
    show(&report(&workload, &costs))
}

/// Prints a text. A reader that has seen enough is no failure.
fn show(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

const USAGE: &str = "\
usage: cells [OPTION VALUE]...
  --seconds-per-picture  how long a server paints a picture: 0.01 to 3600 (3)
  --picture-bytes        bytes of a picture: 1 to 1000000000 (1500000)
  --replicas             copies of the log and of pictures: 1 or 3 (3)
  --keep-seconds         how long pictures are kept: 1 to 31536000 (86400)
";

/// Copies of the log and of each picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replicas {
    One,
    Three,
}

impl Replicas {
    fn count(self) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Three => 3.0,
        }
    }

    /// What the first can do with one replica, and the second with three.
    fn of(self, one: &Unit, three: &Unit) -> f64 {
        match self {
            Self::One => one.value,
            Self::Three => three.value,
        }
    }
}

/// What every server does.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Workload {
    seconds_per_picture: f64,
    picture_bytes: f64,
    replicas: Replicas,
    keep_seconds: f64,
}

impl Default for Workload {
    fn default() -> Self {
        let (seconds_per_picture, picture_bytes) = (3.0, 1.5e6);
        Self {
            seconds_per_picture,
            picture_bytes,
            replicas: Replicas::Three,
            keep_seconds: 86_400.0,
        }
    }
}

impl Workload {
    /// Reads options; none if only help is wanted.
    ///
    /// # Errors
    /// One line that names what was given and what is allowed.
    fn read(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut workload = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--help" || argument == "-h" {
                return Ok(None);
            }
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut value = |allowed| {
                let value = value.clone().or_else(|| arguments.next());
                Given { option: option.clone(), value, allowed }
            };
            match option.as_str() {
                "--seconds-per-picture" => {
                    workload.seconds_per_picture =
                        value("0.01 to 3600 seconds").number(0.01, 3600.0)?;
                }
                "--picture-bytes" => {
                    workload.picture_bytes =
                        value("a whole number of 1 to 1000000000 bytes").whole(1e9)?;
                }
                "--replicas" => workload.replicas = value("1 or 3").replicas()?,
                "--keep-seconds" => {
                    workload.keep_seconds =
                        value("1 to 31536000 seconds").number(1.0, 31_536_000.0)?;
                }
                _ => {
                    return Err(format!(
                        "{} is no option; allowed: --seconds-per-picture, --picture-bytes, --replicas, \
                         --keep-seconds, --help",
                        shortened(&option)
                    ));
                }
            }
        }
        Ok(Some(workload))
    }

    /// What so many servers need in a second.
    fn load(&self, servers: f64) -> Load {
        let requests = servers / self.seconds_per_picture;
        let records = requests * RECORDS.value;
        let messages = requests * self.messages_per_request() + servers * PROBES.value;
        Load {
            requests,
            records,
            log_bytes: records * RECORD_BYTES.value,
            picture_bytes: requests * self.picture_bytes,
            messages,
        }
    }

    /// Reports of progress in a run.
    fn reports(&self) -> f64 {
        (self.seconds_per_picture / REPORT_SECONDS.value + 1e-9).floor()
    }

    /// Messages between nodes and agents; those into the log and the store are counted there.
    fn messages_per_request(&self) -> f64 {
        let parts = (self.picture_bytes / PART_BYTES.value).ceil();
        CALLS.value + CHANGES.value + WORDS.value + parts + self.reports() * REPORT_MESSAGES.value
    }

    /// Bytes of pictures that are kept, all copies together.
    fn kept_bytes(&self, servers: f64) -> f64 {
        self.load(servers).picture_bytes * self.keep_seconds * self.replicas.count()
    }

    /// How much of a part so many servers take: 1 is all of it.
    fn utilisation(&self, part: Part, servers: f64, cost: &Cost) -> f64 {
        let load = self.load(servers);
        let replicas = self.replicas;
        match part {
            Part::Decisions => load.requests * cost.decision,
            Part::Scheduler => load.requests * (cost.decision + self.reports() * cost.report),
            Part::Log => load.records / replicas.of(&LOG_1, &LOG_3),
            Part::PicturesIn => load.picture_bytes / replicas.of(&PUT_1, &PUT_3),
            Part::PicturesOut => load.picture_bytes * GETS.value / replicas.of(&GET_1, &GET_3),
            Part::Messages => load.messages / BROKER.value,
        }
    }

    /// Servers at which a part is used up to a share.
    fn servers_at(&self, part: Part, share: f64, costs: &[Cost]) -> f64 {
        let points = costs.iter().map(|cost| {
            let servers = cost.servers as f64;
            (servers, self.utilisation(part, servers, cost))
        });
        crossing(&points.collect::<Vec<_>>(), share)
    }

    /// The part that must be split first among these, and at how many servers.
    fn first(&self, parts: &[Part], costs: &[Cost]) -> (Part, f64) {
        let at = |&part: &Part| (part, self.servers_at(part, SPLIT, costs));
        parts.iter().map(at).min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are parts")
    }
}

/// An option with what stands behind it.
struct Given {
    option: String,
    value: Option<String>,
    allowed: &'static str,
}

impl Given {
    fn number(&self, least: f64, most: f64) -> Result<f64, String> {
        let number = self.value.as_ref().and_then(|value| value.parse().ok());
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| self.refused())
    }

    fn whole(&self, most: f64) -> Result<f64, String> {
        let number = self.number(1.0, most)?;
        if number.fract() == 0.0 { Ok(number) } else { Err(self.refused()) }
    }

    fn replicas(&self) -> Result<Replicas, String> {
        match self.value.as_deref() {
            Some("1") => Ok(Replicas::One),
            Some("3") => Ok(Replicas::Three),
            _ => Err(self.refused()),
        }
    }

    fn refused(&self) -> String {
        let value = self.value.as_ref().map_or_else(|| "nothing".into(), |value| shortened(value));
        format!("{} is {value}; allowed: {}", self.option, self.allowed)
    }
}

/// A text in quotes, on one line.
fn shortened(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short == text { format!("{text:?}") } else { format!("{short:?}…") }
}

/// What a fleet needs in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Load {
    requests: f64,
    records: f64,
    log_bytes: f64,
    picture_bytes: f64,
    messages: f64,
}

/// What may become full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The scheduler's core, with decisions alone.
    Decisions,
    /// The same, with reports of progress.
    Scheduler,
    Log,
    PicturesIn,
    PicturesOut,
    /// The broker that carries what nodes and agents say.
    Messages,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Decisions,
        Self::Scheduler,
        Self::Log,
        Self::PicturesIn,
        Self::PicturesOut,
        Self::Messages,
    ];
    /// Those of a cell whose pictures are kept elsewhere.
    const WITHOUT_PICTURES: [Self; 4] =
        [Self::Decisions, Self::Scheduler, Self::Log, Self::Messages];

    fn name(self) -> &'static str {
        match self {
            Self::Decisions => "scheduler, decisions alone",
            Self::Scheduler => "scheduler, with progress",
            Self::Log => "log",
            Self::PicturesIn => "pictures in",
            Self::PicturesOut => "pictures out",
            Self::Messages => "messages",
        }
    }
}

/// Where a curve reaches a height: straight between its points on logarithmic scales, and beyond them as at its ends.
fn crossing(points: &[(f64, f64)], height: f64) -> f64 {
    let pairs = points.windows(2);
    let pair = pairs.clone().find(|pair| pair[1].1 >= height).or(pairs.last());
    let [(x0, y0), (x1, y1)] = pair.expect("two points at least") else { unreachable!("pairs") };
    let slope = (y1 / y0).ln() / (x1 / x0).ln();
    let x = x0 * ((height / y0).ln() / slope).exp();
    // Whole numbers are to stay whole when they are rounded down.
    x * (1.0 + 1e-12)
}

/// How a fleet is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    cells: usize,
    brokers: usize,
}

impl Division {
    /// Cells of at most so many servers, and brokers that carry a few replicas each, none of a cell twice.
    fn of(servers: usize, most: f64, replicas: Replicas) -> Self {
        let cells = servers.div_ceil((most as usize).max(1));
        let replicas = replicas.count() as usize;
        let brokers = (cells * replicas).div_ceil(PER_BROKER.value as usize).max(replicas);
        Self { cells, brokers }
    }
}

/// What the scheduler takes for one of so many servers.
#[derive(Clone, Copy, Debug)]
struct Cost {
    servers: usize,
    /// Seconds for a request: submitted, recorded, completed. The median.
    decision: f64,
    /// Its mean, with the rare requests that many others move for.
    mean: f64,
    /// Seconds for a report of progress.
    report: f64,
    /// Decisions per request: what waits is decided again when a server is free early.
    decided: f64,
}

/// A scheduler with all servers busy, and what happens to it next.
struct Drive {
    scheduler: Scheduler<Myopic>,
    servers: usize,
    effects: Vec<Effect>,
    /// When runs end, in microseconds.
    ends: BTreeSet<(u64, RunId)>,
    now: Time,
    slack: Seconds,
    submitted: u128,
    decided: usize,
}

impl Drive {
    /// Every server has a run, and one in ten has another one waiting.
    fn filled(servers: usize, seconds_per_picture: f64) -> Self {
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
    fn complete(&mut self) {
        let (end, run) = self.ends.pop_first().expect("something runs");
        self.now = micro(end);
        self.scheduler.completed(self.now, run);
    }

    /// A request comes and is written down.
    fn submit(&mut self) {
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
    fn carry_out(&mut self) {
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
    fn time(mut self, wall: Duration) -> Cost {
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

fn time(seconds: f64) -> Time {
    Time::new(seconds).expect("a time of a short run is in range")
}

fn micro(micros: u64) -> Time {
    time(micros as f64 / 1e6)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// All that is printed.
fn report(workload: &Workload, costs: &[Cost]) -> String {
    let mut text = String::new();
    let Workload { seconds_per_picture, picture_bytes, replicas, keep_seconds } = workload;
    let _ = writeln!(
        text,
        "{seconds_per_picture} s per picture, {} bytes each, {} replica(s), kept for {keep_seconds} s\n\nunit costs",
        number(*picture_bytes),
        replicas.count()
    );
    for Unit { value, what, from } in UNITS {
        let _ = writeln!(text, "{:>13}  {what} ({from})", number(*value));
    }
    measured(&mut text, costs);
    loads(&mut text, workload, costs);
    parts(&mut text, workload, costs);
    divisions(&mut text, workload, costs);
    text
}

fn measured(text: &mut String, costs: &[Cost]) {
    text.push_str("\nthe scheduler under the myopic rule, one core, measured now (medians)\n");
    let heads = [
        "servers",
        "µs per request",
        "its mean",
        "decisions/s",
        "µs per report",
        "decisions per request",
    ];
    let row = |cost: &Cost| {
        let numbers = [
            cost.servers as f64,
            cost.decision * 1e6,
            cost.mean * 1e6,
            1.0 / cost.decision,
            cost.report * 1e6,
            cost.decided,
        ];
        numbers.map(number)
    };
    table(text, heads, costs.iter().map(row));
}

fn loads(text: &mut String, workload: &Workload, costs: &[Cost]) {
    text.push_str(
        "\none cell for all: what it needs in a second, and how much of each part that is\n",
    );
    let heads = [
        "servers",
        "requests/s",
        "can decide/s",
        "used",
        "+progress",
        "records/s",
        "log",
        "log MB/s",
        "pictures MB/s",
        "in",
        "out",
        "TB/day a copy",
        "TB kept",
        "messages/s",
        "broker",
    ];
    let row = |cost: &Cost| {
        let servers = cost.servers as f64;
        let load = workload.load(servers);
        let used = |part| percent(workload.utilisation(part, servers, cost));
        [
            number(servers),
            number(load.requests),
            number(1.0 / cost.decision),
            used(Part::Decisions),
            used(Part::Scheduler),
            number(load.records),
            used(Part::Log),
            number(load.log_bytes / 1e6),
            number(load.picture_bytes / 1e6),
            used(Part::PicturesIn),
            used(Part::PicturesOut),
            number(load.picture_bytes * 86_400.0 / 1e12),
            number(workload.kept_bytes(servers) / 1e12),
            number(load.messages),
            used(Part::Messages),
        ]
    };
    table(text, heads, costs.iter().map(row));
}

fn parts(text: &mut String, workload: &Workload, costs: &[Cost]) {
    text.push_str(
        "\nservers at which a part must be split (70 %), and at which it is full (100 %)\n",
    );
    let row = |part: Part| {
        let [split, full] =
            [SPLIT, 1.0].map(|share| workload.servers_at(part, share, costs).floor());
        [format!("{:<27}", part.name()), number(split), number(full)]
    };
    table(text, ["part", "split", "full"], Part::ALL.into_iter().map(row));
    let (first, at) = workload.first(&Part::ALL, costs);
    let (next, beyond) = workload.first(&Part::WITHOUT_PICTURES, costs);
    let _ = writeln!(
        text,
        "first to give: {}, at {} servers; with pictures kept elsewhere: {}, at {}",
        first.name(),
        number(at.floor()),
        next.name(),
        number(beyond.floor())
    );
}

fn divisions(text: &mut String, workload: &Workload, costs: &[Cost]) {
    let computed = workload.first(&Part::ALL, costs).1;
    let elsewhere = workload.first(&Part::WITHOUT_PICTURES, costs).1;
    let sizes = [CELL.value, computed, elsewhere].map(|most| most.floor().max(1.0));
    let [page, split, rest] = sizes.map(number);
    let _ = writeln!(
        text,
        "\ncells of at most {page} servers as the page has it, {split} as computed, {rest} with pictures kept \
         elsewhere\nMB/s: pictures that each broker writes; {} were measured, all brokers on one disk",
        number(workload.replicas.of(&PUT_1, &PUT_3) / 1e6)
    );
    let heads = ["servers", &page, "brokers", "MB/s", &split, "brokers", "MB/s", &rest, "brokers"];
    let row = |cost: &Cost| {
        let written = workload.load(cost.servers as f64).picture_bytes * workload.replicas.count();
        let [page, split, rest] =
            sizes.map(|most| Division::of(cost.servers, most, workload.replicas));
        let count = |count: usize| number(count as f64);
        let each = |division: Division| number(written / division.brokers as f64 / 1e6);
        [
            count(cost.servers),
            count(page.cells),
            count(page.brokers),
            each(page),
            count(split.cells),
            count(split.brokers),
            each(split),
            count(rest.cells),
            count(rest.brokers),
        ]
    };
    table(text, heads, costs.iter().map(row));
}

/// Columns as wide as what stands in them, set to the right.
fn table<const N: usize>(
    text: &mut String,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut lines = vec![heads.map(String::from)];
    lines.extend(rows);
    let wide = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<_> = (0..N).map(|column| wide(column).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        text.push_str(&cells.collect::<Vec<_>>().join("  "));
        text.push('\n');
    }
}

/// A number for people: with thousands set apart, or with some digits after the point.
fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.*}", if value.abs() < 10.0 { 2 } else { 1 });
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as percent.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.1}%") } else { format!("{}%", number(percent.round())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, off: f64) {
        assert!((value - expected).abs() <= off, "{value} is not {expected} within {off}");
    }

    /// With decisions of no weight, so that only what is on paper counts.
    fn costs(decision: f64) -> Vec<Cost> {
        let cost = |&servers: &usize| Cost {
            servers,
            decision,
            mean: decision,
            report: 0.0,
            decided: 1.0,
        };
        FLEETS.iter().map(cost).collect()
    }

    #[test]
    fn a_fleet_needs_what_the_page_says() {
        let load = Workload::default().load(1000.0);
        near(load.requests, 333.0, 0.5);
        near(load.records, 1332.0, 1.5);
        let cell = Workload::default().load(250.0);
        near(cell.picture_bytes, 125e6, 1.0);
        near(cell.picture_bytes * 86_400.0, 10.8e12, 1e6);
    }

    #[test]
    fn pictures_are_full_where_the_page_says() {
        let workload = Workload::default();
        near(PUT_3.value / workload.picture_bytes, 44.0, 1e-9);
        near(workload.servers_at(Part::PicturesIn, 1.0, &costs(1e-9)), 132.0, 1e-6);
        near(workload.servers_at(Part::PicturesIn, SPLIT, &costs(1e-9)), 92.4, 1e-6);
        assert_eq!(workload.first(&Part::ALL, &costs(1e-9)).0, Part::PicturesIn);
        assert_eq!(workload.first(&Part::WITHOUT_PICTURES, &costs(1e-9)).0, Part::Log);
        assert_eq!(workload.first(&Part::ALL, &costs(0.1)).0, Part::Decisions);
    }

    #[test]
    fn the_log_is_not_the_limit() {
        let workload = Workload::default();
        near(workload.utilisation(Part::Log, 1000.0, &costs(1e-9)[0]), 1332.0 / 24_000.0, 1e-4);
        near(workload.servers_at(Part::Log, 1.0, &costs(1e-9)), 18_000.0, 1e-6);
        let one = Workload { replicas: Replicas::One, ..workload };
        near(one.servers_at(Part::Log, 1.0, &costs(1e-9)), 31_875.0, 1e-6);
        near(one.servers_at(Part::PicturesIn, 1.0, &costs(1e-9)), 352.0, 1e-6);
    }

    #[test]
    fn messages_are_counted() {
        // 15 reports of two messages each, two parts, and ten more.
        let workload = Workload::default();
        near(workload.messages_per_request(), 42.0, 0.0);
        near(workload.load(300.0).messages, 4200.0 + 120.0, 1e-9);
        let small = Workload { seconds_per_picture: 0.1, picture_bytes: 1.0, ..workload };
        near(small.messages_per_request(), 11.0, 0.0);
    }

    #[test]
    fn what_is_kept_follows_its_time_and_its_copies() {
        let workload = Workload::default();
        near(workload.kept_bytes(250.0), 32.4e12, 1e6);
        let hour = Workload { keep_seconds: 3600.0, replicas: Replicas::One, ..workload };
        near(hour.kept_bytes(250.0), 0.45e12, 1e6);
    }

    #[test]
    fn fleets_are_divided_as_the_page_says() {
        for (servers, most, replicas, cells, brokers) in [
            (4000, 250.0, Replicas::Three, 16, 12),
            (10, 250.0, Replicas::Three, 1, 3),
            (250, 250.0, Replicas::Three, 1, 3),
            (251, 250.0, Replicas::Three, 2, 3),
            (3000, 250.0, Replicas::Three, 12, 9),
            (10_000, 92.4, Replicas::Three, 109, 82),
            (4000, 250.0, Replicas::One, 16, 4),
            (10, 0.3, Replicas::One, 10, 3),
        ] {
            let division = Division::of(servers, most, replicas);
            assert_eq!(division, Division { cells, brokers }, "{servers} in {most}");
        }
    }

    #[test]
    fn curves_are_crossed_between_and_beyond_their_points() {
        let square = [(1.0, 1.0), (10.0, 100.0), (100.0, 10_000.0)];
        for (height, x) in
            [(1.0, 1.0), (25.0, 5.0), (100.0, 10.0), (400.0, 20.0), (1e6, 1e3), (0.01, 0.1)]
        {
            near(crossing(&square, height), x, 1e-9 * x);
        }
    }

    #[test]
    fn options_are_read_or_refused_in_one_line() {
        let read = |line: &str| Workload::read(line.split_whitespace().map(String::from));
        let standard = Workload::default();
        let other = Workload {
            seconds_per_picture: 0.5,
            picture_bytes: 9.0,
            replicas: Replicas::One,
            keep_seconds: 60.0,
        };
        assert_eq!(read(""), Ok(Some(standard)));
        assert_eq!(read("--replicas 3 --help"), Ok(None));
        let line = "--seconds-per-picture 0.5 --picture-bytes=9 --replicas 1 --keep-seconds 60";
        assert_eq!(read(line), Ok(Some(other)));
        for (line, said) in [
            ("--replicas 2", "--replicas is \"2\"; allowed: 1 or 3"),
            ("--replicas", "--replicas is nothing; allowed: 1 or 3"),
            ("--seconds-per-picture 0", "0.01 to 3600"),
            ("--seconds-per-picture NaN", "0.01 to 3600"),
            ("--picture-bytes 1.5", "a whole number of 1 to 1000000000"),
            ("--keep-seconds -1", "1 to 31536000"),
            ("--keep_seconds 1", "allowed: --seconds-per-picture"),
            ("3", "\"3\" is no option"),
        ] {
            let problem = read(line).expect_err(line);
            assert!(problem.contains(said) && !problem.contains('\n'), "{line}: {problem}");
        }
        let long = read(&"x".repeat(1000)).expect_err("no option");
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (250.0, "250"),
            (1332.4, "1,332"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!([percent(0.0555), percent(1.894), percent(75.76)], ["5.5%", "189%", "7,576%"]);
    }

    #[test]
    fn a_scheduler_stays_as_full_as_it_was() {
        let drive = Drive::filled(20, 3.0);
        assert!(drive.ends.len() > 10 && drive.ends.len() <= 20, "{} run", drive.ends.len());
        let cost = drive.time(Duration::ZERO);
        assert!(cost.decided >= 1.0 && cost.decision > 0.0 && cost.report > 0.0, "{cost:?}");
    }
}
