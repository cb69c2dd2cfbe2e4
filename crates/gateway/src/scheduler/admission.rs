//! Admission: who may join the queue, before any memory grows.

use scheduling::{Seconds, Time};

use super::event::{Order, Rejection};
use super::server::Occupancy;
use super::{Gate, Scheduler};

impl Scheduler {
    /// Whether the request may be accepted.
    ///
    /// The queue is bounded. From half full on it counts as contended, and no owner may hold more
    /// than an equal share of all places, waiting or running, among those who hold anything.
    pub(super) fn admit(&self, now: Time, order: &Order) -> Result<(), Rejection> {
        if self.gate == Gate::Closing {
            return Err(Rejection::Closing);
        }
        let most = self.servers.iter().map(|s| s.spec.max_pixels).max().unwrap_or(0);
        if order.pixels > most {
            return Err(Rejection::TooLarge { pixels: order.pixels, most });
        }
        let able = |s: &&super::ServerState| s.available() && order.pixels <= s.spec.max_pixels;
        if !self.servers.iter().any(|s| able(&s)) {
            return Err(Rejection::NoServer);
        }
        let waiting = self.waiting();
        if waiting >= self.limits.waiting {
            return Err(Rejection::QueueFull { waiting, retry_after: self.next_place(now) });
        }
        if 2 * waiting >= self.limits.waiting {
            let held = self.held.get(&order.owner).copied().unwrap_or(0);
            let owners = self.held.len() + usize::from(held == 0);
            let places = self.limits.waiting + self.servers.len();
            let share = (places / owners).max(1);
            if held >= share {
                let retry_after = self.next_place(now);
                return Err(Rejection::ShareUsedUp { held, share, retry_after });
            }
        }
        Ok(())
    }

    /// Until some server finishes its run and takes the next request off its queue.
    fn next_place(&self, now: Time) -> Seconds {
        (self.servers.iter())
            .filter(|s| s.available() && s.occupancy != Occupancy::Idle)
            .map(|s| (s.vacant_at(now) - now).positive_part())
            .min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
            .unwrap_or(Seconds::of(1.0))
    }
}
