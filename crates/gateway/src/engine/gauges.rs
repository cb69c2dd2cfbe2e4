//! The present state of the servers, for those who ask and for the metrics.

use dispatch::{Administration, Gate, Health, Rejection, ServerState};
use scheduling::Time;

use super::Engine;
use crate::metrics;
use crate::status::{HostedView, Refusal, ServerView};

impl Engine {
    pub(super) fn views(&self, now: Time) -> Vec<ServerView> {
        let servers = self.scheduler.servers().iter().zip(&self.servers).enumerate();
        let mut views: Vec<_> = (servers.filter(|(_, (_, attached))| attached.stay.is_some()))
            .map(|(index, (state, attached))| ServerView {
                name: attached.name.clone(),
                health: state.health,
                administration: state.administration,
                speed: state.speed(),
                sigma: state.server.spread.sigma(),
                max_pixels: state.max_pixels,
                models: self.models(state),
                running: state.occupancy.run().copied(),
                preloading: state
                    .occupancy
                    .preload()
                    .and_then(|m| self.config.model_name(m))
                    .map(String::from),
                failed_in_a_row: state.rest.failures,
                resting: state.rest.left(now),
                waiting: state.queue_length(),
                backlog: self.scheduler.backlog(now, index),
                trouble: attached.trouble.as_ref().or(attached.failure.as_ref()).cloned(),
            })
            .collect();
        // In the order of the configuration; what leaves comes last.
        let position =
            |name: &str| self.config.servers.iter().position(|s| s.name.get_ref() == name);
        views.sort_by_cached_key(|view| position(&view.name).unwrap_or(usize::MAX));
        views
    }

    fn models(&self, state: &ServerState) -> Vec<HostedView> {
        let hosted = state.server.hosting.iter().flat_map(|hosting| &hosting.models);
        hosted
            .map(|own| HostedView {
                name: self.config.model_name(own.model).unwrap_or_default().into(),
                loaded: state.loaded().contains(own.model),
                speed: state.speed_with(own.model),
                load: own.load,
            })
            .collect()
    }

    /// Whether a request would be taken in, if there were room for it.
    pub(super) fn ready(&self) -> Result<(), Refusal> {
        let available = self.scheduler.servers().iter().any(ServerState::available);
        match self.scheduler.gate() {
            Gate::Closing => Err(Refusal::Rejected(Rejection::Closing)),
            Gate::Holding => Err(Refusal::Journal("writing fails at the moment".into())),
            Gate::Open if !available => Err(Refusal::Rejected(Rejection::NoServer)),
            Gate::Open => Ok(()),
        }
    }

    pub(super) fn gauges(&self, now: Time) {
        let m = &self.metrics;
        m.set(metrics::LIVE, &[], self.scheduler.live() as f64);
        m.set(metrics::CLOCK_DRIFT, &[], self.timeline.drift(self.origin).seconds());
        for view in self.views(now) {
            let labels = [("server", &*view.name)];
            m.set(metrics::WAITING, &labels, view.waiting as f64);
            m.set(metrics::BACKLOG, &labels, view.backlog.seconds());
            let bit = |yes: bool| f64::from(u8::from(yes));
            m.set(metrics::HEALTHY, &labels, bit(view.health == Health::Healthy));
            m.set(metrics::ENABLED, &labels, bit(view.administration == Administration::Enabled));
            m.set(metrics::RESTING, &labels, bit(view.resting.is_some()));
            m.set(metrics::FAILED_IN_A_ROW, &labels, f64::from(view.failed_in_a_row));
            m.set(metrics::RATE, &labels, view.speed.rate.steps_per_second());
            m.set(metrics::OVERHEAD, &labels, view.speed.overhead.seconds());
            m.set(metrics::SIGMA, &labels, view.sigma.into());
        }
    }
}
