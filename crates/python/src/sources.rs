//! Scenarios and instances as objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use experiments::with_fields_set;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scheduling::TardinessPenalty;
use simulation::{Episode, EpisodeSource, InstanceSource, Recording, Recordings};

use crate::frame::{framed, table};
use crate::refused;

/// How instances are drawn.
#[pyclass(frozen, module = "atelier")]
pub(crate) struct Scenario(pub(crate) Arc<simulation::Scenario>);

#[pymethods]
impl Scenario {
    /// Reads a file (TOML).
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        let text = read(&path)?;
        let scenario = simulation::Scenario::from_toml(&text);
        let scenario = scenario.map_err(|e| refused(format!("{}: {e}", path.display())))?;
        Ok(Self(Arc::new(scenario)))
    }

    /// Reads what would stand in a file.
    #[staticmethod]
    fn from_toml(text: &str) -> PyResult<Self> {
        Ok(Self(Arc::new(simulation::Scenario::from_toml(text).map_err(refused)?)))
    }

    /// What would stand in a file.
    fn to_toml(&self) -> String {
        self.0.to_toml()
    }

    /// The same with other values of these fields, which are named by their paths: `due.slack_seconds`,
    /// `cluster.servers.0.count`.
    fn replace(&self, py: Python<'_>, fields: &Bound<'_, PyDict>) -> PyResult<Self> {
        let json: String = py.import("json")?.call_method1("dumps", (fields,))?.extract()?;
        let fields: BTreeMap<String, toml::Value> = serde_json::from_str(&json)
            .map_err(|e| refused(format!("fields are {json}: {e}; allowed is what TOML has")))?;
        Ok(Self(Arc::new(with_fields_set(&self.0, &fields).map_err(refused)?)))
    }

    /// The instance of this number under a seed: to be judged by, or one of those to learn from.
    #[pyo3(signature = (number=0, *, seed=1, training=false))]
    fn instance(&self, number: u64, seed: u64, training: bool) -> PyResult<Instance> {
        if number >= 1 << 63 {
            return Err(refused(format!("number is {number}: allowed is below 2^63")));
        }
        let episode =
            if training { Episode::Training(number) } else { Episode::Evaluation(number) };
        Ok(Instance(Arc::new(self.0.instance(seed, episode))))
    }

    /// Name of the scenario.
    #[getter]
    fn name(&self) -> String {
        self.0.name()
    }

    /// J: servers of each instance.
    #[getter]
    fn servers(&self) -> usize {
        self.0.servers()
    }

    /// I: requests of each instance.
    #[getter]
    fn requests(&self) -> usize {
        self.0.requests()
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (String,))> {
        Ok((slf.getattr("from_toml")?.unbind(), (slf.get().to_toml(),)))
    }

    fn __repr__(&self) -> String {
        format!(
            "<atelier.Scenario {}: {} servers, {} requests>",
            self.0.name(),
            self.0.servers(),
            self.0.requests()
        )
    }
}

/// What is given: servers, requests, and what decisions are judged by.
#[pyclass(frozen, module = "atelier")]
pub(crate) struct Instance(pub(crate) Arc<scheduling::Instance>);

