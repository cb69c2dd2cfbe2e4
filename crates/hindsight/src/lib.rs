//! What was possible: bounds and schedules from full knowledge of an instance.
//!
//! A policy decides without the future; here all arrivals are known. [`bound()`] proves that no
//! schedule can earn more than a number and finds a first-come-first-served schedule close to it,
//! for thousands of requests. [`exact()`] solves eq. (4) of the paper to optimality for a dozen. The
//! schedules are for [`scheduling::verify`] to judge, like those of anyone else.
//!
//! `docs/hindsight.md` explains the bound and how to read it.

mod bound;
mod ceilings;
mod dual;
mod exact;
mod labels;
mod outcome;
mod prices;
mod pricing;
mod problem;
mod schedule;
mod search;
mod timeline;
mod value;

pub use bound::{Budget, Progress, bound, bound_from};
pub use exact::{Solution, TooLarge, exact};
pub use outcome::{Found, Outcome};
pub use timeline::Timeline;
