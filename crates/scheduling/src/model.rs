//! Models: what servers draw with, and what they have loaded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bounds::StepBounds;
use crate::cluster::Server;
use crate::units::{Seconds, StepRate};

/// A model, by its position among the names of its cluster. Where a cluster names none there is one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Model(pub u16);

impl Model {
    /// One that is not there any more: no server hosts it.
    pub const UNKNOWN: Self = Self(u16::MAX);

    /// Position among the names.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The models of a server that does not draw with all of them alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Hosting {
    /// How many it can have loaded at once, at least one.
    pub resident: usize,
    /// What it can draw with, in order of the models; at least one.
    pub models: Vec<HostedModel>,
    /// What is loaded at first.
    pub loaded: Loaded,
}

/// A model on a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostedModel {
    /// Which.
    pub model: Model,
    /// c_j with this model.
    pub step_rate: StepRate,
    /// Time of a run that does not depend on its steps, without the load.
    pub overhead: Seconds,
    /// Time it takes to load.
    pub load: Seconds,
    /// Steps it may be given here.
    pub bounds: StepBounds,
}

/// What a server that makes an offer will have loaded when the run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// How many models it can have loaded at once; a server that loads none has all of them.
    pub resident: usize,
    /// Those that it will have, the least recently used first.
    pub loaded: Loaded,
}

impl HostedModel {
    /// A model that a server draws with at its own rate and overhead, with any number of steps.
    pub fn on(server: &Server, model: Model, load: Seconds) -> Self {
        let &Server { step_rate, overhead, .. } = server;
        Self { model, step_rate, overhead, load, bounds: StepBounds::ALL }
    }
}

impl Hosting {
    /// How it draws with a model, if it does.
    pub fn hosted(&self, model: Model) -> Option<&HostedModel> {
        let position = self.models.binary_search_by_key(&model, |hosted| hosted.model).ok()?;
        Some(&self.models[position])
    }

    /// How it draws with a model, to be corrected.
    pub fn hosted_mut(&mut self, model: Model) -> Option<&mut HostedModel> {
        let position = self.models.binary_search_by_key(&model, |hosted| hosted.model).ok()?;
        Some(&mut self.models[position])
    }
}

/// The models that a server has loaded, the least recently used first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loaded(Vec<Model>);

impl Loaded {
    /// These models, the least recently used first.
    pub fn new(models: Vec<Model>) -> Self {
        Self(models)
    }

    /// Whether a run with the model can begin without loading it.
    pub fn contains(&self, model: Model) -> bool {
        self.0.contains(&model)
    }

    /// A run begins with the model, on a server with room for so many: it is loaded if it was not, and
    /// drives out the least recently used where there is no room left.
    pub fn run(&mut self, model: Model, resident: usize) {
        self.0.retain(|&other| other != model);
        let excess = (self.0.len() + 1).saturating_sub(resident);
        self.0.drain(..excess.min(self.0.len()));
        self.0.push(model);
    }

    /// What a run with the model would drive out, on a server with room for so many.
    pub fn driven_out_by(&self, model: Model, resident: usize) -> Option<Model> {
        let full = self.0.len() >= resident && !self.contains(model);
        if full { self.0.first().copied() } else { None }
    }

    /// The server has lost them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl std::ops::Deref for Loaded {
    type Target = [Model];
    fn deref(&self) -> &[Model] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_driven_out() {
        let check = |resident: usize, runs: &[u16], expected: &[u16]| {
            let mut loaded = Loaded::default();
            for &model in runs {
                let before = loaded.clone();
                let victim = loaded.driven_out_by(Model(model), resident);
                loaded.run(Model(model), resident);
                let gone: Vec<_> = before.iter().filter(|&&old| !loaded.contains(old)).collect();
                assert_eq!(gone, Vec::from_iter(&victim), "room for {resident}, runs {runs:?}");
            }
            let left: Vec<_> = loaded.iter().map(|model| model.0).collect();
            assert_eq!(left, expected, "room for {resident}, runs {runs:?}");
        };
        check(1, &[0, 1, 1, 2], &[2]);
        check(2, &[0, 1, 2], &[1, 2]);
        check(2, &[0, 1, 0, 2], &[0, 2]);
        check(3, &[0, 1, 0, 2], &[1, 0, 2]);
    }
}
