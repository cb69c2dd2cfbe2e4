//! How far long work is, on standard error: a bar with speed and time left on a terminal, and elsewhere, as in a
//! log, a line now and then.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(30);

/// A bar over `length` items, with room for a message.
pub(crate) fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = style("{prefix} {wide_bar} {pos}/{len}  {msg}  {elapsed} gone, {left} left");
    watched(ProgressBar::new(length).with_style(style).with_prefix(what), Unit::Items)
}

/// A bar over work whose unit says nothing to a person: only the share that is done.
pub(crate) fn share(what: &'static str, work: u64) -> ProgressBar {
    let style = style("{wide_bar} {percent} %  {msg}  {elapsed} gone, {left} left");
    watched(ProgressBar::new(work).with_style(style).with_prefix(what), Unit::Share)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is right")
        .with_key("left", write_left)
}

/// A sign of life over work that cannot say how far it is.
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    watched(ProgressBar::new_spinner().with_message(what), Unit::None)
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Items,
    Share,
    None,
}

/// The bar, with lines in its place where it cannot be drawn.
fn watched(bar: ProgressBar, unit: Unit) -> ProgressBar {
    if !io::stderr().is_terminal() {
        // Work whose log nobody reads any more goes on.
        follow(&bar, unit, EVERY, |line| drop(writeln!(io::stderr(), "{line}")));
    }
    bar
}

/// Says how far the bar is, again and again until it is finished or gone.
fn follow(
    bar: &ProgressBar,
    unit: Unit,
    every: Duration,
    mut say: impl FnMut(String) + Send + 'static,
) {
    let weak = bar.downgrade();
    let told = move || {
        loop {
            thread::sleep(every);
            match weak.upgrade() {
                Some(bar) if !bar.is_finished() => say(line(&bar, unit)),
                _ => return,
            }
        }
    };
    // Without a thread there are no lines; the work itself needs none.
    drop(thread::Builder::new().name("progress".into()).spawn(told));
}

/// How long the rest takes at the pace so far; none before anything is done, and after all is. A pace of the last
/// minute would say days where one piece of work is long.
fn left(elapsed: Duration, done: u64, all: u64) -> Option<Duration> {
    if done == 0 || done >= all {
        return None;
    }
    Some(elapsed.mul_f64((all - done) as f64 / done as f64))
}

fn write_left(state: &ProgressState, out: &mut dyn fmt::Write) {
    let left = left(state.elapsed(), state.pos(), state.len().unwrap_or(0));
    let _ = match left {
        Some(left) => write!(out, "{:#}", HumanDuration(left)),
        None => out.write_str("?"),
    };
}

/// `training: 120 of 3000, reward 55.10, 40 seconds gone, about 16 minutes left`
fn line(bar: &ProgressBar, unit: Unit) -> String {
    let (done, all) = (bar.position(), bar.length().unwrap_or(0));
    let prefix = bar.prefix();
    let far = match unit {
        Unit::Items => format!("{prefix}: {done} of {all}"),
        Unit::Share => format!("{prefix}: {} %", 100 * done / all.max(1)),
        Unit::None => String::new(),
    };
    let left = left(bar.elapsed(), done, all).filter(|_| unit != Unit::None);
    let left = left.map(|left| format!("about {} left", HumanDuration(left)));
    let gone = format!("{} gone", HumanDuration(bar.elapsed()));
    let message = bar.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = [Some(far), Some(message), Some(gone), left];
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressDrawTarget;
    use std::sync::mpsc;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let minute = Duration::from_mins(1);
        let hidden = |length| ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let items = hidden(Some(200)).with_elapsed(minute).with_prefix("tuning");
        items.set_position(50);
        items.set_message("reward 55.10  4 k decisions/s");
        let text = line(&items, Unit::Items);
        assert!(text.starts_with("tuning: 50 of 200, reward 55.10 4 k decisions/s, "), "{text}");
        assert!(text.ends_with("60 seconds gone, about 3 minutes left"), "{text}");
        items.set_message("");
        assert!(line(&items, Unit::Share).starts_with("tuning: 25 %, 60 seconds gone"));
        let spinner = hidden(None).with_elapsed(minute).with_message("solving");
        assert_eq!(line(&spinner, Unit::None), "solving, 60 seconds gone");
    }

    #[test]
    fn the_time_left_follows_the_pace_of_all_that_is_done() {
        let minute = Duration::from_mins(1);
        assert_eq!(left(minute, 25, 100), Some(3 * minute));
        assert_eq!(left(minute, 0, 100), None);
        assert_eq!(left(minute, 100, 100), None);
    }

    #[test]
    fn lines_come_until_the_bar_is_finished_or_gone() {
        for ends in [ProgressBar::finish_and_clear, |_: &ProgressBar| ()] {
            let bar = ProgressBar::hidden().with_prefix("work");
            bar.set_length(10);
            let (said, lines) = mpsc::channel();
            follow(&bar, Unit::Items, Duration::from_millis(1), move |line| drop(said.send(line)));
            assert!(lines.recv().unwrap().starts_with("work: 0 of 10"));
            ends(&bar);
            drop(bar);
            // The thread ends and drops its end of the channel.
            while lines.recv().is_ok() {}
        }
    }
}
