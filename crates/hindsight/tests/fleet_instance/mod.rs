//! Fleets drawn here, so that this crate needs no simulator.

use scheduling::{
    Cluster, Generator, HostedModel, Hosting, Instance, Loaded, Model, Objective, Purpose, Request,
    Seconds, Server, Size, StepBounds, StepRate, Steps, TardinessPenalty, Time,
};

/// Servers that draw with model 0 and with one of two others, each at rates, overheads, loading times
/// and bounds of its own, with room for one or two of them; requests of two sizes, each with so many
/// numbers of steps to choose from.
pub(crate) fn instance(
    seed: u64,
    servers: usize,
    requests: usize,
    interval: f64,
    choices: u32,
) -> Instance {
    let mut draw = Generator::new(seed, Purpose::Cluster, 0);
    let servers: Vec<Server> = (0..servers).map(|index| server(&mut draw, index)).collect();
    // Model 1 is on every other server only, from the second on.
    let asked: &[u16] = if servers.len() > 1 { &[0, 0, 2, 1] } else { &[0, 2] };
    let mut now = Time::ZERO;
    let requests = (0..requests)
        .map(|_| {
            now += Seconds::of(draw.exponential(interval));
            let due = now + Seconds::of(draw.between(2.0, 20.0));
            Request {
                size: Size::new([1.0, 1.0, 2.5][draw.below(3)]).unwrap(),
                bounds: bounds(1 + draw.below(40) as u32, choices),
                model: Model(asked[draw.below(asked.len())]),
                ..Request::new(now, due, TardinessPenalty::ALL[draw.below(3)])
            }
        })
        .collect();
    let models = (0..3).map(|model| format!("m{model}")).collect();
    let cluster = Cluster::with_models(servers, models).unwrap();
    Instance::new(cluster, requests, Objective::default()).unwrap()
}

fn server(draw: &mut Generator, index: usize) -> Server {
    let mut server = Server::new(format!("s{index}"), rate(draw), Seconds::of(0.3));
    let models = [0, 2 - index as u16 % 2];
    let hosted = models.map(|model| HostedModel {
        step_rate: rate(draw),
        overhead: Seconds::of(draw.between(0.0, 0.5)),
        bounds: bounds(1 + draw.below(3) as u32, 60 + draw.below(100) as u32),
        ..HostedModel::on(&server, Model(model), Seconds::of(draw.between(0.5, 9.0)))
    });
    let loaded = Loaded::new(vec![Model(models[draw.below(2)])]);
    let resident = 1 + draw.below(2);
    server.hosting = Some(Hosting { resident, models: hosted.into(), loaded });
    server
}

fn rate(draw: &mut Generator) -> StepRate {
    StepRate::new(draw.between(3.0, 20.0)).unwrap()
}

/// So many numbers of steps from `min` on.
fn bounds(min: u32, choices: u32) -> StepBounds {
    let steps = |steps: u32| Steps::new(steps.min(200)).unwrap();
    StepBounds { min: steps(min), max: steps(min + choices - 1) }
}
