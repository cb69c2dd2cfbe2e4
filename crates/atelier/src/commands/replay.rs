use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gateway::{Replay, Schedule};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::failure::Failure;
use crate::files;
use crate::interruption::terminated;

/// See one schedule, or two of the same instance side by side, on a page for the browser.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rows of a schedule (CSV), as `simulate` and `bound` write them; one file, or two of the same
    /// instance.
    #[arg(required = true, num_args = 1..=2, value_name = "ROWS")]
    rows: Vec<PathBuf>,
    /// Instance file (JSON) of the rows: names the servers and tells their speed.
    #[arg(long)]
    instance: Option<PathBuf>,
    /// Address to listen on, of this machine alone.
    #[arg(long, default_value = "127.0.0.1:8421")]
    listen: SocketAddr,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.listen;
    if !address.ip().is_loopback() {
        let exposed = "is not a loopback address, and anybody could read there: allowed is 127.0.0.1 or [::1]";
        return Err(Failure::refused(address, exposed));
    }
    let replay = read(arguments)?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let result = runtime.block_on(serve(replay, address));
    // A client that does not take its answer holds nothing up.
    runtime.shutdown_background();
    result
}

fn read(arguments: &Arguments) -> Result<Replay, Failure> {
    let instance = arguments.instance.as_deref().map(files::read_instance).transpose()?;
    let read = |(file, name): (&PathBuf, String)| {
        let (rows, models) = match &instance {
            Some(instance) => {
                let models = instance.cluster().models();
                (files::read_rows(file, models)?, models.to_vec())
            }
            None => files::read_rows_and_models(file)?,
        };
        Ok(Schedule { name, rows, models })
    };
    let files = arguments.rows.iter().zip(names(&arguments.rows));
    let schedules = files.map(read).collect::<Result<_, Failure>>()?;
    Replay::new(schedules, instance.as_ref()).map_err(|error| Failure::Refused(error.into()))
}

/// What the schedules are called: by the stems of their files, or by their paths if these are the same.
fn names(files: &[PathBuf]) -> Vec<String> {
    let stem = |file: &PathBuf| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stems: Vec<_> = files.iter().map(stem).collect();
    let name = |(file, stem): (&PathBuf, &Option<String>)| match stem {
        Some(stem) if stems.iter().filter(|other| other.as_ref() == Some(stem)).count() == 1 => {
            stem.clone()
        }
        _ => Path::display(file).to_string(),
    };
    files.iter().zip(&stems).map(name).collect()
}

async fn serve(replay: Replay, address: SocketAddr) -> Result<(), Failure> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    let terminated = terminated();
    // Whether anybody reads that is not its concern.
    let _ = writeln!(io::stderr(), "atelier replay is at http://{address}");
    let served = gateway::replay(replay, listener, terminated).await;
    Ok(served.context("cannot serve")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_stem_are_told_apart_by_their_paths() {
        for (files, expected) in [
            (&["a/myopic.csv"][..], &["myopic"][..]),
            (&["a/myopic.csv", "a/greedy.csv"], &["myopic", "greedy"]),
            (&["a/myopic.csv", "b/myopic.csv"], &["a/myopic.csv", "b/myopic.csv"]),
        ] {
            let files: Vec<_> = files.iter().map(PathBuf::from).collect();
            assert_eq!(names(&files), expected);
        }
    }
}
