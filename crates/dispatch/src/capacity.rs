//! Servers that come, go and change their speed.

use scheduling::{Policy, Steps, Time};

use super::Scheduler;
use super::event::Cause;
use super::server::{Administration, Health, Speed};

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
            Administration::Draining => self.replace_waiting(now, &[server], Cause::Drained),
            Administration::Enabled if before != state => {
                self.forgive(server);
                self.capacity_grew(now);
            }
            Administration::Enabled => {}
        }
    }

    /// A server turned out to be of another speed. What waits there is decided again if it became
    /// notably slower.
    pub fn server_speed(&mut self, now: Time, server: usize, speed: Speed) {
        let before = self.servers[server].speed();
        self.servers[server].set_speed(speed);
        self.seen = None;
        let typical = Steps::saturating(30.0);
        let slower = speed.service_time(typical).seconds()
            > Self::NOTABLY * before.service_time(typical).seconds();
        if slower {
            self.replace_waiting(now, &[server], Cause::ServerSlower);
        } else {
            self.offer(now, server);
        }
    }

    /// Growth of the service time from which waiting requests are decided again.
    const NOTABLY: f64 = 1.2;
}
