//! A log in memory, with brokers that answer as they are told to, and a store of pictures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Log, LogError, Pictures};

/// What becomes of an append, if it may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    /// It is appended, and that is said.
    Good,
    /// It is appended, and the answer is lost.
    Unheard,
    /// It is lost.
    Lost,
    /// It is under way, and appended when the next one comes.
    Late,
    /// Nobody is reached: reads fail as well.
    CutOff,
}

/// A log. Copies are the same one, as other machines see it.
#[derive(Clone)]
pub(crate) struct Shelf {
    log: Arc<Mutex<State>>,
    luck: Arc<Mutex<Dice>>,
    /// Whether this one is reached at the moment.
    cut: bool,
    /// Whether it is appended behind whatever is there.
    unfenced: bool,
}

/// Decides on each append.
type Dice = Box<dyn FnMut() -> Luck + Send>;

#[derive(Default)]
struct State {
    messages: Vec<Vec<u8>>,
    late: Vec<(u64, Vec<u8>)>,
}

impl State {
    fn take(&mut self, last: u64, message: &[u8]) -> Result<u64, LogError> {
        if self.messages.len() as u64 != last {
            return Err(LogError::Taken);
        }
        self.messages.push(message.into());
        Ok(last + 1)
    }
}

impl Shelf {
    pub(crate) fn new(luck: impl FnMut() -> Luck + Send + 'static) -> Self {
        let luck: Dice = Box::new(luck);
        let luck = Arc::new(Mutex::new(luck));
        Self { log: Arc::default(), luck, cut: false, unfenced: false }
    }

    /// The same without the fence, which says all the same that all is well.
    pub(crate) fn unfenced(self) -> Self {
        Self { unfenced: true, ..self }
    }

    /// All messages behind a sequence.
    pub(crate) fn behind(&self, sequence: u64) -> Vec<(u64, Vec<u8>)> {
        let state = self.state();
        let found = state.messages.iter().enumerate().skip(sequence as usize);
        found.map(|(index, message)| (index as u64 + 1, message.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.log.lock().unwrap()
    }
}

impl Log for Shelf {
    fn append(&mut self, last: u64, message: &[u8]) -> Result<u64, LogError> {
        let luck = (self.luck.lock().unwrap())();
        self.cut = luck == Luck::CutOff;
        let mut state = self.state();
        for (last, message) in std::mem::take(&mut state.late) {
            let _ = state.take(last, &message);
        }
        if self.unfenced {
            state.messages.push(message.into());
            return Ok(last + 1);
        }
        let unknown = || LogError::Unknown("no answer".into());
        match luck {
            Luck::Good => state.take(last, message),
            Luck::Unheard => state.take(last, message).and_then(|_| Err(unknown())),
            Luck::Late => {
                state.late.push((last, message.into()));
                Err(unknown())
            }
            Luck::Lost | Luck::CutOff => Err(unknown()),
        }
    }

    fn read(&mut self, sequence: u64) -> Result<Option<Vec<u8>>, String> {
        if self.cut {
            return Err("no answer".into());
        }
        let index = sequence as usize - 1;
        Ok(self.state().messages.get(index).cloned())
    }
}

/// Pictures in memory.
#[derive(Default)]
pub(crate) struct Album(Mutex<HashMap<String, Bytes>>);

impl Album {
    /// Loses all of them.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

#[async_trait]
impl Pictures for Album {
    async fn keep(&self, name: &str, png: Bytes) -> Result<(), String> {
        self.0.lock().unwrap().insert(name.into(), png);
        Ok(())
    }

    fn part(&self, name: &str, from: u64, most: usize) -> Result<Option<Bytes>, String> {
        let all = self.0.lock().unwrap();
        Ok(all.get(name).map(|png| {
            let from = (from as usize).min(png.len());
            png.slice(from..png.len().min(from.saturating_add(most)))
        }))
    }
}