#[pymethods]
impl Instance {
    /// Reads a file (JSON).
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        let instance = scheduling::Instance::from_json(&read(&path)?);
        let instance = instance.map_err(|e| refused(format!("{}: {e}", path.display())))?;
        Ok(Self(Arc::new(instance)))
    }

    /// Reads what would stand in a file.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        Ok(Self(Arc::new(scheduling::Instance::from_json(text).map_err(refused)?)))
    }

    /// What would stand in a file.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// One row for each request, in order of arrival.
    #[getter]
    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (requests, models) = (self.0.requests(), self.0.cluster().models());
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("arrival", floats(requests.iter().map(|request| request.arrival.seconds()))),
            ("due", floats(requests.iter().map(|request| request.due.seconds()))),
            ("penalty", texts(requests.iter().map(|request| named(request.penalty)))),
        ];
        if !models.is_empty() {
            let model = |request: &scheduling::Request| &*models[request.model.index()];
            columns.push(("model", texts(requests.iter().map(model))));
        }
        columns.push(("size", floats(requests.iter().map(|request| request.size.get()))));
        framed(py, table(columns)?)
    }

    /// One row for each server.
    #[getter]
    fn servers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let servers = self.0.cluster();
        let columns = vec![
            ("name", texts(servers.iter().map(|server| &*server.name))),
            (
                "steps_per_second",
                floats(servers.iter().map(|server| server.step_rate.steps_per_second())),
            ),
            ("overhead", floats(servers.iter().map(|server| server.overhead.seconds()))),
        ];
        framed(py, table(columns)?)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (String,))> {
        Ok((slf.getattr("from_json")?.unbind(), (slf.get().to_json(),)))
    }

    fn __len__(&self) -> usize {
        self.0.requests().len()
    }

    fn __repr__(&self) -> String {
        let (servers, requests) = (self.0.cluster().len(), self.0.requests().len());
        format!("<atelier.Instance: {servers} servers, {requests} requests>")
    }
}

/// Where instances come from, as Python names it: a scenario, its file, an instance, or several.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Scenario(PyRef<'py, Scenario>),
    Instance(PyRef<'py, Instance>),
    File(PathBuf),
    Instances(Vec<PyRef<'py, Instance>>),
}

/// A source, whichever of the two views of it somebody needs.
pub(crate) enum Found {
    Scenario(Arc<simulation::Scenario>),
    Recordings(Arc<Recordings>),
}

impl Source<'_> {
    /// A file that ends with `.json` holds an instance, any other a scenario.
    pub(crate) fn find(self) -> PyResult<Found> {
        let recorded = |instances: Vec<Arc<scheduling::Instance>>| {
            if instances.is_empty() {
                return Err(refused("no instance is given: allowed is one or more"));
            }
            let recordings = instances
                .iter()
                .enumerate()
                .map(|(index, instance)| {
                    Recording::new(&format!("instance {index}"), (**instance).clone())
                })
                .collect();
            Ok(Found::Recordings(Arc::new(Recordings::new(recordings))))
        };
        match self {
            Self::Scenario(scenario) => Ok(Found::Scenario(scenario.0.clone())),
            Self::Instance(instance) => recorded(vec![instance.0.clone()]),
            Self::Instances(instances) => {
                recorded(instances.iter().map(|instance| instance.0.clone()).collect())
            }
            Self::File(file) if file.extension().is_some_and(|ending| ending == "json") => {
                recorded(vec![Instance::load(file)?.0])
            }
            Self::File(file) => Ok(Found::Scenario(Scenario::load(file)?.0)),
        }
    }
}

impl Found {
    pub(crate) fn instances(&self) -> Arc<dyn InstanceSource> {
        match self {
            Self::Scenario(scenario) => scenario.clone(),
            Self::Recordings(recordings) => recordings.clone(),
        }
    }

    /// # Errors
    /// If its training episodes do not all have one form.
    pub(crate) fn episodes(&self) -> PyResult<Arc<dyn EpisodeSource>> {
        match self {
            Self::Scenario(scenario) => Ok(scenario.clone()),
            Self::Recordings(recordings) => {
                recordings.episodes().map_err(refused)?;
                Ok(recordings.clone())
            }
        }
    }
}

fn read(path: &Path) -> PyResult<String> {
    std::fs::read_to_string(path).map_err(|e| refused(format!("{}: {e}", path.display())))
}

/// A penalty by its name in files.
pub(crate) fn named(penalty: TardinessPenalty) -> &'static str {
    match penalty {
        TardinessPenalty::Linear => "linear",
        TardinessPenalty::Quadratic => "quadratic",
        TardinessPenalty::SquareRoot => "square_root",
    }
}

/// Columns of a table.
pub(crate) fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub(crate) fn counts(values: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(values))
}

pub(crate) fn texts<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from(values.map(|value| value.as_ref().to_owned()).collect::<Vec<_>>()))
}
