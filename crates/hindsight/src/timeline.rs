//! When runs may start: at any time, or on slots.

use scheduling::Seconds;

/// When a run may start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timeline {
    /// At any time from its arrival on.
    Continuous,
    /// At multiples of the slot only, as the paper's x_ijt has it; finish times stay continuous.
    Slots(Seconds),
}

impl Timeline {
    /// The earliest start that is not before `time`.
    pub(crate) fn start(self, time: f64) -> f64 {
        match self {
            Self::Continuous => time,
            Self::Slots(slot) => {
                let slot = slot.seconds();
                let near = (time / slot).round() * slot;
                // A finish that rounding put a hair behind its slot still meets it.
                if near >= time - 1e-9 * time.abs().max(1.0) {
                    near
                } else {
                    (time / slot).ceil() * slot
                }
            }
        }
    }
}
