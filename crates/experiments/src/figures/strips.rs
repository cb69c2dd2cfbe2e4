//! One point per instance and policy, policies one below the other, their means beneath the points.

use simulation::Metrics;

use super::Drawing;
use super::axes::{Axes, BELOW, heading};
use super::focus::{focus, widened, with_room};
use super::legend::{Towards, arrow};
use super::picture::{Anchor, Picture};
use super::scale::{Scale, brief};
use super::style::{Palette, Style};
use crate::results::InstanceRow;
use crate::statistics::{Finding, Series, policies, series};

const LANE: f64 = 34.0;
/// Between columns.
const GAP: f64 = 22.0;

/// What is measured along a strip.
struct Column {
    name: String,
    value: fn(&Metrics) -> f64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The higher the better; what is far below the best is counted and not shown.
    Focused,
    /// From 0, logarithmic if values spread over orders of magnitude.
    Spreading,
}

/// Quality and tardiness of every instance.
pub(crate) fn instances(drawing: &Drawing<'_>, rows: &[InstanceRow]) -> Picture {
    let columns = [
        Column { name: "mean quality".into(), value: |m| m.quality, kind: Kind::Focused },
        Column { name: "mean tardiness (s)".into(), value: |m| m.tardiness, kind: Kind::Spreading },
    ];
    draw(drawing, &columns, rows, |panel| series(rows, panel))
}

/// Quality and reward above the first policy's on the same instance.
pub(crate) fn gain(drawing: &Drawing<'_>, rows: &[InstanceRow]) -> Picture {
    let base = rows.first().map_or("", |row| row.policy.as_str());
    let columns = [
        Column { name: format!("quality above {base}’s"), value: |m| m.quality, kind: Kind::Focused },
        Column { name: format!("reward above {base}’s"), value: |m| m.reward, kind: Kind::Focused },
    ];
    draw(drawing, &columns, rows, |panel| {
        let all = series(rows, panel);
        let Some((first, others)) = all.split_first() else { return Vec::new() };
        others.iter().map(|series| above(series, first)).collect()
    })
}

/// The same series with quality and reward counted from another's.
fn above(series: &Series, base: &Series) -> Series {
    let [quality, reward] =
        [base.mean_over_seeds(|m| m.quality), base.mean_over_seeds(|m| m.reward)];
    let seeds = (series.seeds.iter())
        .map(|seed| {
            let pairs = seed.iter().zip(quality.iter().zip(&reward));
            pairs
                .map(|(m, (q, r))| Metrics { quality: m.quality - q, reward: m.reward - r, ..*m })
                .collect()
        })
        .collect();
    Series { policy: series.policy.clone(), x: series.x, seeds }
}

fn draw(
    drawing: &Drawing<'_>,
    columns: &[Column; 2],
    rows: &[InstanceRow],
    of: impl Fn(&str) -> Vec<Series>,
) -> Picture {
    let format = drawing.format;
    let whole: Vec<Vec<Series>> =
        drawing.study.file.panels.iter().map(|panel| series(rows, &panel.name)).collect();
    let palette = Palette::of(&policies(&whole.concat()));
    let panels: Vec<Vec<Series>> = drawing.panels.iter().map(|panel| of(&panel.name)).collect();
    let names = panels.iter().flatten().map(|s| format.text_width("key", &s.policy));
    let names = 26.0 + names.fold(0.0, f64::max) + 10.0;
    let abreast = if format.is_wide() { 2 } else { 1 };
    let width = (format.width - names - 10.0 - GAP * (abreast - 1) as f64) / abreast as f64;
    let mut picture = Picture::new(format, drawing.title);
    let mut top = 4.0;
    for (index, all) in panels.iter().enumerate() {
        top += heading(&mut picture, [4.0, top], format.width - 8.0, &drawing.heading(index));
        top += 6.0;
        let height = all.len() as f64 * lane(drawing);
        for (number, column) in columns.iter().enumerate() {
            if number % abreast == 0 {
                for (place, series) in all.iter().enumerate() {
                    let y = top + (place as f64 + 0.5) * lane(drawing);
                    palette.style(&series.policy).draw(&mut picture, [12.0, y], 4.0, "");
                    picture.text("key", [24.0, y + 4.0], Anchor::Start, &series.policy);
                }
            }
            let left = names + (number % abreast) as f64 * (width + GAP);
            let axes = Axes { left, top, width, height };
            let lanes = (all.iter())
                .map(|series| Lane::of(series, column, &palette, drawing.study.file.seed))
                .collect();
            Strips { lanes, column }.draw(&mut picture, &axes, lane(drawing));
            if number % abreast == abreast - 1 {
                top += height + BELOW + 10.0;
            }
        }
        top += 6.0;
    }
    picture.height = top - 10.0;
    picture
}

