//! What the tests of virtual time share: the rules, how they are run, and luck and failures.

use scheduling::{
    Down, Fate, Generator, Instance, Luck, Purpose, Row, Rule, Seconds, ServerFate, Sigma, Time,
};

pub(crate) const RULES: [&str; 6] =
    ["random", "greedy", "greedy[ties=fastest]", "fixed[steps=60]", "myopic", "priced"];

/// Luck for two requests of three, deviations up to `sigma`, and outages of each server.
pub(crate) fn under(instance: Instance, seed: u64, sigma: f64, outages: usize) -> Instance {
    let mut draw = Generator::new(seed, Purpose::Search, 1);
    let servers = (0..instance.cluster().len()).map(|_| {
        let mut now = Time::ZERO;
        let down = (0..outages).map(|_| {
            let from = now + Seconds::of(draw.exponential(20.0));
            now = from + Seconds::of(draw.exponential(10.0).max(1e-3));
            Down { from, to: now }
        });
        let down = down.collect();
        ServerFate { sigma: Sigma::new(draw.between(0.0, sigma)).unwrap(), down }
    });
    let servers = servers.collect();
    let luck = (0..instance.requests().len())
        .map(|_| (draw.below(3) > 0).then(|| Luck::new(draw.normal()).unwrap()));
    let luck = luck.collect();
    instance.under(Some(Fate { servers, luck })).unwrap()
}

pub(crate) fn rows(
    run: fn(&Instance, &mut dyn scheduling::Policy) -> Vec<Row>,
    instance: &Instance,
    rule: &str,
) -> Vec<Row> {
    let rule: Rule = rule.parse().unwrap();
    run(instance, &mut *rule.policy(Generator::new(1, Purpose::Policy, 0)))
}
