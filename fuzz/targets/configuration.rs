//! `atelier.toml`
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = gateway::Config::parse("atelier.toml", text) {
        assert!(error.to_string().len() < 10_000, "{error}");
    }
});
