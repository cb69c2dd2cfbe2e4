//! All of it as tables.

use std::fmt::Write as _;

use crate::drive::Cost;
use crate::units::{CELL, PUT_1, PUT_3, SPLIT, UNITS, Unit};
use crate::workload::{Division, Part, Workload};

/// All that is printed.
pub(crate) fn report(workload: &Workload, costs: &[Cost]) -> String {
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

pub(crate) fn measured(text: &mut String, costs: &[Cost]) {
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

pub(crate) fn loads(text: &mut String, workload: &Workload, costs: &[Cost]) {
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

pub(crate) fn parts(text: &mut String, workload: &Workload, costs: &[Cost]) {
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

pub(crate) fn divisions(text: &mut String, workload: &Workload, costs: &[Cost]) {
    let computed = workload.first(&Part::ALL, costs).1;
    let elsewhere = workload.first(&Part::WITHOUT_PICTURES, costs).1;
    let sizes = [CELL.value, computed, elsewhere].map(|most| most.floor().max(1.0));
    let [page, split, rest] = sizes.map(number);
    let _ = writeln!(
        text,
        "\ncells of at most {page} servers as a rule, {split} as computed, {rest} with pictures kept \
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
pub(crate) fn table<const N: usize>(
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
pub(crate) fn number(value: f64) -> String {
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
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.1}%") } else { format!("{}%", number(percent.round())) }
}
