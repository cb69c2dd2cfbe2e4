//! What the network of prices sees of models, where servers load them.

use scheduling::{Model, Observation, Offer, Residency, Seconds};

use super::features::{logarithm, share, signed_share};

/// Inputs that differ from server to server.
pub(crate) const MODEL_INPUTS: usize = 18;
/// Inputs that all servers share.
pub(crate) const SHARED_MODEL_INPUTS: usize = 10;

/// When a request would have to begin for its wait to be looked at, in mean times of a full service
/// from now.
const MOMENTS: [f64; 3] = [0.0, 0.5, 2.0];

/// Which models will be loaded where, and how soon one could draw with each.
#[derive(Clone, Debug, Default)]
pub(super) struct Models {
    hosts: Vec<Hosts>,
}

/// Of one model: share of the traffic, and the servers that will have it loaded.
#[derive(Clone, Copy, Debug)]
struct Hosts {
    share: f64,
    count: u32,
    /// How fast they are together, in mean servers.
    capacity: f64,
    /// The one that is free first, and when.
    first: (usize, f64),
    /// When the next one is free.
    second: f64,
}

impl Hosts {
    const NONE: Self = Self {
        share: 0.0,
        count: 0,
        capacity: 0.0,
        first: (usize::MAX, f64::INFINITY),
        second: f64::INFINITY,
    };

    fn add(&mut self, server: usize, backlog: f64, speed: f64) {
        self.count += 1;
        self.capacity += speed;
        if backlog < self.first.1 {
            self.second = self.first.1;
            self.first = (server, backlog);
        } else {
            self.second = self.second.min(backlog);
        }
    }

    /// When the first other than this server is free.
    fn other_than(&self, server: usize) -> f64 {
        if self.first.0 == server { self.second } else { self.first.1 }
    }

    /// How busy the traffic that wants it keeps those that have it loaded, if they were so fast.
    fn pressure(&self, demand: f64, capacity: f64) -> f64 {
        if self.share > 0.0 { demand * self.share / capacity.max(1e-6) } else { 0.0 }
    }
}

impl Models {
    /// The inputs of the fleet; those of the servers are written as columns. `full` is T, `demand` how
    /// many servers the traffic keeps busy with drawing.
    pub(super) fn observe(
        &mut self,
        observation: &Observation<'_>,
        full: f64,
        demand: f64,
        speed: &[f64],
        columns: &mut [f32],
    ) -> [f32; SHARED_MODEL_INPUTS] {
        let Observation { offers, residencies, request, traffic, .. } = *observation;
        self.look(observation, speed, full);
        let count = offers.len() as f64;
        let loads = || offers.iter().map(|offer| offer.load.seconds()).filter(|&load| load > 0.0);
        let loading = loads().count();
        let load = if loading > 0 { loads().sum::<f64>() / loading as f64 } else { full };
        let start = |offer: &Offer| (offer.backlog + offer.load).seconds();
        let slack = traffic.mean_slack().map_or(full, Seconds::seconds).max(1e-3 * full);
        let best_start = offers.iter().map(start).fold(f64::INFINITY, f64::min);
        let mut free = Hosts::NONE;
        for (server, offer) in offers.iter().enumerate() {
            free.add(server, offer.backlog.seconds(), 0.0);
        }
        let moments = MOMENTS.map(|moment| moment * full);
        let waits = moments.map(|moment| {
            let wait =
                |hosts: &Hosts| hosts.share * wait(hosts.first.1, free.first.1, load, moment);
            self.hosts.iter().map(wait).sum::<f64>()
        });
        let asked = self.hosts[request.model.index()];
        for (server, (offer, residency)) in offers.iter().zip(residencies).enumerate() {
            let Residency { resident, loaded } = residency;
            let hit = offer.load <= Seconds::ZERO;
            let leaves = loaded.driven_out_by(request.model, *resident);
            let own = speed[server] * full;
            let of = |model: &Model| &self.hosts[model.index()];
            let before: f64 =
                loaded.iter().map(|model| of(model).pressure(demand, of(model).capacity)).sum();
            let copies = asked.capacity + if hit { 0.0 } else { own };
            let without =
                leaves.map_or(0.0, |model| of(&model).pressure(demand, of(&model).capacity));
            let with = if hit { 0.0 } else { asked.pressure(demand, copies) };
            let after = before - without + with;
            let victim = leaves.map(|model| *of(&model));
            let finish = start(offer) + full;
            let free = free.other_than(server).min(finish);
            let mut waits_after = [0.0; MOMENTS.len()];
            for (model, hosts) in (0..).map(Model).zip(&self.hosts) {
                if hosts.share <= 0.0 {
                    continue;
                }
                let stays = || loaded.contains(model) && leaves != Some(model);
                let has = model == request.model || stays();
                let other = hosts.other_than(server);
                let first = if has { other.min(finish) } else { other };
                for (sum, moment) in waits_after.iter_mut().zip(moments) {
                    *sum += hosts.share * wait(first, free, load, moment);
                }
            }
            let waits = [0, 1, 2].map(|at| signed_share(waits_after[at] - waits[at], 0.2 * full));
            let inputs = [
                f32::from(u8::from(hit)),
                share(offer.load.seconds(), full),
                share(asked.pressure(demand, copies), 1.0),
                victim.map_or(0.0, |victim| {
                    share(victim.pressure(demand, victim.capacity - own), 1.0)
                }),
                victim.map_or(0.0, |victim| share(victim.share * count, 1.0)),
                victim.map_or(1.0, |victim| share(f64::from(victim.count - 1), 1.0)),
                f32::from(u8::from(victim.is_none() && !hit)),
                share(before, 1.0),
                share(after, 1.0),
                signed_share(asked.other_than(server) - start(offer), 0.3 * full),
                victim.map_or(0.0, |victim| soon(victim.other_than(server), full)),
                share(start(offer) - best_start, 0.5 * full),
                waits[0],
                waits[1],
                waits[2],
                f32::from(u8::from(hit && *resident > 1 && loaded.first() == Some(&request.model))),
                logarithm(1.0 + start(offer) / full, 0.0, 8.0) / 2.0,
                logarithm(1.0 + start(offer) / slack, 0.0, 8.0) / 2.0,
            ];
            for (column, input) in inputs.into_iter().enumerate() {
                columns[column * offers.len() + server] = input;
            }
        }
        let known = || self.hosts.iter().filter(|hosts| hosts.share > 0.0);
        let missing =
            known().filter(|hosts| hosts.count == 0).map(|hosts| hosts.share).sum::<f64>();
        let likeness = known().map(|hosts| hosts.share * hosts.share).sum::<f64>();
        // In floating point, since servers that load nothing have room for all that there could be.
        let places: f64 = residencies.iter().map(|residency| residency.resident as f64).sum();
        [
            share(load, full),
            share(f64::from(asked.count), 1.0),
            missing as f32,
            logarithm(places * likeness, -3.0, 5.0) / 3.0,
            asked.share as f32,
            share(asked.pressure(demand, asked.capacity), 1.0),
            soon(asked.first.1, full),
            soon(asked.second, full),
            share(waits[0], full),
            share(waits[2], full),
        ]
    }

