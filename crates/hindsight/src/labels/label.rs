//! What an enumeration keeps of a set of requests that have run.

use std::collections::BTreeMap;

use scheduling::Loaded;

/// These requests have run; the present server is free at `free`; `value` was earned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) free: f64,
    pub(super) value: f64,
    pub(super) last: Run,
}

impl Label {
    /// A server that nothing has run on yet, after others that earned `value`.
    pub(super) fn open(value: f64, before: u32) -> Self {
        let last = Run { before, server: 0, request: NO_REQUEST, steps: 0, start: 0.0, load: 0.0 };
        Self { free: f64::NEG_INFINITY, value, last }
    }
}

/// One run, and the node of the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) before: u32,
    pub(super) server: u16,
    pub(super) request: u8,
    pub(super) steps: u8,
    pub(super) start: f64,
    pub(super) load: f64,
}

/// No run at all.
pub(super) const NONE: u32 = u32::MAX;
/// A run that only hands a node on to the next server.
pub(super) const NO_REQUEST: u8 = u8::MAX;

/// What tells apart labels that do not compare: the set of requests that have run, as bits, and what
/// the present server has loaded.
pub(super) type State = (u32, Loaded);

/// Labels by their state.
pub(super) type Labels = BTreeMap<State, Vec<Label>>;

/// Labels that stay, each with its node.
pub(super) type Named = Vec<(u32, Label)>;

/// Keeps the labels that no other beats or equals in both time and value.
pub(super) fn undominated<T>(labels: &mut Vec<T>, label: impl Fn(&T) -> &Label) {
    labels.sort_by(|a, b| {
        let (a, b) = (label(a), label(b));
        a.free.total_cmp(&b.free).then(b.value.total_cmp(&a.value))
    });
    let mut best = f64::NEG_INFINITY;
    labels.retain(|entry| {
        let keep = label(entry).value > best;
        best = best.max(label(entry).value);
        keep
    });
}
