//! The Python package `atelier`: this module is its `_core`, and `python/atelier` what people import.
//!
//! Nothing is decided here: scenarios, policies, evaluations and episodes are those of the other rooms.

// What Python gives arrives by value.
#![allow(clippy::needless_pass_by_value)]

mod environment;
mod evaluation;
mod frame;
mod interruption;
mod observation;
mod policies;
mod rows;
mod sources;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::environment::Environment;
    #[pymodule_export]
    use crate::evaluation::{Evaluation, Possible, bound, evaluate, simulate, tune};
    #[pymodule_export]
    use crate::observation::{Observation, Offer, Request};
    #[pymodule_export]
    use crate::policies::Policy;
    #[pymodule_export]
    use crate::sources::{Instance, Scenario};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// What a user gave that cannot be used.
fn refused(problem: impl ToString) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(problem.to_string())
}
