//! Servers that come, go and change their speed.

use scheduling::{Model, Policy, Seconds, Spread, Steps, Time};

use super::Scheduler;
use super::event::Cause;
use super::server::{Administration, Health, Occupancy, Speed};

impl<P: Policy> Scheduler<P> {
    /// A server answers again. All waiting requests are decided again, in order of acceptance, as
    /// the capacity that came back is for those who have waited.
    pub fn server_up(&mut self, now: Time, server: usize) {
        if std::mem::replace(&mut self.servers[server].health, Health::Healthy) != Health::Healthy {
            self.forgive(server);
            self.capacity_grew(now);
        }
    }

    /// A server stopped answering: what runs there is given up, and that and what waits there is
    /// decided again. It comes back with no model loaded.
    pub fn server_down(&mut self, now: Time, server: usize) {
        self.servers[server].health = Health::Unhealthy;
        self.servers[server].unload();
        self.abandon(now, server);
        self.replace_waiting(now, &[server], Cause::ServerDown);
    }

    /// The operator takes a server in or out. What runs on a draining server finishes; what waits
    /// there is decided again.
    pub fn administer(&mut self, now: Time, server: usize, state: Administration) {
        let before = std::mem::replace(&mut self.servers[server].administration, state);
        match state {
            Administration::Draining | Administration::Removed => {
                self.replace_waiting(now, &[server], Cause::Drained);
            }
            Administration::Enabled if before != state => {
                self.forgive(server);
                self.capacity_grew(now);
            }
            Administration::Enabled => {}
        }
    }

    /// A server turned out to be of another speed with a model; with all models where it loads none.
    /// What waits there is decided again if it became notably slower.
    pub fn server_speed(&mut self, now: Time, server: usize, model: Model, speed: Speed) {
        let typical = Steps::saturating(30.0);
        let before = self.servers[server].speed_with(model).service_time(typical);
        self.servers[server].set_speed(model, speed);
        self.corrected(now, server, (before, speed.service_time(typical)));
    }

    /// A server turned out to take another time to load a model. What waits there is decided again if
    /// that became notably more.
    pub fn server_load(&mut self, now: Time, server: usize, model: Model, load: Seconds) {
        let before = self.servers[server].load_of(model);
        self.servers[server].set_load(model, load);
        self.corrected(now, server, (before, load));
    }

    /// The runs of a server turned out to stray from their predictions by so much.
    pub fn server_spread(&mut self, server: usize, spread: Spread) {
        self.seen = None;
        self.servers[server].server.spread = spread;
    }

    fn corrected(&mut self, now: Time, server: usize, (before, after): (Seconds, Seconds)) {
        self.seen = None;
        if after.seconds() > Self::NOTABLY * before.seconds() {
            self.replace_waiting(now, &[server], Cause::ServerSlower);
        } else {
            self.offer(now, server);
        }
    }

    /// A server says what it has loaded, the most recently used last. It is believed while nothing runs
    /// there: what a run loads is known from the run.
    pub fn server_loaded(&mut self, server: usize, models: &[Model]) {
        let state = &mut self.servers[server];
        if state.occupancy == Occupancy::Idle && state.server.hosting.is_some() {
            state.found_loaded(models);
        }
    }

    /// A server has so many jobs of others to do before ours. Each is taken for a typical one. It is believed
    /// while nothing of ours runs there, which would count as one of them.
    pub fn server_held(&mut self, now: Time, server: usize, jobs: usize) {
        let state = &mut self.servers[server];
        if state.occupancy == Occupancy::Idle {
            let each = state.speed().service_time(Steps::saturating(30.0));
            state.held_until = now + each * jobs as f64;
        }
    }

    /// Growth of the service time from which waiting requests are decided again.
    const NOTABLY: f64 = 1.2;
}
