//! Long work that Ctrl-C ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

/// Longest time between two looks for signals; short work is looked after more often.
const LONGEST: Duration = Duration::from_millis(50);

/// Does the work on a thread while this one looks for signals. The work calls what it is given now and then, which
/// does not return once there was one.
///
/// # Errors
/// `KeyboardInterrupt`, or whatever else Python makes of a signal.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> T + Send,
) -> PyResult<T> {
    let left = AtomicBool::new(false);
    let go_on = || {
        if left.load(Ordering::Relaxed) {
            // Without a word: no panic has happened.
            resume_unwind(Box::new("interrupted"));
        }
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| work(&go_on))));
        let (mut signal, mut pause) = (None, Duration::from_micros(50));
        while !worker.is_finished() {
            py.detach(|| std::thread::sleep(pause));
            pause = LONGEST.min(2 * pause);
            if let Err(error) = py.check_signals() {
                left.store(true, Ordering::Relaxed);
                signal.get_or_insert(error);
            }
        }
        let worked = worker.join().unwrap_or_else(Err);
        match (signal, worked) {
            (Some(signal), _) => Err(signal),
            (None, Ok(result)) => Ok(result),
            (None, Err(panic)) => resume_unwind(panic),
        }
    })
}
