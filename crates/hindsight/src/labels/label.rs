//! What an enumeration keeps of a set of requests that have run.

use std::collections::BTreeMap;

/// These requests have run; the present server is free at `free`; `value` was earned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) free: f64,
    pub(super) value: f64,
    pub(super) last: Run,
}

/// One run, and the node of the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) before: u32,
    pub(super) server: u16,
    pub(super) request: u8,
    pub(super) steps: u8,
    pub(super) start: f64,
}

/// No run at all.
pub(super) const NONE: u32 = u32::MAX;
/// A run that only hands a node on to the next server.
pub(super) const NO_REQUEST: u8 = u8::MAX;

/// Labels by the set of requests that have run, as bits.
pub(super) type Labels = BTreeMap<u32, Vec<Label>>;

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
