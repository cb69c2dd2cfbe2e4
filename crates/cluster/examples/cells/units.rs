//! What one thing costs, and how much a part can do, as it was measured.

/// What one thing costs, or how much of it a part can do.
pub(crate) struct Unit {
    pub(crate) value: f64,
    pub(crate) what: &'static str,
    pub(crate) from: &'static str,
}

pub(crate) const fn unit(value: f64, what: &'static str, from: &'static str) -> Unit {
    Unit { value, what, from }
}

pub(crate) const PAPER: &str = "reckoned on paper";
pub(crate) const APPENDS: &str = "a miniature on two shared cores: durable appends";
pub(crate) const PICTURES: &str =
    "a miniature on two shared cores: pictures of 1.5 MB, 4 in parallel";

// The table of unit costs.
pub(crate) const RECORDS: Unit =
    unit(4.0, "records per request: accepted, decided, started, ended", PAPER);
pub(crate) const RECORD_BYTES: Unit = unit(600.0, "bytes of a record", APPENDS);
pub(crate) const LOG_1: Unit = unit(42_500.0, "records/s, one replica", APPENDS);
pub(crate) const LOG_3: Unit = unit(24_000.0, "records/s, three replicas", APPENDS);
pub(crate) const PUT_1: Unit = unit(176e6, "bytes/s of pictures in, one replica", PICTURES);
pub(crate) const PUT_3: Unit = unit(66e6, "bytes/s of pictures in, three replicas", PICTURES);
pub(crate) const GET_1: Unit = unit(413e6, "bytes/s of pictures out, one replica", PICTURES);
pub(crate) const GET_3: Unit = unit(226e6, "bytes/s of pictures out, three replicas", PICTURES);
pub(crate) const GETS: Unit = unit(1.0, "times that a picture is fetched", "assumed: once");
pub(crate) const CALLS: Unit =
    unit(4.0, "messages per request: submission and run, with answers", "transport.rs, remote.rs");
pub(crate) const CHANGES: Unit =
    unit(4.0, "changes told per request, beside its progress", "node.rs, tell");
pub(crate) const WORDS: Unit =
    unit(2.0, "messages per run: ticket and confirmation", "agent/seat.rs, remote.rs");
pub(crate) const REPORT_SECONDS: Unit =
    unit(0.2, "seconds between reports of progress", "agent/seat.rs, OFTEN");
pub(crate) const REPORT_MESSAGES: Unit =
    unit(2.0, "messages per report: to the leader, and on to the nodes", "node.rs, tell");
pub(crate) const PART_BYTES: Unit =
    unit(1_048_576.0, "bytes of a part of a picture on its way", "agent/seat.rs, PART");
pub(crate) const PROBES: Unit = unit(
    2.0 / 5.0,
    "messages/s per server: probe and answer every 5 s",
    "gateway config, [health]",
);
pub(crate) const BROKER: Unit = unit(
    877_000.0,
    "messages/s of 600 B through one broker",
    "NATS 2.15.1, loopback, two shared cores, one sender, one reader; median of 5 (666,000 to 952,000)",
);
pub(crate) const CELL: Unit = unit(250.0, "servers of a cell at most", PAPER);
pub(crate) const PER_BROKER: Unit =
    unit(4.0, "replicas on a broker", "reckoned on paper: 48 replicas over 12 brokers");

/// The table, to be shown.
pub(crate) const UNITS: [&Unit; 19] = [
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
pub(crate) const FLEETS: [usize; 9] = [10, 30, 100, 250, 300, 1000, 3000, 4000, 10_000];
/// Share of a part from which on it must be split.
pub(crate) const SPLIT: f64 = 0.7;
