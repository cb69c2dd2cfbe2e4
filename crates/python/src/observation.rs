//! What a policy sees, for policies in Python.

use std::sync::Arc;

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyList;
use scheduling::{Cluster, Decision, Objective, Residency, Seconds, Steps, Time, Traffic};

use crate::refused;
use crate::rows::{self, Kind};
use crate::sources::named;

/// What one server offers one request. All times are in seconds.
#[pyclass(frozen, module = "atelier")]
#[derive(Clone, Copy)]
pub(crate) struct Offer(scheduling::Offer);

#[pymethods]
impl Offer {
    /// m_j: time until the server will be free.
    #[getter]
    fn backlog(&self) -> f64 {
        self.0.backlog.seconds()
    }

    /// Time to load the model of the request.
    #[getter]
    fn load(&self) -> f64 {
        self.0.load.seconds()
    }

    /// Time of a run that does not depend on its steps.
    #[getter]
    fn overhead(&self) -> f64 {
        self.0.overhead.seconds()
    }

    /// c_j with the model of the request and at its size.
    #[getter]
    fn steps_per_second(&self) -> f64 {
        self.0.step_rate.steps_per_second()
    }

    /// Fewest steps that may be chosen.
    #[getter]
    fn min_steps(&self) -> u32 {
        self.0.bounds.min.get()
    }

    /// Most steps that may be chosen.
    #[getter]
    fn max_steps(&self) -> u32 {
        self.0.bounds.max.get()
    }

    /// How far runs stray from their predictions: the deviation of the logarithm.
    #[getter]
    fn sigma(&self) -> f64 {
        self.0.spread.sigma().into()
    }

    /// p_ij = load + overhead + steps / rate: eq. (1).
    fn service_time(&self, steps: u32) -> PyResult<f64> {
        Ok(self.0.service_time(number(steps)?).seconds())
    }

    /// Time from now until a run of so many steps would be finished.
    fn time_to_finish(&self, steps: u32) -> PyResult<f64> {
        Ok(self.0.time_to_finish(number(steps)?).seconds())
    }

    /// The most steps whose service time is within so many seconds, whatever the bounds; None if one is too many.
    fn most_steps_within(&self, seconds: f64) -> Option<u32> {
        self.0.most_steps_within(Seconds::of(seconds)).map(Steps::get)
    }
}

fn number(steps: u32) -> PyResult<Steps> {
    Steps::new(steps).map_err(refused)
}

/// The request to be decided.
#[pyclass(frozen, module = "atelier", get_all)]
pub(crate) struct Request {
    arrival: f64,
    due: f64,
    /// `linear`, `quadratic` or `square_root`.
    penalty: &'static str,
    /// Name of its model; None where there is but one.
    model: Option<String>,
    /// Relative to the reference size.
    size: f64,
}

/// All that a policy may know.
#[pyclass(frozen, module = "atelier")]
pub(crate) struct Observation {
    now: Time,
    asked: scheduling::Request,
    chosen_from: Vec<scheduling::Offer>,
    residencies: Vec<Residency>,
    traffic: Traffic,
    objective: Arc<Objective>,
    cluster: Arc<Cluster>,
    request: Py<Request>,
    offers: Py<PyList>,
}

impl Observation {
    /// A copy, which may be kept.
    pub(crate) fn of(
        py: Python<'_>,
        observation: &scheduling::Observation<'_>,
        objective: &Arc<Objective>,
        cluster: &Arc<Cluster>,
    ) -> PyResult<Self> {
        let asked = *observation.request;
        let request = Request {
            arrival: asked.arrival.seconds(),
            due: asked.due.seconds(),
            penalty: named(asked.penalty),
            model: cluster.models().get(asked.model.index()).cloned(),
            size: asked.size.get(),
        };
        Ok(Self {
            now: observation.now,
            asked,
            chosen_from: observation.offers.to_vec(),
            residencies: observation.residencies.to_vec(),
            traffic: observation.traffic.clone(),
            objective: objective.clone(),
            cluster: cluster.clone(),
            request: Py::new(py, request)?,
            offers: PyList::new(py, observation.offers.iter().copied().map(Offer))?.unbind(),
        })
    }

    /// As the built-in policies see it.
    pub(crate) fn as_seen(&self) -> scheduling::Observation<'_> {
        scheduling::Observation {
            now: self.now,
            request: &self.asked,
            offers: &self.chosen_from,
            objective: &self.objective,
            residencies: &self.residencies,
            traffic: &self.traffic,
        }
    }

    /// The servers of the instance.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

#[pymethods]
impl Observation {
    /// The present, in seconds.
    #[getter]
    fn now(&self) -> f64 {
        self.now.seconds()
    }

    #[getter]
    fn request(&self, py: Python<'_>) -> Py<Request> {
        self.request.clone_ref(py)
    }

    /// What the servers offer that can run the request; a policy answers with a position in this list.
    #[getter]
    fn offers(&self, py: Python<'_>) -> Py<PyList> {
        self.offers.clone_ref(py)
    }

    /// Seconds from now to the due time; negative once it has passed.
    #[getter]
    fn time_to_due(&self) -> f64 {
        self.as_seen().time_to_due().seconds()
    }

    /// w of eq. (5).
    #[getter]
    fn tardiness_weight(&self) -> f64 {
        self.objective.tardiness_weight()
    }

    /// Mean seconds between arrivals so far; None before the second.
    #[getter]
    fn mean_interval(&self) -> Option<f64> {
        self.traffic.mean_interval().map(Seconds::seconds)
    }

    /// Q(s)
    fn quality(&self, steps: u32) -> PyResult<f64> {
        Ok(self.objective.quality(number(steps)?))
    }

    /// r_t of eq. (5) for this offer with so many steps; its expectation where runs stray.
    fn reward(&self, offer: i64, steps: i64) -> PyResult<f64> {
        let seen = self.as_seen();
        Ok(seen.reward(seen.decision(offer, steps).map_err(refused)?))
    }

    /// As the environment shows it, so that what was trained there can decide here.
    #[pyo3(signature = (observation="paper"))]
    fn row<'py>(&self, py: Python<'py>, observation: &str) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let kind: Kind = observation.parse().map_err(refused)?;
        let servers = self.cluster.len();
        if kind == Kind::Paper && self.chosen_from.len() != servers {
            return Err(refused(format!(
                "observation is \"paper\", and {} of {servers} servers make an offer: \
                 allowed is \"offers\"",
                self.chosen_from.len()
            )));
        }
        let mut row = vec![0.0; kind.width(servers)];
        kind.write(&self.as_seen(), &mut row);
        Ok(PyArray1::from_vec(py, row))
    }

    /// What the environment makes of an action: the offer, or the one that would be finished first where it makes none,
    /// with so many steps, or the nearest within its bounds.
    fn nearest(&self, offer: usize, steps: u32) -> PyResult<(usize, u32)> {
        let decision = Decision { server: offer, steps: number(steps)? };
        let Decision { server, steps } = rows::nearest(&self.as_seen(), decision);
        Ok((server, steps.get()))
    }
}
