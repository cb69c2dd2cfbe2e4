//! What is drawn once for a world: its servers and how the gateway is configured.

use std::fmt::Write as _;
use std::path::Path;

use scheduling::Generator;

use crate::config::Config;

/// Where the API keys come from, and whose they are.
pub(super) const KEYS: [(&str, &str); 2] = [("ann", "alice"), ("bob", "bob")];

pub(super) struct Plan {
    pub(super) toml: String,
    pub(super) servers: Vec<Machine>,
    /// Whether there are API keys.
    pub(super) keys: bool,
    pub(super) keep: f64,
    pub(super) remember: f64,
    pub(super) run_seconds: f64,
    /// Seconds between two requests, on average.
    pub(super) pause: f64,
}

/// What a server is really like.
pub(super) struct Machine {
    pub(super) rate: f64,
    pub(super) overhead: f64,
    /// Whether it names its jobs, so that they can be looked up.
    pub(super) tickets: bool,
    /// Whether it tells how a job goes on.
    pub(super) progress: bool,
}

const POLICIES: [&str; 6] =
    ["greedy", "greedy[ties=fastest]", "myopic", "priced", "fixed[steps=20]", "random[steps=12]"];

impl Plan {
    pub(super) fn draw(g: &mut Generator) -> Self {
        let mut chance = |share: f64| g.uniform() < share;
        let (keys, shadowed, learns) = (chance(0.5), chance(0.5), chance(0.7));
        let servers: Vec<_> = (0..=g.below(4))
            .map(|_| Machine {
                rate: g.between(2.0, 40.0).round(),
                overhead: (g.between(0.0, 8.0)).round() / 8.0,
                tickets: g.below(2) == 0,
                progress: g.below(2) == 0,
            })
            .collect();
        let mut of = |choices: &[f64]| choices[g.below(choices.len())];
        let keep = of(&[30.0, 600.0, 86_400.0]);
        let remember = of(&[60.0, 3_600.0, 2_592_000.0]);
        let run_seconds = of(&[5.0, 20.0, 60.0]);
        let pause = of(&[1.0, 5.0, 30.0, 120.0]);
        let expires = of(&[20.0, 300.0, 3_600.0]);
        let waiting = of(&[4.0, 32.0, 256.0]);
        let attempts = of(&[1.0, 2.0, 3.0]);
        let [interval, timeout] = [of(&[1.0, 5.0, 10.0]), of(&[1.0, 3.0])];
        let [failures, successes] = [of(&[1.0, 2.0, 3.0]), of(&[1.0, 2.0])];
        let policy = POLICIES[g.below(POLICIES.len())];
        let mut toml = format!("policy = \"{policy}\"\n");
        if shadowed {
            toml += "shadow_policy = \"greedy\"\n";
        }
        for (index, machine) in servers.iter().enumerate() {
            // What is configured may be far from the truth.
            let rate = machine.rate * [1.0, 1.0, 0.3, 3.0][g.below(4)];
            let most = [256, 1024, 1024][g.below(3)];
            let _ = write!(
                toml,
                "[[server]]\nname = \"s{index}\"\nsteps_per_second = {rate:?}\n\
                 overhead_seconds = {:?}\nlearn_speed = {learns}\nmax_pixels = {most}\n\
                 backend = {{ kind = \"demo\" }}\n",
                machine.overhead
            );
        }
        if keys {
            for (name, sha256) in [
                ("ann", "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"),
                ("bob", "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9"),
            ] {
                let _ = write!(
                    toml,
                    "[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n\
                     requests_per_minute = 100000\noperator = {}\n",
                    name == "ann"
                );
            }
        }
        let _ = write!(
            toml,
            "[defaults]\nwidth = 16\nheight = 16\n[limits]\nside = 32\nwaiting = {waiting}\n\
             attempts = {attempts}\nrun_seconds = {run_seconds:?}\nkeep_seconds = {keep:?}\n\
             remember_seconds = {remember:?}\nexpires_after_seconds = {expires:?}\n\
             [health]\ninterval_seconds = {interval:?}\ntimeout_seconds = {timeout:?}\n\
             failures = {failures}\nsuccesses = {successes}\n"
        );
        Self { toml, servers, keys, keep, remember, run_seconds, pause }
    }

    /// The configuration, with the journal in this folder.
    pub(super) fn config(&self, folder: &Path) -> Config {
        let mut config = Config::parse("world.toml", &self.toml).expect("it is well formed");
        config.journal = folder.join("journal.db");
        config
    }
}
