//! Lines for a person or a collector, written by a thread of its own.
//!
//! Whoever writes a line never waits and never fails: standard error may be a pipe that nobody
//! reads, a file on a full disk, or closed. What cannot be written in time is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// The way to the log. What is written at once is a line, or several, and appears whole.
#[derive(Clone, Debug)]
pub struct Log {
    lines: SyncSender<Entry>,
    dropped: Dropped,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Whoever waits hears that everything before has been written.
    Flush(SyncSender<()>),
}

/// Counts lines that were dropped.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// So many so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Log {
    /// Lines that may wait to be written.
    const WAITING: usize = 1024;

    /// Starts to write to standard error.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn stderr() -> io::Result<Self> {
        Self::start(io::stderr())
    }

    fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, inbox) = sync_channel(Self::WAITING);
        let dropped = Dropped::default();
        let counter = dropped.clone();
        thread::Builder::new().name("log".into()).spawn(move || write(output, &inbox, &counter))?;
        Ok(Self { lines, dropped })
    }

    /// Writes a line.
    pub fn say(&self, line: &str) {
        self.hand_in(format!("{line}\n").into_bytes());
    }

    /// Counts what is dropped.
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }

    /// Waits until everything is written, but no longer than so.
    pub fn flush(&self, most: Duration) {
        let (written, until_written) = sync_channel(1);
        // A full queue is one that nobody takes: there is nothing to wait for.
        if self.lines.try_send(Entry::Flush(written)).is_ok() {
            let _ = until_written.recv_timeout(most);
        }
    }

    fn hand_in(&self, line: Vec<u8>) {
        match self.lines.try_send(Entry::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped.add(),
        }
    }
}

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.hand_in(lines.to_vec());
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut output: impl Write, inbox: &Receiver<Entry>, dropped: &Dropped) {
    let mut told = 0;
    for entry in inbox {
        match entry {
            Entry::Line(line) => {
                if output.write_all(&line).and_then(|()| output.flush()).is_err() {
                    dropped.add();
                    continue;
                }
                let now = dropped.count();
                if now > told {
                    let lines = now - told;
                    let note = format!("{lines} lines of the log could not be written in time\n");
                    if output.write_all(note.as_bytes()).is_ok() {
                        told = now;
                    }
                }
            }
            Entry::Flush(written) => {
                let _ = written.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Takes what it is allowed to take.
    #[derive(Clone)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        /// One result for each call.
        allowed: Arc<Mutex<mpsc::Receiver<io::Result<()>>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.lock().unwrap().recv().unwrap_or(Ok(()))?;
            self.written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<u8>>>;

    fn log() -> (Log, mpsc::Sender<io::Result<()>>, Written) {
        let (allow, allowed) = mpsc::channel();
        let (written, allowed) = (Arc::default(), Arc::new(Mutex::new(allowed)));
        let output = Output { written, allowed };
        (Log::start(output.clone()).unwrap(), allow, output.written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_nobody_waits() {
        let (log, allow, written) = log();
        let lines = 3 * Log::WAITING;
        (0..lines).for_each(|n| log.say(&n.to_string()));
        // One may be under way beside those that wait.
        let dropped = log.dropped().count();
        assert!((lines - Log::WAITING - 1..=lines - Log::WAITING).contains(&(dropped as usize)));
        log.flush(Duration::ZERO);
        drop(allow);
        // All that waited, and the note: only then is there surely room for another line.
        while text(&written).lines().count() <= lines - dropped as usize {
            thread::yield_now();
        }
        log.say("the last one");
        log.flush(Duration::from_mins(1));
        let text = text(&written);
        assert!(text.starts_with("0\n"), "{text}");
        assert!(text.contains(&format!("{dropped} lines of the log")), "{text}");
        assert!(text.ends_with("the last one\n"), "{text}");
    }

    #[test]
    fn an_output_that_fails_is_tried_again_with_the_next_line() {
        let (log, allow, written) = log();
        for result in [Ok(()), Err(io::Error::other("no space left")), Ok(())] {
            allow.send(result).unwrap();
        }
        drop(allow);
        for line in ["a", "b", "c"] {
            log.say(line);
        }
        log.flush(Duration::from_mins(1));
        assert_eq!(text(&written), "a\nc\n1 lines of the log could not be written in time\n");
        assert_eq!(log.dropped().count(), 1);
    }
}
