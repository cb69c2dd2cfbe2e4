//! Policies: those with names as functions, and functions as policies.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use agent::{Maker, Recipe};
use pyo3::prelude::*;
use pyo3::types::PyType;
use scheduling::message::bounded;
use scheduling::policies::Myopic;
use scheduling::{Cluster, Decision, Generator, Objective, PolicyName, Purpose};

use crate::observation::Observation;
use crate::refused;

/// A policy that has a name, such as `greedy` or `agent[models/paper]`, as a function of an observation.
#[pyclass(frozen, module = "atelier")]
pub(crate) struct Policy {
    recipe: Recipe,
    seed: u64,
    /// One for each episode that goes on.
    made: Mutex<Vec<Made>>,
}

/// A policy, and the servers that it was made for, by which an episode is known.
type Made = (Weak<Cluster>, Box<dyn scheduling::Policy>);

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (name, *, seed=1))]
    fn new(name: &str, seed: u64) -> PyResult<Self> {
        Ok(Self { recipe: load(name)?, seed, made: Mutex::default() })
    }

    /// Its name.
    #[getter]
    fn name(&self) -> String {
        self.recipe.name().to_string()
    }

    /// What it decides: the position of an offer, and steps. For each episode it begins anew.
    fn __call__(&self, observation: &Observation) -> PyResult<(usize, u32)> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = observation.cluster();
        let of_this = |(of, _): &Made| std::ptr::eq(of.as_ptr(), &raw const **cluster);
        let known = if let Some(known) = made.iter().position(of_this) {
            known
        } else {
            made.retain(|(of, _)| of.strong_count() > 0);
            let generator = Generator::new(self.seed, Purpose::Policy, 0);
            let policy = self.recipe.policy(cluster, generator).map_err(refused)?;
            made.push((Arc::downgrade(cluster), policy));
            made.len() - 1
        };
        let (_, policy) = &mut made[known];
        let decision = policy.decide(&observation.as_seen());
        match policy.failure() {
            Some(problem) => Err(refused(format!("policy {}: {problem}", self.recipe.name()))),
            None => Ok((decision.server, decision.steps.get())),
        }
    }

    fn __repr__(&self) -> String {
        format!("<atelier.Policy {}>", self.recipe.name())
    }
}

/// A policy as Python names it.
#[derive(FromPyObject)]
pub(crate) enum Named<'py> {
    Policy(PyRef<'py, Policy>),
    Name(String),
    /// A function of an observation; a class that has one called `decide`, of which there is a new object for each
    /// instance, made with a seed; or such an object, which is the same for all of them.
    Decider(Bound<'py, PyAny>),
}

impl Named<'_> {
    /// What makes the policy for each instance. Its exception, should there be one, is put into `raised`.
    pub(crate) fn recipe(self, called: Option<&str>, raised: &Raised) -> PyResult<Recipe> {
        match self {
            Self::Policy(policy) => Ok(policy.recipe.clone()),
            Self::Name(name) => load(&name),
            Self::Decider(decider) => {
                let name = match called {
                    Some(name) => name.to_owned(),
                    None => match decider.getattr("__name__") {
                        Ok(name) => name.extract()?,
                        Err(_) => decider.get_type().name()?.extract()?,
                    },
                };
                let maker = Python { decider: decider.unbind(), raised: raised.clone() };
                Ok(Recipe::made_by(&name, Arc::new(maker)))
            }
        }
    }
}

fn load(name: &str) -> PyResult<Recipe> {
    Recipe::load(&name.parse::<PolicyName>().map_err(refused)?).map_err(refused)
}

/// The first exception of any policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn keep(&self, error: PyErr) -> String {
        let told = bounded(&error.to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        told
    }

    /// The exception, or else the error that it led to.
    pub(crate) fn or(&self, error: impl ToString) -> PyErr {
        let raised = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        raised.unwrap_or_else(|| refused(error))
    }
}

/// Makes policies of something that decides in Python.
#[derive(Debug)]
struct Python {
    decider: Py<PyAny>,
    raised: Raised,
}

impl Maker for Python {
    fn policy(
        &self,
        cluster: &Cluster,
        mut generator: Generator,
    ) -> Result<Box<dyn scheduling::Policy>, String> {
        let decide = pyo3::Python::attach(|py| {
            let decider = self.decider.bind(py);
            if decider.is_instance_of::<PyType>() {
                let seed = generator.below(1 << 53);
                return Ok(decider.call1((seed,))?.getattr("decide")?.unbind());
            }
            let method = decider.getattr("decide");
            Ok(method.unwrap_or_else(|_| decider.clone()).unbind())
        });
        let decide = decide.map_err(|error| self.raised.keep(error))?;
        Ok(Box::new(Deciding {
            decide,
            cluster: Arc::new(cluster.clone()),
            objective: None,
            raised: self.raised.clone(),
            failure: None,
        }))
    }
}

/// A function of Python that decides.
struct Deciding {
    decide: Py<PyAny>,
    cluster: Arc<Cluster>,
    /// What it was shown last that decisions are judged by.
    objective: Option<Arc<Objective>>,
    raised: Raised,
    failure: Option<String>,
}

impl scheduling::Policy for Deciding {
    fn decide(&mut self, observation: &scheduling::Observation<'_>) -> Decision {
        if self.failure.is_none() {
            match self.ask(observation) {
                Ok(decision) => return decision,
                Err(problem) => self.failure = Some(problem),
            }
        }
        Myopic.decide(observation)
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl Deciding {
    fn ask(&mut self, observation: &scheduling::Observation<'_>) -> Result<Decision, String> {
        let same = |shown: &Arc<Objective>| **shown == *observation.objective;
        if !self.objective.as_ref().is_some_and(same) {
            self.objective = Some(Arc::new(observation.objective.clone()));
        }
        let objective = self.objective.as_ref().expect("it has just been put there");
        let decided = pyo3::Python::attach(|py| {
            let seen = Observation::of(py, observation, objective, &self.cluster)?;
            self.decide.bind(py).call1((seen,))?.extract::<(i64, i64)>()
        });
        let (offer, steps) = decided.map_err(|error| self.raised.keep(error))?;
        observation.decision(offer, steps)
    }
}
