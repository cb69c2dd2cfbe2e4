//! Threads that are none: under a simulated world every call is made by the task that asks for it,
//! so that one runtime on one thread does everything in an order that its seed decides.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::sync::Mutex;

use super::said;

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It is about to be made.
    Before,
    /// It has been made, and nobody knows yet.
    After,
}

/// How long a call to the threads of this name takes at this moment, in the runtime's time.
type Delay = Box<dyn FnMut(&str, Moment) -> Duration>;

thread_local! { static DELAY: RefCell<Option<Delay>> = const { RefCell::new(None) }; }

/// Until this is dropped, whatever is started on this thread has simulated threads.
pub(crate) struct Simulation(());

/// Simulates threads; calls take as long as `delay` says.
pub(crate) fn simulate(delay: impl FnMut(&str, Moment) -> Duration + 'static) -> Simulation {
    DELAY.set(Some(Box::new(delay)));
    Simulation(())
}

impl Drop for Simulation {
    fn drop(&mut self) {
        DELAY.set(None);
    }
}

/// Whether threads are simulated here.
pub(super) fn on() -> bool {
    DELAY.with_borrow(Option::is_some)
}

/// What stands in for threads of one name: one call at a time, in order.
#[derive(Debug)]
pub(super) struct Station<S> {
    name: String,
    state: Mutex<S>,
}

impl<S> Station<S> {
    pub(super) fn new(name: &str, state: S) -> Self {
        Self { name: name.into(), state: Mutex::new(state) }
    }

    pub(super) async fn call<T>(&self, call: impl FnOnce(&mut S) -> T) -> Result<T, String> {
        let mut state = self.state.lock().await;
        self.pass(Moment::Before).await;
        let result = caught(|| call(&mut state));
        self.pass(Moment::After).await;
        result
    }

    async fn pass(&self, moment: Moment) {
        let delay = DELAY.with_borrow_mut(|delay| delay.as_mut().map(|d| d(&self.name, moment)));
        if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
            tokio::time::sleep(delay).await;
        }
    }
}

/// The result of a call, or what it said when it panicked.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| said(&*panic))
}
