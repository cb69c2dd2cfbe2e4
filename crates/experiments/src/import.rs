//! Traffic that others have recorded, as an instance.
//!
//! A trace says when requests came, and perhaps what they asked for. What it does not say is taken from a
//! scenario: servers, quality, due times and penalties. Its times are pressed together until the mean
//! interval is the scenario's, so that bursts stay what they are against the mean.

mod columns;

use std::collections::BTreeMap;

use scheduling::{
    Generator, Instance, InstanceError, Model, Purpose, Request, Seconds, Size, StepBounds,
    TardinessPenalty, Time,
};
use simulation::{Arrivals, Episode, EpisodeSource, Recorded, Scenario, ScenarioError};
use thiserror::Error;

pub use columns::{Faults, Form, read_trace};

/// Requests that came, in order, and how many rows say nothing that can be used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// In order of arrival.
    pub asked: Vec<Asked>,
    /// Rows that were left out, by the reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// What a trace says of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Seconds since some moment.
    pub at: f64,
    /// o_t, in seconds: it is not pressed together with the arrivals.
    pub slack: Option<f64>,
    /// g
    pub penalty: Option<TardinessPenalty>,
    /// What it is drawn with.
    pub model: Option<String>,
    /// Relative to the reference size: its pictures, where that is all that is said.
    pub size: f64,
    /// Steps that it accepts.
    pub bounds: StepBounds,
}

/// A trace that cannot be used.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The table itself is broken.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error("line 1: there is no column {missing:?}: allowed is a first line with {needed}")]
    Missing {
        /// The first that is.
        missing: &'static str,
        /// All that are needed.
        needed: String,
    },
    /// A cell cannot be what it says.
    #[error("line {line}, column {column} ({name}): {found:?}: allowed is {allowed}")]
    Cell {
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: usize,
        /// Of the column.
        name: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Fewer requests than are wanted.
    #[error(
        "it has {found} requests that can be used: allowed is a part from {first} on with {least} or more"
    )]
    Few {
        /// In all.
        found: usize,
        /// Where the part begins.
        first: usize,
        /// How many it needs.
        least: usize,
    },
    /// All of them come at once.
    #[error("all requests of the part come at once: allowed are at least two moments")]
    AtOnce,
    /// The arrivals cannot be those of a scenario.
    #[error(transparent)]
    Scenario(ScenarioError),
    /// The scenario and the trace do not fit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

/// An instance made of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// As `simulate`, `evaluate`, `train` and `tune` read it.
    pub instance: Instance,
    /// How many times as fast as in the trace requests come.
    pub compression: f64,
    /// Requests of the part that ask for a model that the scenario's servers do not have.
    pub other_models: usize,
}

/// The requests from `first` on, as many as the scenario has, on the scenario's servers.
///
/// The models of the trace become those of the scenario in the order of how often they are asked for;
/// requests for others are left out. Without `[models]` all requests ask for the same, and without
/// `[size]` all are of the reference size.
///
/// # Errors
/// [`ImportError`] if there are too few requests, or the scenario's servers cannot take them.
pub fn instance_of(
    trace: &Trace,
    scenario: &Scenario,
    first: usize,
    seed: u64,
) -> Result<Imported, ImportError> {
    let settings = scenario.settings();
    let episode = Episode::Evaluation(0);
    let names = settings.models.as_ref().map(|models| ranked(trace, models.number));
    let known = |asked: &&Asked| match (&names, &asked.model) {
        (Some(names), Some(name)) => names.contains_key(name.as_str()),
        _ => true,
    };
    let part = || trace.asked.iter().skip(first);
    let mut taken = part().filter(known).take(settings.requests).peekable();
    let few = || ImportError::Few { found: trace.asked.len(), first, least: 2 };
    let begin = taken.peek().ok_or_else(few)?.at;
    let taken: Vec<_> = taken.collect();
    if taken.len() < 2 {
        return Err(few());
    }
    let (count, last) = (taken.len(), taken[taken.len() - 1]);
    let span = last.at - begin;
    if span <= 0.0 {
        return Err(ImportError::AtOnce);
    }
    let wanted = settings.arrivals.mean_interval().seconds() * (taken.len() - 1) as f64;
    let compression = span / wanted.max(f64::MIN_POSITIVE);
    let stream = |purpose| Generator::new(seed, purpose, episode.stream());
    let (mut slack, mut penalty) = (stream(Purpose::Slack), stream(Purpose::Penalty));
    let weights = settings.penalties.weights();
    let requests = taken.iter().map(|asked| {
        let arrival = Time::ZERO + Seconds::of((asked.at - begin) / compression);
        let drawn = settings.due.slack.draw(&mut slack);
        let due = arrival + asked.slack.map_or(drawn, Seconds::of);
        let drawn = TardinessPenalty::ALL[penalty.weighted(&weights)];
        let model = names.as_ref().zip(asked.model.as_ref());
        let model = model.and_then(|(names, name)| names.get(name.as_str()).copied());
        let sized = settings.size.is_some();
        Request {
            size: if sized {
                Size::new(asked.size).expect("sizes are read in a smaller range")
            } else {
                Size::ONE
            },
            bounds: asked.bounds,
            model: model.unwrap_or(Model(0)),
            ..Request::new(arrival, due, asked.penalty.unwrap_or(drawn))
        }
    });
    let requests: Vec<_> = requests.collect();
    let objective = scenario.objective().clone();
    let fate = scenario.fate(seed, episode, &requests);
    let instance = Instance::new(scenario.cluster(seed, episode), requests, objective)?;
    // Those among the requests that are taken, or behind them if the trace ended first.
    let ended = count < settings.requests;
    let others = part().filter(|asked| !known(asked) && (ended || asked.at < last.at));
    let other_models = others.count();
    Ok(Imported { instance: instance.under(fate)?, compression, other_models })
}

