//! The distribution of quality and of tardiness over the requests of an instance.

use super::Drawing;
use super::axes::{Axes, BELOW, heading};
use super::focus::with_room;
use super::legend::{Entry, legend};
use super::picture::{Picture, Point};
use super::scale::Scale;
use super::style::{Palette, Style};
use super::weave::woven;
use crate::results::RequestRow;

const SHARE: &str = "requests with at most this (%)";
const HEIGHT: f64 = 220.0;
/// Between panels that stand side by side.
const GAP: f64 = 16.0;

/// Empirical distribution functions: nothing is lost to bins, and shares can be read off.
pub(crate) fn distribution(drawing: &Drawing<'_>, rows: &[RequestRow]) -> Picture {
    let format = drawing.format;
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.policy.as_str()) {
            names.push(&row.policy);
        }
    }
    let palette = Palette::of(&names);
    let panels: Vec<Vec<Sample<'_>>> =
        drawing.panels.iter().map(|panel| samples(rows, &panel.name)).collect();
    let mut picture = Picture::new(format, drawing.title);
    let mut top = 4.0;
    top += legend(&mut picture, [8.0, top], format.width - 16.0, &entries(&panels, &palette));
    let abreast = if format.is_wide() { 2 } else { 1 };
    let share = (format.width - GAP * (abreast - 1) as f64) / abreast as f64;
    let height = format.height(HEIGHT);
    for (index, samples) in panels.iter().enumerate() {
        top += 12.0;
        top += heading(&mut picture, [4.0, top], format.width - 8.0, &drawing.heading(index));
        top += 8.0;
        for (number, column) in COLUMNS.iter().enumerate() {
            let y = Scale::linear([0.0, 100.0], [top + height, top]);
            let gutter = Axes::gutter(format, &y, SHARE, height);
            let left = (number % abreast) as f64 * (share + GAP) + gutter;
            // The last tick of the axis is centred on the edge.
            let axes = Axes { left, top, width: share - gutter - 14.0, height };
            column.draw(&mut picture, &axes, &y, samples, &palette);
            if number % abreast == abreast - 1 {
                top += height + BELOW + 8.0;
            }
        }
    }
    picture.height = top - 4.0;
    picture
}

fn entries(panels: &[Vec<Sample<'_>>], palette: &Palette) -> Vec<Entry> {
    let samples = || panels.iter().flatten();
    let shown = palette.policies().filter(|(name, _)| samples().any(|s| s.policy == *name));
    let mut all: Vec<Entry> =
        shown.map(|(name, style)| Entry::Policy(style, name.to_owned())).collect();
    if samples().any(|sample| sample.seeds.len() > 1) {
        all.push(Entry::Range);
    }
    all
}

/// What is measured, and along which kind of axis.
struct Column {
    name: &'static str,
    value: fn(&RequestRow) -> f64,
    kind: Kind,
}

enum Kind {
    Linear,
    /// From 0, logarithmic if values spread over orders of magnitude.
    Spreading,
}

const COLUMNS: [Column; 2] = [
    Column { name: "quality", value: |row| row.quality, kind: Kind::Linear },
    Column { name: "tardiness (s)", value: |row| row.tardiness, kind: Kind::Spreading },
];

/// The requests of one policy, by training seed.
struct Sample<'a> {
    policy: String,
    seeds: Vec<Vec<&'a RequestRow>>,
}

fn samples<'a>(rows: &'a [RequestRow], panel: &str) -> Vec<Sample<'a>> {
    let mut all: Vec<Sample<'_>> = Vec::new();
    let mut last = None;
    for row in rows.iter().filter(|row| row.panel == panel) {
        if all.last().is_none_or(|sample| sample.policy != row.policy) {
            all.push(Sample { policy: row.policy.clone(), seeds: Vec::new() });
            last = None;
        }
        let sample = all.last_mut().expect("one was pushed");
        if last != Some(row.training_seed) {
            sample.seeds.push(Vec::new());
            last = Some(row.training_seed);
        }
        sample.seeds.last_mut().expect("one was pushed").push(row);
    }
    all
}

