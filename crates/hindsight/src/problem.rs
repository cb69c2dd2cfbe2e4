//! An instance as flat tables, the way the inner loops read it.

use std::collections::HashMap;
use std::ops::Range;

use scheduling::{
    Beyond, Decision, Execution, Instance, Loaded, Offer, Request, Row, Seconds, Steps,
    TardinessPenalty, Time,
};

/// How one server runs the requests of one kind: those alike in model, size and bounds.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// p without the load, by [`Steps::index`], whether allowed or not; ascending.
    pub(crate) time: [f64; Steps::COUNT],
    /// Indices of the steps that are allowed; not empty.
    pub(crate) steps: Range<usize>,
    /// Time to load the model, where it has to be.
    pub(crate) load: f64,
    offer: Offer,
}

impl Service {
    fn new(offer: Offer) -> Self {
        let time = |s| Offer { load: Seconds::ZERO, ..offer }.service_time(Steps::from_index(s));
        Self {
            time: std::array::from_fn(|s| time(s).seconds()),
            steps: offer.bounds.indices(),
            load: offer.load.seconds(),
            offer,
        }
    }

    /// Time of one step.
    pub(crate) fn step(&self) -> f64 {
        (self.time[Steps::COUNT - 1] - self.time[0]) / (Steps::COUNT - 1) as f64
    }

    /// Time of the fewest steps, without the load.
    pub(crate) fn shortest(&self) -> f64 {
        self.time[self.steps.start]
    }

    /// Time of the most steps, without the load.
    pub(crate) fn longest(&self) -> f64 {
        self.time[self.steps.end - 1]
    }
}

/// Everything that the solvers ask of an instance, as plain seconds.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) instance: &'a Instance,
    /// r_i
    pub(crate) arrival: Vec<f64>,
    /// d_i
    pub(crate) due: Vec<f64>,
    /// g_i
    pub(crate) penalty: Vec<TardinessPenalty>,
    /// Q(s) by [`Steps::index`].
    pub(crate) quality: [f64; Steps::COUNT],
    /// Kind of each request; one for all where they are alike.
    pub(crate) kind: Vec<usize>,
    /// By server and kind; none where the server does not take it.
    pub(crate) services: Vec<Vec<Option<Service>>>,
    /// w
    pub(crate) weight: f64,
}

impl<'a> Problem<'a> {
    pub(crate) fn new(instance: &'a Instance) -> Self {
        let requests = instance.requests();
        let (kind, examples) = kinds(requests);
        let services = (instance.cluster().iter())
            .map(|server| {
                let nothing = Loaded::default();
                let offer = |example: &&Request| server.offer(example, Seconds::ZERO, &nothing);
                examples.iter().map(|example| offer(example).map(Service::new)).collect()
            })
            .collect();
        Self {
            instance,
            arrival: requests.iter().map(|request| request.arrival.seconds()).collect(),
            due: requests.iter().map(|request| request.due.seconds()).collect(),
            penalty: requests.iter().map(|request| request.penalty).collect(),
            quality: *instance.objective().qualities(),
            kind,
            services,
            weight: instance.objective().tardiness_weight(),
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.arrival.len()
    }

    pub(crate) fn servers(&self) -> usize {
        self.services.len()
    }

    /// How server `j` runs request `i`, if it does.
    pub(crate) fn service(&self, j: usize, i: usize) -> Option<&Service> {
        self.services[j][self.kind[i]].as_ref()
    }

    /// A run of request `i` begins on server `j`, which has these models loaded: the time it takes to
    /// load its model first. 0 where the server does not take it.
    pub(crate) fn run(&self, j: usize, i: usize, loaded: &mut Loaded) -> f64 {
        let model = self.instance.requests()[i].model;
        let there = loaded.contains(model);
        self.instance.cluster()[j].run(model, loaded);
        if there { 0.0 } else { self.service(j, i).map_or(0.0, |service| service.load) }
    }

    /// w · g(τ) of request `i` when it finishes at `finish`.
    pub(crate) fn loss(&self, i: usize, finish: f64) -> f64 {
        self.weight * penalty(self.penalty[i], finish - self.due[i])
    }

    /// Eq. (5) for request `i` with step index `s`, finished at `finish`.
    pub(crate) fn reward(&self, i: usize, s: usize, finish: f64) -> f64 {
        self.quality[s] - self.loss(i, finish)
    }

    /// The largest quality of all.
    pub(crate) fn best_quality(&self) -> f64 {
        self.quality.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Between the largest and the smallest quality; the scale of all rewards. Positive.
    pub(crate) fn quality_range(&self) -> f64 {
        let worst = self.quality.iter().copied().fold(f64::INFINITY, f64::min);
        (self.best_quality() - worst).max(1e-6)
    }

    /// Time that the most steps take, averaged over the kinds of each server and over the servers:
    /// the scale of everything that is measured in time here.
    pub(crate) fn time_scale(&self) -> f64 {
        let means: Vec<f64> = (self.services.iter())
            .map(|services| services.iter().flatten().map(Service::longest).collect::<Vec<_>>())
            .filter(|longest| !longest.is_empty())
            .map(|longest| longest.iter().sum::<f64>() / longest.len() as f64)
            .collect();
        means.iter().sum::<f64>() / means.len() as f64
    }

    /// The longest time of any run.
    pub(crate) fn longest_service(&self) -> f64 {
        let longest = |service: &Service| service.load + service.longest();
        self.services.iter().flatten().flatten().map(longest).fold(0.0, f64::max)
    }

    /// The row of request `i` on server `j` with step index `s`, started at `start` with a load of
    /// `load` seconds.
    ///
    /// # Panics
    /// If the server does not take the request.
    pub(crate) fn row(&self, i: usize, j: usize, s: usize, (start, load): (f64, f64)) -> Row {
        let steps = Steps::from_index(s);
        let request = &self.instance.requests()[i];
        let start = Time::ZERO + Seconds::of(start);
        let offer = self.service(j, i).expect("the server takes the request").offer;
        let load = Seconds::of(load);
        let finish = start + Offer { load, ..offer }.service_time(steps);
        let decision = Decision { server: j, steps };
        let execution = Execution { start, finish };
        let row = Row::new(i, request, decision, execution, self.instance.objective());
        let beyond = Beyond::completed(request, load, 1);
        Row { beyond: (!self.instance.is_plain()).then_some(beyond), ..row }
    }
}

/// The kind of each request, and one request of each kind.
fn kinds(requests: &[Request]) -> (Vec<usize>, Vec<&Request>) {
    let mut examples: Vec<&Request> = Vec::new();
    let mut found = HashMap::new();
    let kind = requests.iter().map(|request| {
        let Request { model, size, bounds, .. } = *request;
        let key = (model, f64::from(size).to_bits(), bounds.min, bounds.max);
        *found.entry(key).or_insert_with(|| {
            examples.push(request);
            examples.len() - 1
        })
    });
    (kind.collect(), examples)
}

/// g(τ) in plain numbers.
pub(crate) fn penalty(kind: TardinessPenalty, tardiness: f64) -> f64 {
    kind.at(Seconds::of(tardiness))
}
