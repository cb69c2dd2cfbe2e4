//! Comparing policies: the same instances for all of them, statistics, tables, figures, reports.
//!
//! This is the one room where the simulator, the agents and the baselines meet. A [`Study`] is a
//! file; a [`Plan`] is the work that studies ask for; [`run()`] does it and leaves rows.

mod built_in;
mod claims;
mod collect;
mod evaluation;
mod figures;
mod fit;
mod import;
mod plan;
mod planning;
mod report;
mod results;
mod run;
mod schedule;
mod simplex;
mod statistics;
mod study;
mod table;
mod tensorboard;
mod trace;
mod tune;
mod workload;

pub use claims::{Claim, Verdict};
pub use evaluation::{Clairvoyance, Evaluation, OnTime, PolicyResult, Questions, evaluate};
pub use figures::gantt::{Window, write_gantt};
pub use fit::{Better, Fit, FitError, Measured, Shape, fit_table};
pub use import::{
    Asked, Faults, Form, ImportError, Imported, Trace, instance_of, read_trace, recorded,
};
pub use plan::Plan;
pub use planning::{Change, ChangeError, Needed, Prospect, Target, prospects};
pub use report::{Subject, report};
pub use results::ResultsError;
pub use run::{Outcome, RunError, run};
pub use schedule::{ScheduleError, foreseeable, judged, schedule_of};
pub use study::{Effort, Quick, Study, StudyError, with_fields_set};
pub use table::{claim_table, prospect_table, strangers, table};
pub use tensorboard::EventFile;
pub use trace::write_trace;
pub use tune::{CAP_TRIALS, Goal, Reached, Tuned, trials, tune, tune_cap};
pub use workload::{Statistics, WINDOWS, Workload, workload_figure, workload_table};