impl Column {
    fn draw(
        &self,
        picture: &mut Picture,
        axes: &Axes,
        y: &Scale,
        samples: &[Sample<'_>],
        palette: &Palette,
    ) {
        let sorted = |rows: &Vec<&RequestRow>| {
            let mut values: Vec<f64> = rows.iter().map(|row| (self.value)(row)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let samples: Vec<(Style, Vec<Vec<f64>>)> = (samples.iter())
            .map(|s| (palette.style(&s.policy), s.seeds.iter().map(sorted).collect()))
            .collect();
        let values = samples.iter().flat_map(|(_, seeds)| seeds.iter().flatten().copied());
        let ends =
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
        if ends[0] > ends[1] {
            return;
        }
        let [low, high] = with_room(ends);
        let x = match self.kind {
            Kind::Spreading => Scale::spreading([0.0, high], 1.0, axes.across()),
            Kind::Linear => Scale::linear([low, high], axes.across()),
        };
        axes.draw_x(picture, &x, self.name);
        axes.draw_y(picture, y, SHARE);
        let grid = grid(&x, axes);
        let mut lines = Vec::new();
        for (style, seeds) in &samples {
            let edges = edges(seeds, &grid, y);
            if seeds.len() > 1 {
                let outline: Vec<_> =
                    edges[0].iter().chain(edges[2].iter().rev()).copied().collect();
                picture.polygon(&format!("band {}", style.colour), &outline);
            }
            let [_, mean, _] = edges;
            lines.push(vec![mean]);
        }
        for ((style, _), pieces) in samples.iter().zip(woven(&lines)) {
            for piece in pieces {
                picture.polyline(&style.curve(), &piece);
            }
        }
        // Each at a height of its own, so that the marks of curves that coincide are apart.
        for (index, ((style, _), line)) in samples.iter().zip(&lines).enumerate() {
            let share = (index as f64 + 0.75) / (samples.len() as f64 + 0.5);
            mark(picture, *style, &line[0], axes, share);
        }
    }
}

/// Lines through the lowest, the mean and the highest share of a training seed.
fn edges(seeds: &[Vec<f64>], grid: &[(f64, f64)], y: &Scale) -> [Vec<Point>; 3] {
    let share = |seed: &Vec<f64>, at: f64| {
        100.0 * seed.partition_point(|value| *value <= at) as f64 / seed.len() as f64
    };
    let mut edges: [Vec<Point>; 3] = Default::default();
    for &(position, at) in grid {
        let shares: Vec<f64> = seeds.iter().map(|seed| share(seed, at)).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let [low, high] =
            shares.iter().fold([f64::INFINITY, 0.0_f64], |[l, h], s| [l.min(*s), h.max(*s)]);
        for (edge, share) in edges.iter_mut().zip([low, mean, high]) {
            let point = [position, y.at(share)];
            // The middle of a level part says nothing new.
            if let [.., before, last] = edge[..]
                && before[1] == point[1]
                && last[1] == point[1]
            {
                edge.pop();
            }
            edge.push(point);
        }
    }
    edges
}

/// One mark where the curve passes this share of the height, or of the width where it is above
/// that from the beginning.
fn mark(picture: &mut Picture, style: Style, line: &[Point], axes: &Axes, share: f64) {
    let passed = |axis: usize, value: f64| {
        let beyond = |point: &Point| if axis == 0 { point[0] >= value } else { point[1] <= value };
        let after = line.iter().position(beyond).filter(|after| *after > 0)?;
        let (from, to) = (line[after - 1], line[after]);
        let part = (value - from[axis]) / (to[axis] - from[axis]);
        Some([0, 1].map(|axis| from[axis] + part * (to[axis] - from[axis])))
    };
    let at = passed(1, axes.bottom() - share * axes.height)
        .or_else(|| passed(0, axes.left + share * axes.width));
    if let Some(at) = at {
        style.draw(picture, at, 3.4, "");
    }
}

/// Positions across the panel and the values that stand there.
fn grid(scale: &Scale, axes: &Axes) -> Vec<(f64, f64)> {
    let count = 2 * axes.width as usize;
    let positions = (0..=count).map(|index| axes.left + axes.width * index as f64 / count as f64);
    positions.map(|position| (position, scale.value_at(position))).collect()
}
