//! A policy from outside, with the whole command line. In a crate of your own, `atelier` is the only dependency:
//!
//!     cargo run --release --example own_policy -- evaluate --scenario scenarios/contended.toml \
//!         --policy greedy --policy thrifty --policy 'thrifty[price=2]'

use std::process::ExitCode;

use atelier::{Decision, Generator, Observation, OwnPolicy, Policy, Steps};

/// The most that a request can earn, less a price for the time that it takes from the others.
struct Thrifty {
    /// Of a second of a server.
    price: f64,
}

impl Policy for Thrifty {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let mut best = None;
        for (server, offer) in observation.offers.iter().enumerate() {
            for steps in (offer.bounds.min.get()..=offer.bounds.max.get()).step_by(10) {
                let decision = Decision { server, steps: Steps::saturating(steps.into()) };
                let taken = offer.service_time(decision.steps).seconds();
                let worth = observation.reward(decision) - self.price * taken;
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, decision));
                }
            }
        }
        best.expect("there is at least one offer, with at least one number of steps").1
    }
}

/// From what stands between the brackets.
fn thrifty(options: Option<&str>, _: Generator) -> Result<Box<dyn Policy>, String> {
    let price = match options {
        None => Some(1.5),
        Some(options) => options.strip_prefix("price=").and_then(|price| price.parse().ok()),
    };
    match price.filter(|price| (0.0..=1e6).contains(price)) {
        Some(price) => Ok(Box::new(Thrifty { price })),
        None => Err("allowed is price=P with P 0 to 1e6".into()),
    }
}

fn main() -> ExitCode {
    let policy = OwnPolicy { name: "thrifty", options: "[price=P]", make: thrifty };
    atelier::main_with(vec![policy])
}
