//! The scheduler live: wall-clock time, HTTP, real diffusion servers, a journal.

pub mod journal;
pub mod scheduler;
pub mod timeline;
