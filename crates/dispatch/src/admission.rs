//! Admission: who may join the queues, before any memory grows.

use std::collections::BTreeMap;

use scheduling::{Policy, Seconds, Time};

use super::event::{Order, Owner, Quote, Rejection};
use super::server::Occupancy;
use super::{Gate, Scheduler, ServerState};

/// Something that waits.
struct Share<'a> {
    owner: &'a Owner,
    /// When it is expected to start.
    start: Time,
    /// How long it will take.
    service: Seconds,
}

impl<P: Policy> Scheduler<P> {
    /// Whether the request may be accepted, as far as that can be said before it is decided.
    ///
    /// The number of requests that wait is bounded. Where there are several owners, it counts as
    /// contended from half full on: no owner may then hold more than an equal share of all places,
    /// waiting or running, among those who hold anything and one more who may come.
    pub(super) fn admit(&self, now: Time, order: &Order) -> Result<(), Rejection> {
        if self.gate == Gate::Closing {
            return Err(Rejection::Closing);
        }
        let most = self.servers.iter().map(|s| s.max_pixels).max().unwrap_or(0);
        if order.pixels > most {
            return Err(Rejection::TooLarge { pixels: order.pixels, most });
        }
        if !self.servers.iter().any(|s| s.available() && s.takes(order)) {
            return Err(Rejection::NoServer);
        }
        let waiting = self.waiting();
        if waiting >= self.limits.waiting {
            return Err(Rejection::QueueFull { waiting, retry_after: self.next_place(now) });
        }
        if self.limits.horizon.is_some() && 2 * waiting >= self.limits.waiting {
            let held = self.held.get(&order.owner).copied().unwrap_or(0);
            let owners = self.held.len() + usize::from(held == 0);
            let places = self.limits.waiting + self.servers.len();
            let share = (places / (owners + 1)).max(1);
            if held >= share {
                let retry_after = self.next_place(now);
                return Err(Rejection::PlacesUsedUp { held, share, retry_after });
            }
        }
        Ok(())
    }

    /// Whether what the request adds to the queues leaves others their share of the servers' time.
    ///
    /// The horizon of all servers in service together is what may wait. An owner may add to what it
    /// has waiting as long as the sum stays within an equal share among those who have something
    /// waiting, and within what the others leave. One request may always wait, and what starts at
    /// once does not count. So a newcomer waits for the runs under way and for about a horizon.
    pub(super) fn admit_work(
        &self,
        now: Time,
        order: &Order,
        quote: Option<&Quote>,
    ) -> Result<(), Rejection> {
        let Some(horizon) = self.limits.horizon else { return Ok(()) };
        if quote.is_some_and(|quote| self.servers[quote.decision.server].is_vacant()) {
            return Ok(());
        }
        let service = quote.map_or_else(
            || self.typical_service(order),
            |quote| quote.execution.finish - quote.execution.start,
        );
        let in_service = |s: &&ServerState| s.available() && s.rest.left(now).is_none();
        let room = horizon * self.servers.iter().filter(in_service).count() as f64;
        let mut waiting = self.shares(now);
        waiting.sort_by(|a, b| a.start.seconds().total_cmp(&b.start.seconds()));
        let mut held = Held::of(&waiting, &order.owner);
        let allowed = held.allowed(room);
        if held.admits(service, room) {
            return Ok(());
        }
        let used = held.own;
        let admitted = waiting.iter().find(|share| {
            held.starts(share, &order.owner);
            held.admits(service, room)
        });
        let retry_after = admitted.map_or(horizon, |share| (share.start - now).positive_part());
        Err(Rejection::ShareUsedUp { held: used, service, allowed, retry_after })
    }

    /// All that waits, but for what only waits for the journal to start at once.
    fn shares(&self, now: Time) -> Vec<Share<'_>> {
        let mut shares = Vec::new();
        let mut last = now;
        for server in &self.servers {
            let mut start = server.vacant_at(now);
            let starting = usize::from(server.occupancy == Occupancy::Idle);
            for (position, waiting) in server.waiting().iter().enumerate() {
                if position >= starting {
                    let owner = &self.live[&waiting.id].order.owner;
                    shares.push(Share { owner, start, service: waiting.service });
                }
                start += waiting.service;
            }
            last = last.max(start);
        }
        shares.extend(self.unplaced.values().map(|id| {
            let order = &self.live[id].order;
            Share { owner: &order.owner, start: last, service: self.typical_service(order) }
        }));
        shares
    }

    /// What the request would take on a mean server that can take it.
    fn typical_service(&self, order: &Order) -> Seconds {
        let full = self.objective.full_service().steps;
        let able = self.servers.iter().filter(|s| s.takes(order));
        let offers = able.filter_map(|s| s.offer(&order.request));
        let services: Vec<_> =
            offers.map(|offer| offer.service_time(offer.bounds.clamp(full)).seconds()).collect();
        Seconds::of(services.iter().sum::<f64>() / services.len().max(1) as f64)
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

/// Work that waits: one owner's and that of all others.
struct Held<'a> {
    own: Seconds,
    own_requests: usize,
    others: Seconds,
    /// Requests of each of the others.
    requests: BTreeMap<&'a str, usize>,
}

impl<'a> Held<'a> {
    fn of(waiting: &[Share<'a>], owner: &Owner) -> Self {
        let mut held = Self {
            own: Seconds::ZERO,
            own_requests: 0,
            others: Seconds::ZERO,
            requests: BTreeMap::new(),
        };
        for share in waiting {
            if share.owner == owner {
                held.own = held.own + share.service;
                held.own_requests += 1;
            } else {
                held.others = held.others + share.service;
                *held.requests.entry(&**share.owner).or_default() += 1;
            }
        }
        held
    }

    /// What the owner may have waiting.
    fn allowed(&self, room: Seconds) -> Seconds {
        let equal = room.seconds() / (self.requests.len() + 1) as f64;
        let left = room - self.others;
        Seconds::of(equal.min(left.seconds()).max(0.0))
    }

    /// Whether the owner may add so much.
    fn admits(&self, service: Seconds, room: Seconds) -> bool {
        self.own_requests == 0 || self.own + service <= self.allowed(room)
    }

    /// Something does not wait any more.
    fn starts(&mut self, share: &Share<'a>, owner: &Owner) {
        if share.owner == owner {
            self.own = self.own - share.service;
            self.own_requests -= 1;
            return;
        }
        self.others = self.others - share.service;
        if let Some(requests) = self.requests.get_mut(&**share.owner) {
            *requests -= 1;
            if *requests == 0 {
                self.requests.remove(&**share.owner);
            }
        }
    }
}
