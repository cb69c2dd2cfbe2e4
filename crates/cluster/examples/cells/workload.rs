//! What a fleet needs, and where a part is full: arithmetic.

use crate::drive::Cost;
use crate::units::{
    BROKER, CALLS, CHANGES, GET_1, GET_3, GETS, LOG_1, LOG_3, PART_BYTES, PER_BROKER, PROBES,
    PUT_1, PUT_3, RECORD_BYTES, RECORDS, REPORT_MESSAGES, REPORT_SECONDS, SPLIT, Unit, WORDS,
};

/// Copies of the log and of each picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replicas {
    One,
    Three,
}

impl Replicas {
    pub(crate) fn count(self) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Three => 3.0,
        }
    }

    /// What the first can do with one replica, and the second with three.
    pub(crate) fn of(self, one: &Unit, three: &Unit) -> f64 {
        match self {
            Self::One => one.value,
            Self::Three => three.value,
        }
    }
}

/// What every server does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) seconds_per_picture: f64,
    pub(crate) picture_bytes: f64,
    pub(crate) replicas: Replicas,
    pub(crate) keep_seconds: f64,
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
    pub(crate) fn read(
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Option<Self>, String> {
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
    pub(crate) fn load(&self, servers: f64) -> Load {
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
    pub(crate) fn reports(&self) -> f64 {
        (self.seconds_per_picture / REPORT_SECONDS.value + 1e-9).floor()
    }

    /// Messages between nodes and agents; those into the log and the store are counted there.
    pub(crate) fn messages_per_request(&self) -> f64 {
        let parts = (self.picture_bytes / PART_BYTES.value).ceil();
        CALLS.value + CHANGES.value + WORDS.value + parts + self.reports() * REPORT_MESSAGES.value
    }

    /// Bytes of pictures that are kept, all copies together.
    pub(crate) fn kept_bytes(&self, servers: f64) -> f64 {
        self.load(servers).picture_bytes * self.keep_seconds * self.replicas.count()
    }

    /// How much of a part so many servers take: 1 is all of it.
    pub(crate) fn utilisation(&self, part: Part, servers: f64, cost: &Cost) -> f64 {
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
    pub(crate) fn servers_at(&self, part: Part, share: f64, costs: &[Cost]) -> f64 {
        let points = costs.iter().map(|cost| {
            let servers = cost.servers as f64;
            (servers, self.utilisation(part, servers, cost))
        });
        crossing(&points.collect::<Vec<_>>(), share)
    }

    /// The part that must be split first among these, and at how many servers.
    pub(crate) fn first(&self, parts: &[Part], costs: &[Cost]) -> (Part, f64) {
        let at = |&part: &Part| (part, self.servers_at(part, SPLIT, costs));
        parts.iter().map(at).min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are parts")
    }
}

/// An option with what stands behind it.
pub(crate) struct Given {
    pub(crate) option: String,
    pub(crate) value: Option<String>,
    pub(crate) allowed: &'static str,
}

impl Given {
    pub(crate) fn number(&self, least: f64, most: f64) -> Result<f64, String> {
        let number = self.value.as_ref().and_then(|value| value.parse().ok());
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| self.refused())
    }

    pub(crate) fn whole(&self, most: f64) -> Result<f64, String> {
        let number = self.number(1.0, most)?;
        if number.fract() == 0.0 { Ok(number) } else { Err(self.refused()) }
    }

    pub(crate) fn replicas(&self) -> Result<Replicas, String> {
        match self.value.as_deref() {
            Some("1") => Ok(Replicas::One),
            Some("3") => Ok(Replicas::Three),
            _ => Err(self.refused()),
        }
    }

    pub(crate) fn refused(&self) -> String {
        let value = self.value.as_ref().map_or_else(|| "nothing".into(), |value| shortened(value));
        format!("{} is {value}; allowed: {}", self.option, self.allowed)
    }
}

/// A text in quotes, on one line.
pub(crate) fn shortened(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short == text { format!("{text:?}") } else { format!("{short:?}…") }
}

/// What a fleet needs in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    pub(crate) records: f64,
    pub(crate) log_bytes: f64,
    pub(crate) picture_bytes: f64,
    pub(crate) messages: f64,
}

/// What may become full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
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
    pub(crate) const ALL: [Self; 6] = [
        Self::Decisions,
        Self::Scheduler,
        Self::Log,
        Self::PicturesIn,
        Self::PicturesOut,
        Self::Messages,
    ];
    /// Those of a cell whose pictures are kept elsewhere.
    pub(crate) const WITHOUT_PICTURES: [Self; 4] =
        [Self::Decisions, Self::Scheduler, Self::Log, Self::Messages];

    pub(crate) fn name(self) -> &'static str {
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
pub(crate) fn crossing(points: &[(f64, f64)], height: f64) -> f64 {
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
pub(crate) struct Division {
    pub(crate) cells: usize,
    pub(crate) brokers: usize,
}

impl Division {
    /// Cells of at most so many servers, and brokers that carry a few replicas each, none of a cell twice.
    pub(crate) fn of(servers: usize, most: f64, replicas: Replicas) -> Self {
        let cells = servers.div_ceil((most as usize).max(1));
        let replicas = replicas.count() as usize;
        let brokers = (cells * replicas).div_ceil(PER_BROKER.value as usize).max(replicas);
        Self { cells, brokers }
    }
}