    /// Takes note of what will be loaded where.
    fn look(&mut self, observation: &Observation<'_>, speed: &[f64], full: f64) {
        let Observation { offers, residencies, request, traffic, .. } = *observation;
        self.hosts.clear();
        self.hosts.extend(traffic.models().iter().map(|&share| Hosts { share, ..Hosts::NONE }));
        let asked = request.model.index() + 1;
        self.hosts.resize(self.hosts.len().max(asked), Hosts::NONE);
        for (server, (offer, residency)) in offers.iter().zip(residencies).enumerate() {
            for model in residency.loaded.iter() {
                let models = self.hosts.len().max(model.index() + 1);
                self.hosts.resize(models, Hosts::NONE);
                self.hosts[model.index()].add(
                    server,
                    offer.backlog.seconds(),
                    speed[server] * full,
                );
            }
        }
    }
}

/// How long a request that comes at a moment waits until it can be drawn: for the first server that has
/// its model loaded, or for the first of all to load it.
fn wait(first_host: f64, first_free: f64, load: f64, moment: f64) -> f64 {
    let after = |time: f64| (time - moment).max(0.0);
    after(first_host).min(after(first_free) + load)
}

/// A share that is 1 where there is no such time.
fn soon(time: f64, scale: f64) -> f32 {
    if time.is_infinite() { 1.0 } else { share(time, scale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{
        Cluster, HostedModel, Hosting, Loaded, Objective, Queues, Request, Server, StepRate,
        TardinessPenalty, Time,
    };

    /// A server of ten steps per second that loads nothing.
    fn server(name: impl Into<String>) -> Server {
        Server::new(name, StepRate::new(10.0).unwrap(), Seconds::ZERO)
    }

    /// Such servers with room for so many models, of which three take 8 s to load.
    fn fleet(resident: usize, loaded: &[&[u16]]) -> Vec<Server> {
        let host = |(index, loaded): (usize, &&[u16])| {
            let server = server(format!("s{index}"));
            let hosted = |model| HostedModel::on(&server, Model(model), Seconds::of(8.0));
            let models = (0..3).map(hosted).collect();
            let loaded = Loaded::new(loaded.iter().copied().map(Model).collect());
            Server { hosting: Some(Hosting { resident, models, loaded }), ..server }
        };
        loaded.iter().enumerate().map(host).collect()
    }

    fn queues(servers: Vec<Server>) -> Queues {
        let names = ["a", "b", "c"].map(str::to_owned).into();
        let mut queues = Queues::new(&Cluster::with_models(servers, names).unwrap());
        // Half of the requests ask for the first model, the others for the other two.
        for model in [0, 1, 0, 2] {
            queues.arrive(&request(model));
        }
        queues
    }

    fn request(model: u16) -> Request {
        let due = Time::new(9.0).unwrap();
        let request = Request::new(Time::ZERO, due, TardinessPenalty::Linear);
        Request { model: Model(model), ..request }
    }

    /// The inputs of each server, and those of the fleet, where a full service takes 10 s.
    fn inputs(queues: &mut Queues, model: u16) -> (Vec<Vec<f32>>, [f32; SHARED_MODEL_INPUTS]) {
        let (request, objective) = (request(model), Objective::default());
        let observation = queues.observe(Time::ZERO, &request, &objective);
        let servers = observation.offers.len();
        let mut columns = vec![f32::NAN; MODEL_INPUTS * servers];
        let speed = vec![0.1; servers];
        let fleet = Models::default().observe(&observation, 10.0, 1.0, &speed, &mut columns);
        let of = |server: usize| columns.iter().skip(server).step_by(servers).copied().collect();
        ((0..servers).map(of).collect(), fleet)
    }

    #[test]
    fn a_server_that_has_the_model_is_told_from_one_that_has_room_and_one_that_gives_one_up() {
        let (servers, fleet) = inputs(&mut queues(fleet(1, &[&[1], &[], &[0], &[0]])), 1);
        let column = |column: usize| servers.iter().map(|row| row[column]).collect::<Vec<_>>();
        assert_eq!(column(0), [1.0, 0.0, 0.0, 0.0], "has it");
        assert_eq!(column(6), [0.0, 1.0, 0.0, 0.0], "has room");
        assert_eq!(column(1), [0.0, 8.0 / 18.0, 8.0 / 18.0, 8.0 / 18.0], "load");
        // The first model, that of half of the traffic, stays on one other server.
        assert_eq!(column(4), [0.0, 0.0, 2.0 / 3.0, 2.0 / 3.0], "share of what goes");
        assert_eq!(column(5), [1.0, 1.0, 0.5, 0.5], "where else it is");
        // One of four asks for the second model, one of four for the third, which is nowhere.
        assert_eq!((fleet[1], fleet[2], fleet[4]), (0.5, 0.25, 0.25));
    }

    #[test]
    fn what_a_run_does_to_the_waits_of_others_is_told() {
        let mut queues = queues(fleet(1, &[&[1], &[0]]));
        let (servers, fleet) = inputs(&mut queues, 1);
        // Only the third model is to be waited for: a quarter of the traffic, 8 s.
        assert_eq!(fleet[8], 2.0 / 12.0);
        // After a run where the second model is, it waits there: 8 s for another to load it, in place of 10.
        let signed = |seconds: f32| seconds / (seconds.abs() + 2.0);
        assert!((servers[0][12] - signed(0.25 * 8.0)).abs() < 1e-6, "{servers:?}");
        // Elsewhere the first model is gone, and whoever wants it waits until it is loaded.
        assert!((servers[1][12] - signed(0.5 * 8.0)).abs() < 1e-6, "{servers:?}");
        // Long after, all but what is loaded is as before.
        assert!(servers[0][14].abs() < 1e-6 && servers[1][14] > 0.5, "{servers:?}");
    }

    #[test]
    fn servers_that_load_nothing_have_every_model() {
        let servers = [vec![server("p"), server("q")], fleet(1, &[&[0]])].concat();
        let mut queues = queues(servers);
        let (servers, fleet) = inputs(&mut queues, 1);
        assert_eq!(servers.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 1.0, 0.0]);
        let all = servers.iter().flatten().chain(&fleet);
        assert!(all.into_iter().all(|input| (-4.0..=4.0).contains(input)), "{servers:?} {fleet:?}");
    }

    #[test]
    fn everything_is_a_number_whatever_is_loaded() {
        for loaded in [&[&[][..], &[]][..], &[&[0, 1], &[2]], &[&[2, 1, 0]], &[&[2], &[2], &[2]]] {
            for resident in 1..4 {
                let loaded: Vec<_> =
                    loaded.iter().map(|models| &models[..models.len().min(resident)]).collect();
                for model in 0..3 {
                    let (servers, fleet) = inputs(&mut queues(fleet(resident, &loaded)), model);
                    let all = servers.iter().flatten().chain(&fleet);
                    for &input in all {
                        assert!((-4.0..=4.0).contains(&input), "{loaded:?} {model}: {input}");
                    }
                }
            }
        }
    }
}