fn lane(drawing: &Drawing<'_>) -> f64 {
    if drawing.format.is_wide() { drawing.format.height(LANE).max(28.0) } else { 27.0 }
}

/// One policy: its points, and their mean.
struct Lane {
    style: Style,
    values: Vec<f64>,
    mean: Finding,
}

impl Lane {
    fn of(series: &Series, column: &Column, palette: &Palette, seed: u64) -> Self {
        Self {
            style: palette.style(&series.policy),
            values: series.seeds.iter().flatten().map(column.value).collect(),
            mean: series.mean(column.value, seed),
        }
    }
}

struct Strips<'a> {
    lanes: Vec<Lane>,
    column: &'a Column,
}

impl Strips<'_> {
    fn range(&self) -> [f64; 2] {
        let values = || self.lanes.iter().flat_map(|lane| &lane.values).copied();
        let intervals = || self.lanes.iter().flat_map(|lane| lane.mean.range());
        let highest = values().chain(intervals()).fold(f64::NEG_INFINITY, f64::max);
        if self.column.kind == Kind::Spreading {
            return [0.0, with_room([0.0, highest.max(0.0)])[1]];
        }
        let means = self.lanes.iter().map(|lane| lane.mean.estimate.mean).collect();
        let [low, high] = focus(&[means]);
        let [low, _] = widened([low, high], values().chain(intervals()));
        with_room([low, high.max(highest)])
    }

    fn draw(&self, picture: &mut Picture, axes: &Axes, height: f64) {
        if self.lanes.is_empty() {
            return;
        }
        let [low, high] = self.range();
        let x = match self.column.kind {
            Kind::Spreading => Scale::spreading([low, high], 1.0, axes.across()),
            Kind::Focused => Scale::linear([low, high], axes.across()),
        };
        axes.draw_x(picture, &x, &self.column.name);
        if low < 0.0 && high > 0.0 {
            picture.line("zero", [x.at(0.0), axes.top], [x.at(0.0), axes.bottom()]);
        }
        for (place, lane) in self.lanes.iter().enumerate() {
            let top = axes.top + place as f64 * height;
            if place > 0 {
                picture.line("grid", [axes.left, top], [axes.right(), top]);
            }
            let size = if lane.values.len() > 120 { 1.6 } else { 2.3 };
            let (first, last) = (top + 4.0, top + 0.6 * height - 2.0);
            for (number, value) in lane.values.iter().enumerate().filter(|(_, v)| **v >= low) {
                // Spread over the lane by a fixed pattern, so that points do not hide one another.
                let share = (number as f64 * 0.618_033_988_75).fract();
                let at = [x.at(*value), first + share * (last - first)];
                lane.style.draw(picture, at, size, "dot");
            }
            mean(picture, lane, &x, low, top + 0.8 * height);
        }
    }
}

/// The mean with its interval, below the points; at the left edge what lies beyond it.
fn mean(picture: &mut Picture, lane: &Lane, x: &Scale, low: f64, y: f64) {
    let Finding { estimate, .. } = lane.mean;
    let colour = lane.style.colour;
    let mut free = x.at(low);
    if estimate.mean >= low {
        let [from, to] = estimate.ci95.unwrap_or([estimate.mean; 2]).map(|end| x.clamped(end));
        picture.line(&format!("interval {colour}"), [from, y], [to, y]);
        let at = x.at(estimate.mean);
        picture.line(&format!("mean {colour}"), [at, y - 4.5], [at, y + 4.5]);
        free = from.min(at) - free;
    }
    let beyond = lane.values.iter().filter(|value| **value < low).count();
    if beyond == 0 {
        return;
    }
    let (all, lowest) =
        (lane.values.len(), lane.values.iter().copied().fold(f64::INFINITY, f64::min));
    let text = if estimate.mean < low {
        format!("mean {}; {beyond} of {all} beyond", brief(estimate.mean))
    } else {
        format!("{beyond} of {all} beyond, down to {}", brief(lowest))
    };
    let edge = x.at(low) + 3.0;
    arrow(picture, colour, [edge, y], Towards::Left);
    // Where the mean stands in the way, what is beyond is told behind it.
    let width = picture.text_width("note", &text);
    let start = if estimate.mean < low || free > width + 18.0 {
        edge + 11.0
    } else {
        x.at(estimate.mean).max(x.clamped(lane.mean.range()[1])) + 8.0
    };
    picture.text("note", [start, y + 3.6], Anchor::Start, &text);
}
