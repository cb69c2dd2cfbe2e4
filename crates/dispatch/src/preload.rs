//! Loads that no request has asked for yet: an idle server makes ready for what the traffic wants.

use scheduling::{Model, Policy, Seconds, Time};

use super::event::{Effect, Preload};
use super::server::{Occupancy, ServerState};
use super::{Gate, Scheduler};

/// Whether servers that would stand idle load what the traffic wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preloading {
    /// Models are loaded by the runs that need them.
    #[default]
    Off,
    /// The fastest idle server loads the model that is asked for most often of those that are loaded
    /// nowhere, if what it gives up for it is loaded elsewhere, too.
    Idle,
}

impl<P: Policy> Scheduler<P> {
    /// Whether models are loaded before they are asked for.
    pub fn set_preloading(&mut self, preloading: Preloading) {
        self.preloading = preloading;
    }

    /// A preload has ended, or has failed: then it is not known what the server has loaded.
    pub fn preloaded(&mut self, now: Time, server: usize, result: Result<(), ()>) {
        let state = &mut self.servers[server];
        if !matches!(state.occupancy, Occupancy::Loading { .. }) {
            return;
        }
        let early = state.vacant_at(now) > now;
        state.occupancy = Occupancy::Idle;
        if result.is_err() {
            state.unload();
            state.no_preload_before = now + Self::AFTER_FAILURE;
        }
        self.start_next(now, server);
        if early {
            self.used_up(now, server);
        }
        self.preload(now);
    }

    /// Has idle servers load what the traffic wants there.
    pub(super) fn preload(&mut self, now: Time) {
        if self.preloading == Preloading::Off || self.gate != Gate::Open {
            return;
        }
        // A few requests say little of the traffic.
        if self.traffic.arrivals() < Self::KNOWN {
            return;
        }
        while let Some(preload) = self.most_wanted(now) {
            self.servers[preload.server].preload(now, preload.model);
            self.effects.push(Effect::Preload(preload));
        }
    }

    /// Requests after which the traffic counts as known.
    pub(super) const KNOWN: u64 = 20;
    /// How long a server is left alone after a preload that failed.
    const AFTER_FAILURE: Seconds = Seconds::of(600.0);
    /// Idle servers that are left alone, for those that come meanwhile.
    const SPARE: usize = 1;

    /// What an idle server should load, if anything. Further copies of what is loaded somewhere were worse
    /// than none: the policy knows better where they are wanted.
    fn most_wanted(&self, now: Time) -> Option<Preload> {
        let idle = |state: &&ServerState| {
            state.available() && state.is_vacant() && state.rest.left(now).is_none()
        };
        if self.servers.iter().filter(idle).count() <= Self::SPARE {
            return None;
        }
        let shares = self.traffic.models();
        let mut copies = vec![0_u32; shares.len()];
        for state in self.servers.iter().filter(|state| state.available()) {
            for model in state.loaded_at_last().iter() {
                if let Some(copies) = copies.get_mut(model.index()) {
                    *copies += 1;
                }
            }
        }
        let elsewhere = |model: Model| copies.get(model.index()).is_none_or(|&copies| copies > 1);
        let mut best: Option<((f64, f64), Preload)> = None;
        for (server, state) in self.servers.iter().enumerate().filter(|(_, state)| idle(state)) {
            if now < state.no_preload_before {
                continue;
            }
            for hosted in state.server.hosting.iter().flat_map(|hosting| &hosting.models) {
                let model = hosted.model;
                let nowhere = copies.get(model.index()) == Some(&0);
                let given_up = state.loaded().driven_out_by(model, state.server.resident());
                if nowhere && given_up.is_none_or(elsewhere) {
                    let rank = (shares[model.index()], hosted.step_rate.steps_per_second());
                    if rank.0 > 0.0 && best.is_none_or(|(most, _)| rank > most) {
                        best = Some((rank, Preload { server, model, load: hosted.load }));
                    }
                }
            }
        }
        best.map(|(_, preload)| preload)
    }
}
