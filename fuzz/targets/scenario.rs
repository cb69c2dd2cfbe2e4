//! Scenario files and domains.
#![no_main]

use simulation::{Domain, Episode, InstanceSource, Scenario};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Scenario::from_toml(text) {
        Ok(scenario) => {
            assert_eq!(Scenario::from_toml(&scenario.to_toml()), Ok(scenario.clone()));
            if scenario.settings().requests <= 1000 {
                scenario.instance(1, Episode::Evaluation(0));
            }
        }
        Err(error) => assert!(error.to_string().len() < 10_000, "{error}"),
    }
    match Domain::from_toml(text) {
        Ok(domain)
            if domain.requests.base + domain.requests.per_server * domain.servers[1] <= 1000 =>
        {
            domain.instance(1, Episode::Training(0));
        }
        Ok(_) => {}
        Err(error) => assert!(error.to_string().len() < 10_000, "{error}"),
    }
});
