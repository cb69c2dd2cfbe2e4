//! The distribution of quality and of tardiness over the requests of an instance.

use super::axes::Axes;
use super::scale::{Scale, range};
use super::style::Style;
use super::svg::{Anchor, Svg};
use super::{LABELS, WIDTH};
use crate::results::RequestRow;
use crate::study::Study;

const HEIGHT: f64 = 230.0;

/// Empirical distribution functions: nothing is lost to bins, and shares can be read off.
pub(crate) fn distribution(study: &Study, rows: &[RequestRow]) -> Svg {
    let panels = &study.file.panels;
    let mut svg = Svg::new(WIDTH, 30.0 + panels.len() as f64 * (HEIGHT + 84.0), &study.file.title);
    let width = (WIDTH - 66.0 - LABELS - 60.0) / 2.0;
    for (index, panel) in panels.iter().enumerate() {
        let top = 40.0 + index as f64 * (HEIGHT + 84.0);
        let samples = samples(rows, &panel.name);
        for (column, (name, value)) in COLUMNS.into_iter().enumerate() {
            let left = 66.0 + column as f64 * (width + 60.0);
            let axes = Axes { left, top, width, height: HEIGHT };
            if column == 0 {
                axes.heading(&mut svg, &panel.title);
            }
            curves(&mut svg, &axes, name, column == 1, &samples, value);
        }
        let x = WIDTH - LABELS + 14.0;
        for (line, sample) in samples.iter().enumerate() {
            let (y, style) = (top + 12.0 + 20.0 * line as f64, Style::of(&sample.policy));
            svg.line(&style.curve(), [x, y], [x + 20.0, y]);
            style.draw(&mut svg, [x + 10.0, y], 3.4, "");
            svg.text("key", [x + 27.0, y + 4.0], Anchor::Start, &sample.policy);
        }
    }
    svg
}

type Value = fn(&RequestRow) -> f64;

const COLUMNS: [(&str, Value); 2] =
    [("quality", |row| row.quality), ("tardiness (s)", |row| row.tardiness)];

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

fn curves(
    svg: &mut Svg,
    axes: &Axes,
    name: &str,
    spreading: bool,
    samples: &[Sample<'_>],
    value: Value,
) {
    let sorted = |rows: &[&RequestRow]| {
        let mut values: Vec<f64> = rows.iter().map(|row| value(row)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let samples: Vec<(Style, Vec<Vec<f64>>)> = (samples.iter())
        .map(|sample| {
            (Style::of(&sample.policy), sample.seeds.iter().map(|rows| sorted(rows)).collect())
        })
        .collect();
    let values = || samples.iter().flat_map(|(_, seeds)| seeds.iter().flatten().copied());
    let [low, high] = range(values());
    let x = if spreading {
        Scale::spreading([0.0, high], 1.0, axes.across())
    } else {
        Scale::linear([low, high], axes.across())
    };
    let y = Scale::linear([0.0, 100.0], axes.upwards());
    axes.draw_x(svg, &x, name);
    axes.draw_y(svg, &y, "requests with at most this (%)");
    // The pixels of the axis, as values.
    let grid = grid(&x, axes);
    for (style, seeds) in &samples {
        let share = |seed: &Vec<f64>, at: f64| {
            100.0 * seed.partition_point(|value| *value <= at) as f64 / seed.len() as f64
        };
        let mut line = Vec::new();
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for &(position, at) in &grid {
            let shares: Vec<f64> = seeds.iter().map(|seed| share(seed, at)).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            line.push([position, y.at(mean)]);
            lower.push([position, y.at(shares.iter().copied().fold(f64::INFINITY, f64::min))]);
            upper.push([position, y.at(shares.iter().copied().fold(0.0, f64::max))]);
        }
        if seeds.len() > 1 {
            upper.reverse();
            let outline = [lower, upper].concat();
            svg.polygon(&format!("band {}", style.colour), &outline);
        }
        svg.polyline(&style.curve(), &line);
        mark(svg, *style, &line, axes);
    }
}

/// One mark where the curve passes the middle of the panel's height, or at its left end.
fn mark(svg: &mut Svg, style: Style, line: &[[f64; 2]], axes: &Axes) {
    let middle = axes.top + axes.height / 2.0;
    if let Some(after) = line.iter().position(|point| point[1] <= middle) {
        let [x, y] = line[after];
        // On a jump the mark belongs to its middle.
        let y = if after > 0 { f64::midpoint(y, line[after - 1][1]) } else { y };
        style.draw(svg, [x, y], 3.4, "");
    }
}

/// Positions across the panel and the values that stand there.
fn grid(scale: &Scale, axes: &Axes) -> Vec<(f64, f64)> {
    let count = 2 * axes.width as usize;
    let positions = (0..=count).map(|index| axes.left + axes.width * index as f64 / count as f64);
    positions.map(|position| (position, scale.value_at(position))).collect()
}