/// The scenario with the arrivals of the trace from request `first` on in place of its own, at its own mean interval.
///
/// # Errors
/// [`ImportError`] if there are too few of them.
pub fn recorded(trace: &Trace, scenario: &Scenario, first: usize) -> Result<Scenario, ImportError> {
    let part = trace.asked.get(first..).unwrap_or_default();
    let [begin, _, ..] = part else {
        return Err(ImportError::Few { found: trace.asked.len(), first, least: 2 });
    };
    let arrivals = part.iter().map(|asked| Seconds::of(asked.at - begin.at)).collect();
    let mean_interval = scenario.settings().arrivals.mean_interval();
    let recorded = scenario.with(|settings| {
        settings.name = format!("{}-recorded", settings.name);
        settings.arrivals = Arrivals::Recording(Recorded { mean_interval, arrivals });
    });
    recorded.map_err(ImportError::Scenario)
}

/// The models that are asked for most often, the first of them first.
fn ranked(trace: &Trace, number: usize) -> BTreeMap<&str, Model> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in trace.asked.iter().filter_map(|asked| asked.model.as_deref()) {
        *counts.entry(name).or_default() += 1;
    }
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let models = ranked.into_iter().take(number).enumerate();
    models.map(|(rank, (name, _))| (name, Model(rank as u16))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = include_str!("../../../scenarios/fleet.toml");
    const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
    const OFFICE: &str = include_str!("../../../scenarios/office.toml");

    /// A made-up file in the form of the trace.
    const GENTD26: &str = "\
gmt_create,predict_type,num_images_per_prompt,num_inference_steps,checkpoint_model_version_id
2024-11-15 16:57:50,TXT_2_IMG,2.0,30.0,M7
2024-11-15 16:57:40,TXT_2_IMG,1.0,30.0,M3
2024-11-15 16:57:40,TXT_2_IMG,1.0,30.0,M3
2024-11-15 16:58:00,TXT_2_IMG,,,M3
2024-11-15 16:59:00,TXT_2_IMG,4.0,20.0,M3
";

    #[test]
    fn a_trace_is_read_in_order_and_what_is_left_out_is_counted() {
        let trace = read_trace(GENTD26, Form::Gentd26, Faults::Refuse).unwrap();
        assert_eq!(trace.left_out, [("duplicates", 1), ("never begun", 1)].into());
        let asked: Vec<_> = trace.asked.iter().map(|a| (a.model.as_deref(), a.size)).collect();
        assert_eq!(asked, [(Some("M3"), 1.0), (Some("M7"), 2.0), (Some("M3"), 4.0)]);
        let gaps = trace.asked.windows(2).map(|pair| pair[1].at - pair[0].at);
        for (gap, expected) in gaps.zip([10.0, 70.0]) {
            assert!((gap - expected).abs() < 1.0, "{gap}");
        }
    }

    #[test]
    fn what_the_trace_says_is_taken_and_the_rest_is_the_scenarios() {
        let trace = read_trace(GENTD26, Form::Gentd26, Faults::Refuse).unwrap();
        let of =
            |text: &str| instance_of(&trace, &Scenario::from_toml(text).unwrap(), 0, 1).unwrap();
        let imported = of(CONTENDED);
        let requests = imported.instance.requests();
        assert!(imported.instance.is_plain() && requests.len() == 3);
        // Two intervals of a second on average, 80 s in the trace.
        assert!((requests[2].arrival.seconds() - 2.0).abs() < 1e-9);
        assert!((imported.compression - 40.0).abs() < 1.0, "{}", imported.compression);
        assert!(requests.iter().all(|r| (2.0..20.0).contains(&r.slack().seconds())));
        // M3 is asked for most often, and so is the scenario's first model.
        let models = of(FLEET).instance.requests().iter().map(|r| r.model.0).collect::<Vec<_>>();
        assert_eq!(models, [0, 1, 0]);
        let office = of(OFFICE).instance;
        let sizes = office.requests().iter().map(|r| r.size.get()).collect::<Vec<_>>();
        assert_eq!(sizes, [1.0, 2.0, 4.0]);
        assert!(office.fate().is_some(), "the scenario's noise");
        let one = FLEET.replace("number = 6", "number = 1");
        let two = one.replace("requests = 2000", "requests = 2");
        for text in [&one, &two] {
            let imported = of(text);
            assert_eq!((imported.instance.requests().len(), imported.other_models), (2, 1));
        }
    }

    #[test]
    fn a_scenario_may_have_the_arrivals_of_a_trace() {
        let trace = read_trace(GENTD26, Form::Gentd26, Faults::Refuse).unwrap();
        let scenario = recorded(&trace, &Scenario::from_toml(CONTENDED).unwrap(), 0).unwrap();
        let text = scenario.to_toml();
        assert_eq!(Scenario::from_toml(&text).unwrap(), scenario);
        let Arrivals::Recording(Recorded { mean_interval, arrivals }) =
            &scenario.settings().arrivals
        else {
            panic!("{text}")
        };
        assert_eq!((mean_interval.seconds(), arrivals.len()), (1.0, 3));
        assert!((arrivals[2].seconds() - 80.0).abs() < 1.0, "{arrivals:?}");
        let error = recorded(&trace, &scenario, 2).unwrap_err().to_string();
        assert!(error.contains("3 requests") && error.contains("from 2 on with 2 or more"));
    }

    #[test]
    fn a_table_of_ones_own_may_say_all_of_it() {
        let text = "model,arrival,slack,penalty,size,min_steps,max_steps\n\
                    a,3,7.5,quadratic,2,8,60\nb,3,,,,,\nb,9,1,linear,1,,\n";
        let trace = read_trace(text, Form::Csv, Faults::Refuse).unwrap();
        let scenario = Scenario::from_toml(CONTENDED).unwrap();
        let instance = instance_of(&trace, &scenario, 0, 1).unwrap().instance;
        let [first, _, last] = instance.requests() else { panic!("three") };
        assert_eq!((first.slack(), first.penalty), (Seconds::of(7.5), TardinessPenalty::Quadratic));
        assert_eq!((first.bounds.min.get(), first.bounds.max.get()), (8, 60));
        assert_eq!((last.arrival.seconds(), first.size), (2.0, Size::ONE));
    }

    #[test]
    fn bad_rows_are_named_or_counted() {
        for (form, text, message) in [
            (Form::Csv, "arival\n1\n", "no column \"arrival\""),
            (
                Form::Csv,
                "arrival\n1\nx\n",
                "line 3, column 1 (arrival): \"x\": allowed is a number of seconds",
            ),
            (
                Form::Csv,
                "arrival\n5\n4\n",
                "line 3, column 1 (arrival): \"4\": allowed is no time before",
            ),
            (
                Form::Csv,
                "arrival,size\n5,-1\n",
                "line 2, column 2 (size): \"-1\": allowed is a size",
            ),
            (
                Form::Csv,
                "arrival,min_steps,max_steps\n5,9,8\n",
                "column 2 (min_steps): \"9\": allowed is no more",
            ),
            (Form::Gentd26, "gmt_create\n", "no column \"num_images_per_prompt\""),
            (Form::Csv, "arrival,size\n5\n", "found record with 1 fields"),
        ] {
            let error = read_trace(text, form, Faults::Refuse).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let broken = GENTD26.replace("2024-11-15 16:57:50", "yesterday");
        let error = read_trace(&broken, Form::Gentd26, Faults::Refuse).unwrap_err().to_string();
        assert!(error.contains("line 2, column 1 (gmt_create): \"yesterday\""), "{error}");
        let trace = read_trace(&broken, Form::Gentd26, Faults::Skip).unwrap();
        assert_eq!((trace.asked.len(), trace.left_out["gmt_create"]), (2, 1));
        let few = read_trace("arrival\n5\n", Form::Csv, Faults::Refuse).unwrap();
        let scenario = Scenario::from_toml(CONTENDED).unwrap();
        let error = instance_of(&few, &scenario, 0, 1).unwrap_err().to_string();
        assert!(error.contains("1 requests that can be used"), "{error}");
    }
}
