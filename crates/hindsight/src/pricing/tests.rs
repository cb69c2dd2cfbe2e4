use scheduling::{
    Cluster, Generator, Instance, Objective, Purpose, QualityCurve, Request, Seconds, Server,
    StepRate, Time,
};

use super::*;

/// A random instance with overheads, arrivals together and due times in the past of most starts.
fn instance(draw: &mut Generator, servers: usize, requests: usize) -> Instance {
    let servers = (0..servers)
        .map(|index| {
            Server::new(
                format!("s{index}"),
                StepRate::new(draw.between(4.0, 20.0)).unwrap(),
                Seconds::of(if index == 0 { 0.0 } else { draw.between(0.0, 2.0) }),
            )
        })
        .collect();
    let mut now = draw.between(0.0, 1000.0);
    let requests = (0..requests)
        .map(|_| {
            now += [0.0, draw.exponential(2.0)][draw.below(2)];
            let arrival = Time::new(now).unwrap();
            let due = arrival + Seconds::of(draw.between(0.0, 20.0));
            Request::new(arrival, due, TardinessPenalty::ALL[draw.below(3)])
        })
        .collect();
    let weight = [0.0, 0.05, 1.5, 30.0][draw.below(4)];
    let objective = Objective::new(QualityCurve::PAPER, weight).unwrap();
    Instance::new(Cluster::new(servers).unwrap(), requests, objective).unwrap()
}

/// Prices that jump up and down, with stretches that are free of charge.
fn prices(draw: &mut Generator, problem: &Problem<'_>) -> Prices {
    let width = draw.between(0.1, 3.0);
    let origin = problem.arrival[0];
    let end = origin + draw.between(5.0, 80.0);
    let mut prices = Prices::free(problem.servers(), origin, end, width);
    let rates: Vec<Vec<f64>> = (0..problem.servers())
        .map(|_| {
            let rate = |_| [0.0, draw.between(0.0, 8.0)][draw.below(2)];
            (0..prices.bins).map(rate).collect()
        })
        .collect();
    prices.set_rates(&rates);
    prices
}

/// Nothing that is tried at random beats the inner maximum, and what attains it is real.
#[test]
fn random_probes_find_no_violation() {
    let mut tightest = f64::INFINITY;
    for seed in 0..60 {
        let mut draw = Generator::new(seed, Purpose::Search, 0);
        let instance = instance(&mut draw, 3, 40);
        let problem = Problem::new(&instance);
        let prices = prices(&mut draw, &problem);
        let hints = vec![f64::NEG_INFINITY; problem.requests()];
        let ceilings = Ceilings::new(&problem);
        let best = maxima(&problem, &ceilings, &prices, Timeline::Continuous, &hints);
        for (i, best) in best.iter().enumerate() {
            let column = best.columns.last().unwrap();
            let price = prices.between(column.server, column.start, column.until);
            assert!(column.start >= problem.arrival[i]);
            assert!((column.reward - price - best.value).abs() < 1e-9, "seed {seed}, {i}");
            for probe in 0..400 {
                let (j, s) = (draw.below(3), draw.below(Steps::COUNT));
                let (arrival, p) = (problem.arrival[i], problem.service(j, i).unwrap().time[s]);
                // Anywhere, close to where the maximum is, and at the breakpoints.
                let edge = prices.edge(draw.below(prices.bins + 1));
                let (j, s, start) = match probe % 5 {
                    0 => (j, s, arrival + draw.exponential(20.0)),
                    1 => (j, s, edge),
                    2 => (j, s, edge - p),
                    3 => (j, s, problem.due[i] - p),
                    _ => (column.server, column.steps, column.start + draw.normal() * 0.1),
                };
                let start = start.max(arrival);
                let finish = start + problem.service(j, i).unwrap().time[s];
                let value = problem.reward(i, s, finish) - prices.between(j, start, finish);
                assert!(value <= best.value + 1e-9, "seed {seed}, request {i}: {value}");
                tightest = tightest.min(best.value - value);
            }
        }
    }
    assert!(tightest < 1e-6, "no probe came close: {tightest}");
}

#[test]
fn ceilings_from_a_bin_hold_for_every_later_start() {
    for seed in 0..20 {
        let mut draw = Generator::new(seed, Purpose::Search, 1);
        let instance = instance(&mut draw, 2, 10);
        let problem = Problem::new(&instance);
        let prices = prices(&mut draw, &problem);
        for server in 0..2 {
            let from = ceilings_from(&problem, &prices, server);
            for _ in 0..2000 {
                let (i, s) = (draw.below(10), draw.below(Steps::COUNT));
                let start = problem.arrival[i] + draw.exponential(15.0);
                let finish = start + problem.service(server, i).unwrap().time[s];
                let value = problem.reward(i, s, finish) - prices.between(server, start, finish);
                let bin = draw.below(prices.bin(start) + 1);
                assert!(value <= from[i][bin] + 1e-9, "seed {seed}, request {i}: {value}");
            }
        }
    }
}
