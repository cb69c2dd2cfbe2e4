//! The log of a command that serves: for a person where one is looking, and one JSON object per
//! line for machines.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use gateway::log::Log;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

/// Sends what the program traces, and what panics say, to standard error, without ever waiting for
/// whoever reads it.
pub(crate) fn start() -> std::io::Result<Log> {
    let log = Log::stderr()?;
    let lines = log.clone();
    let writer = move || lines.clone();
    if std::io::stderr().is_terminal() {
        registry().with(fmt::layer().with_writer(writer).with_filter(ours())).init();
    } else {
        registry().with(fmt::layer().json().with_writer(writer).with_filter(ours())).init();
    }
    let lines = log.clone();
    std::panic::set_hook(Box::new(move |panic| lines.say(&told(panic))));
    Ok(log)
}

/// What we say ourselves. What the client of the brokers has to say we say in our own words, and once.
fn ours() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("async_nats", LevelFilter::OFF)
}

/// A panic in one line, and where it came from in more if that was asked for.
fn told(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a thread without a name").to_owned();
    let said = panic.payload_as_str().unwrap_or("it did not say why").replace('\n', " ");
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    format!("panic in {name}{place}: {said}{trace}")
}
