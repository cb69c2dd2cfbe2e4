//! A policy from outside, with the whole command line. In a crate of your own, `atelier` is the only dependency:
//!
//!     cargo run --release --example own_policy -- evaluate --scenario scenarios/contended.toml \
//!         --policy greedy --policy steady --policy 'steady[most=60]'

use std::process::ExitCode;

use atelier::{Decision, Generator, Observation, Offer, OwnPolicy, Policy, Steps};

/// Where 60 steps would be finished first, with what is still on time there: 20 steps at least.
struct Steady {
    most: Steps,
}

impl Policy for Steady {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let sixty = Steps::saturating(60.0);
        let finish = |offer: &Offer| offer.time_to_finish(sixty).seconds();
        let offers = observation.offers.iter().enumerate();
        let first = offers.min_by(|(_, a), (_, b)| finish(a).total_cmp(&finish(b)));
        let (server, offer) = first.expect("there is at least one offer");
        let on_time = offer.most_steps_within(observation.time_to_due() - offer.backlog);
        let steps = on_time.unwrap_or(Steps::MIN).max(Steps::saturating(20.0)).min(self.most);
        Decision { server, steps: offer.bounds.clamp(steps) }
    }
}

/// From what stands between the brackets.
fn steady(options: Option<&str>, _: Generator) -> Result<Box<dyn Policy>, String> {
    let most = match options {
        None => Some(100_u32),
        Some(options) => options.strip_prefix("most=").and_then(|most| most.parse().ok()),
    };
    match most.filter(|most| (20..=200).contains(most)) {
        Some(most) => Ok(Box::new(Steady { most: Steps::saturating(most.into()) })),
        None => Err("allowed is most=N with N 20 to 200".into()),
    }
}

fn main() -> ExitCode {
    let policy = OwnPolicy { name: "steady", options: "[most=N]", make: steady };
    atelier::main_with(vec![policy])
}
