//! How far one cell goes, as arithmetic: `cargo run --release --example cells`.
//!
//! For fleets of 10 to 10,000 servers this prints how many decisions, records, messages and bytes a second they
//! need, how much of each part that takes, and at how many servers a part is full or must be split. The costs are
//! those that were measured, and stand in the table below. What a decision costs is measured on the spot.
//! Every server is taken to be busy all the time.
//!
//! Not counted, since nobody has measured it for this: HTTP, the leader's own SQLite and its JSON, previews, and what
//! brokers say to one another.

mod drive;
mod report;
#[cfg(test)]
mod tests;
mod units;
mod workload;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use drive::Drive;
use report::report;
use units::FLEETS;
use workload::Workload;

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
