//! The rate of arrivals over time.

use super::Format;
use super::axes::{Axes, BELOW, heading};
use super::picture::Picture;
use super::scale::Scale;
use crate::workload::{PARTS, Workload};

const RATE: &str = "rate / mean";
const HEIGHT: f64 = 130.0;

/// A panel for each workload: the rate in equal parts of its time, against its mean.
pub(crate) fn rates(workloads: &[Workload]) -> Picture {
    let format = Format::PAGE;
    let mut picture = Picture::new(format, "Rate of arrivals over time");
    let mut top = 6.0;
    for workload in workloads {
        let counts = workload.parts();
        let mean = workload.arrivals.len() as f64 / PARTS as f64;
        let most = counts.iter().copied().fold(0.0, f64::max) / mean;
        let span = workload.arrivals[workload.arrivals.len() - 1];
        top += heading(&mut picture, [4.0, top], format.width - 8.0, &workload.name) + 6.0;
        let y = Scale::linear([0.0, 1.05 * most.max(1.0)], [top + HEIGHT, top]);
        let left = Axes::gutter(format, &y, RATE, HEIGHT);
        let axes = Axes { left, top, width: format.width - left - 20.0, height: HEIGHT };
        // Where all come at once there is no time to show.
        let x = Scale::linear([0.0, if span > 0.0 { span } else { 1.0 }], axes.across());
        axes.draw_x(&mut picture, &x, "time (s)");
        axes.draw_y(&mut picture, &y, RATE);
        let mut steps = Vec::with_capacity(2 * PARTS);
        for (part, count) in counts.iter().enumerate() {
            for end in [part, part + 1] {
                steps.push([x.at(span * end as f64 / PARTS as f64), y.at(count / mean)]);
            }
        }
        picture.polyline("curve p-blue", &steps);
        top += HEIGHT + BELOW + 16.0;
    }
    picture.height = top - 8.0;
    picture
}
