//! Threads for calls that block, apart from those that everything else shares.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::{io, thread};

use tokio::sync::oneshot;

#[cfg(test)]
pub(crate) mod simulated;

type Call<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Some threads, each with a state of its own, that work off calls in their order.
///
/// The threads end when this is dropped, after the calls that were handed in. Nothing waits for
/// them: one that hangs does not hold up the end of the process.
#[derive(Debug)]
pub(crate) struct Threads<S> {
    calls: mpsc::Sender<Call<S>>,
    ended: Vec<oneshot::Receiver<()>>,
    #[cfg(test)]
    simulated: Option<simulated::Station<S>>,
}

impl<S: Send + 'static> Threads<S> {
    /// Starts a thread for each of the states.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn spawn(name: &str, states: Vec<S>) -> io::Result<Self> {
        let (calls, inbox) = mpsc::channel::<Call<S>>();
        #[cfg(test)]
        if simulated::on() {
            let state = states.into_iter().next().expect("there is one");
            let simulated = Some(simulated::Station::new(name, state));
            return Ok(Self { calls, ended: Vec::new(), simulated });
        }
        let inbox = Arc::new(Mutex::new(inbox));
        let mut ended = Vec::new();
        for mut state in states {
            let inbox = inbox.clone();
            let (end, end_seen) = oneshot::channel();
            ended.push(end_seen);
            thread::Builder::new().name(name.into()).spawn(move || {
                loop {
                    let call = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(call) = call else { break };
                    call(&mut state);
                }
                drop(state);
                let _ = end.send(());
            })?;
        }
        #[cfg(test)]
        let simulated = None;
        Ok(Self {
            calls,
            ended,
            #[cfg(test)]
            simulated,
        })
    }

    /// Makes a call on one of the threads.
    ///
    /// # Errors
    /// What it said when it panicked.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, String> {
        #[cfg(test)]
        if let Some(station) = &self.simulated {
            return station.call(call).await;
        }
        let (reply, answer) = oneshot::channel();
        let call = move |state: &mut S| {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| call(state)));
            // Whoever asked may have gone.
            let _ = reply.send(result.map_err(|panic| said(&*panic)));
        };
        let gone = || "its thread is gone".to_string();
        self.calls.send(Box::new(call)).map_err(|_| gone())?;
        #[cfg(test)]
        let _busy = virtual_time::stop();
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Waits until all calls are made and the states are dropped.
    pub(crate) async fn finish(self) {
        let Self { calls, ended, .. } = self;
        drop(calls);
        #[cfg(test)]
        let _busy = virtual_time::stop();
        for end in ended {
            let _ = end.await;
        }
    }
}

/// Computes something that takes a while, where it holds up nothing else.
///
/// # Errors
/// What it said when it panicked.
pub(crate) async fn aside<T: Send + 'static>(
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    #[cfg(test)]
    if simulated::on() {
        return simulated::caught(compute);
    }
    tokio::task::spawn_blocking(compute).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => said(&*panic),
        Err(error) => error.to_string(),
    })
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "it did not say why".into()))
}

/// Paused time in tests runs ahead while nothing happens. It must not while a thread is at work that
/// the runtime does not know.
#[cfg(test)]
mod virtual_time {
    use std::sync::mpsc;

    /// Time stands until this is dropped.
    pub(super) struct Standing(
        #[expect(dead_code, reason = "it is there to be dropped")] mpsc::Sender<()>,
    );

    pub(super) fn stop() -> Standing {
        let (held, until_dropped) = mpsc::channel();
        tokio::task::spawn_blocking(move || until_dropped.recv());
        Standing(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_made_in_order_and_a_panic_costs_one_call() {
        let threads = Threads::spawn("test", vec![Vec::new()]).unwrap();
        for n in 0..10 {
            threads.call(move |seen: &mut Vec<i32>| seen.push(n)).await.unwrap();
        }
        let panicked: Result<(), _> = threads.call(|_| panic!("no {}", 7)).await;
        assert_eq!(panicked.unwrap_err(), "panicked: no 7");
        assert_eq!(threads.call(|seen| seen.clone()).await.unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn whoever_finishes_finds_the_states_dropped() {
        let state = Arc::new(());
        let threads = Threads::spawn("test", vec![state.clone(), state.clone()]).unwrap();
        threads.finish().await;
        assert_eq!(Arc::strong_count(&state), 1);
    }
}
