//! Means over what the panels sweep: quality, tardiness and reward, one panel each.

use simulation::Metrics;

use super::axes::Axes;
use super::scale::{Scale, range};
use super::style::Style;
use super::svg::Svg;
use super::{LABELS, WIDTH};
use crate::results::InstanceRow;
use crate::statistics::{Finding, Series, policies, series};
use crate::study::{Panel, Study};

const HEIGHT: f64 = 210.0;
const LINE: f64 = HEIGHT + 84.0;

/// Settings that stand side by side.
const ACROSS: usize = 2;

/// Settings side by side, what is measured one below the other.
pub(crate) fn sweep(study: &Study, rows: &[InstanceRow]) -> Svg {
    let panels = &study.file.panels;
    let lines = panels.len().div_ceil(ACROSS) * MEASURES.len();
    let mut svg = Svg::new(WIDTH, 30.0 + lines as f64 * LINE, &study.file.title);
    let share = WIDTH / panels.len().min(ACROSS) as f64;
    for (index, panel) in panels.iter().enumerate() {
        let all = series(rows, &panel.name);
        let left = (index % ACROSS) as f64 * share + 70.0;
        let above = index / ACROSS * MEASURES.len();
        for (line, measure) in MEASURES.iter().enumerate() {
            let top = 40.0 + (above + line) as f64 * LINE;
            let axes = Axes { left, top, width: share - 70.0 - LABELS, height: HEIGHT };
            if line == 0 {
                axes.heading(&mut svg, &panel.title);
            }
            draw(&mut svg, &axes, &study.panels[index], study.file.seed, &all, measure);
        }
    }
    svg
}

struct Measure {
    name: &'static str,
    value: fn(&Metrics) -> f64,
    scale: Kind,
}

#[derive(PartialEq)]
enum Kind {
    Linear,
    /// From 0, logarithmic if values spread over orders of magnitude.
    Spreading,
    /// What falls far below the best is named at the bottom and not shown.
    Best,
}

const MEASURES: [Measure; 3] = [
    Measure { name: "mean quality", value: |m| m.quality, scale: Kind::Linear },
    Measure { name: "mean tardiness (s)", value: |m| m.tardiness, scale: Kind::Spreading },
    Measure { name: "reward per request", value: |m| m.reward, scale: Kind::Best },
];

fn draw(svg: &mut Svg, axes: &Axes, panel: &Panel, seed: u64, all: &[Series], measure: &Measure) {
    let lines: Vec<(&str, Vec<(f64, Finding)>)> = (policies(all).into_iter())
        .map(|policy| {
            let points = all.iter().filter(|series| series.policy == policy);
            let point = |s: &Series| (s.x.unwrap_or(0.0), s.mean(measure.value, seed));
            (policy, points.map(point).collect())
        })
        .collect();
    let values = || lines.iter().flat_map(|(_, points)| points.iter().map(|p| p.1.estimate.mean));
    let best = values().fold(f64::NEG_INFINITY, f64::max);
    let floor = if measure.scale == Kind::Best { best - 28.0 } else { f64::NEG_INFINITY };
    let [low, high] = range(values().filter(|value| *value >= floor));
    let y = match measure.scale {
        Kind::Spreading => Scale::spreading([0.0, high], 1.0, axes.upwards()),
        Kind::Linear | Kind::Best => Scale::linear([low, high], axes.upwards()),
    };
    let at: Vec<(f64, &str)> =
        (panel.points.iter()).map(|point| (point.x.unwrap_or(0.0), point.label.as_str())).collect();
    let [first, last] = [at.first(), at.last()].map(|end| end.map_or(0.0, |end| end.0));
    let inset = axes.across();
    let x = Scale::linear([first, last], [inset[0] + 12.0, inset[1] - 12.0]);
    axes.draw_x_at(svg, &x, &at, &panel.axis);
    axes.draw_y(svg, &y, measure.name);
    let mut ends = Vec::new();
    svg.clip([axes.left, axes.top - 5.0], [axes.width, axes.height + 10.0]);
    for (policy, points) in &lines {
        let style = Style::of(policy);
        line(svg, style, points, &x, &y, axes.bottom() + 1000.0);
        let value = points[points.len() - 1].1.estimate.mean;
        let off = if value < low { " ↓" } else { "" };
        ends.push((y.clamped(value), style, format!("{policy}{off}")));
    }
    svg.end();
    axes.labels(svg, &ends);
}

/// A curve with its band over seeds, intervals and marks.
fn line(svg: &mut Svg, style: Style, points: &[(f64, Finding)], x: &Scale, y: &Scale, lowest: f64) {
    // Far below the panel a renderer's numbers run out.
    let height = |value: f64| y.at(value).min(lowest);
    let edge = |end: usize| {
        points.iter().filter_map(move |(at, finding)| {
            finding.seeds.map(|seeds| [x.at(*at), height(seeds[end])])
        })
    };
    let outline: Vec<_> = edge(0).chain(edge(1).rev()).collect();
    if !outline.is_empty() {
        svg.polygon(&format!("band {}", style.colour), &outline);
    }
    let curve = points.iter().map(|(at, finding)| [x.at(*at), height(finding.estimate.mean)]);
    let curve: Vec<_> = curve.collect();
    svg.polyline(&style.curve(), &curve);
    for (point, (_, finding)) in curve.iter().zip(points) {
        if let Some([low, high]) = finding.estimate.ci95 {
            let class = format!("interval {}", style.colour);
            svg.line(&class, [point[0], height(low)], [point[0], height(high)]);
        }
        style.draw(svg, *point, 3.6, "");
    }
}
