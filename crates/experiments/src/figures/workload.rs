//! The rate of arrivals over time.

use super::WIDTH;
use super::axes::Axes;
use super::scale::Scale;
use super::svg::Svg;
use crate::workload::{PARTS, Workload};

const HEIGHT: f64 = 130.0;
const GAP: f64 = 74.0;

/// A panel for each workload: the rate in equal parts of its time, against its mean.
pub(crate) fn rates(workloads: &[Workload]) -> Svg {
    let height = 30.0 + workloads.len() as f64 * (HEIGHT + GAP);
    let mut svg = Svg::new(WIDTH, height, "Rate of arrivals over time");
    for (index, workload) in workloads.iter().enumerate() {
        let top = 40.0 + index as f64 * (HEIGHT + GAP);
        let axes = Axes { left: 66.0, top, width: WIDTH - 96.0, height: HEIGHT };
        let counts = workload.parts();
        let mean = workload.arrivals.len() as f64 / PARTS as f64;
        let most = counts.iter().copied().fold(0.0, f64::max) / mean;
        let span = workload.arrivals[workload.arrivals.len() - 1];
        // Where all come at once there is no time to show.
        let x = Scale::linear([0.0, if span > 0.0 { span } else { 1.0 }], axes.across());
        let y = Scale::linear([0.0, most.max(1.0)], axes.upwards());
        axes.heading(&mut svg, &workload.name);
        axes.draw_x(&mut svg, &x, "time (s)");
        axes.draw_y(&mut svg, &y, "rate / mean");
        let mut steps = Vec::with_capacity(2 * PARTS);
        for (part, count) in counts.iter().enumerate() {
            for end in [part, part + 1] {
                steps.push([x.at(span * end as f64 / PARTS as f64), y.at(count / mean)]);
            }
        }
        svg.polyline("curve p-blue", &steps);
    }
    svg
}
