//! Reward over training episodes: a mean, a band over seeds, and the levels of the other policies.

use super::WIDTH;
use super::axes::Axes;
use super::scale::{Scale, label};
use super::style::Style;
use super::svg::{Anchor, Svg};
use crate::results::{CurveRow, InstanceRow};
use crate::statistics::{series, smoothed};
use crate::study::Study;

/// Updates that are averaged for one point of the curve.
const WINDOW: usize = 50;
const HEIGHT: f64 = 250.0;
/// Room for names and levels at the right.
const LABELS: f64 = 196.0;

/// One panel below the other, each with its own range of rewards.
pub(crate) fn learning_curve(study: &Study, rows: &[InstanceRow], curves: &[CurveRow]) -> Svg {
    let panels = &study.file.panels;
    let mut svg = Svg::new(WIDTH, 30.0 + panels.len() as f64 * (HEIGHT + 84.0), &study.file.title);
    for (index, panel) in panels.iter().enumerate() {
        let top = 40.0 + index as f64 * (HEIGHT + 84.0);
        let axes = Axes { left: 74.0, top, width: WIDTH - 74.0 - LABELS, height: HEIGHT };
        axes.heading(&mut svg, &panel.title);
        let curves: Vec<_> = (study.file.learned.iter())
            .map(|learned| Band::of(&learned.name, curves, &panel.name))
            .filter(|band| !band.points.is_empty())
            .collect();
        let levels: Vec<_> = (series(rows, &panel.name).into_iter())
            .filter(|series| curves.iter().all(|band| band.policy != series.policy))
            .map(|series| {
                let reward = series.mean(|m| m.reward, study.file.seed).estimate.mean;
                (series.policy, reward)
            })
            .collect();
        draw(&mut svg, &axes, &levels, &curves);
    }
    svg
}

/// The smoothed curves of one policy's seeds, point by point.
struct Band {
    policy: String,
    /// Episodes of the training.
    episodes: f64,
    /// Episode, lowest, mean and highest seed.
    points: Vec<(f64, [f64; 3])>,
}

impl Band {
    fn of(policy: &str, rows: &[CurveRow], panel: &str) -> Self {
        let rows = || rows.iter().filter(|row| row.policy == policy && row.panel == panel);
        let mut seeds: Vec<u64> = rows().map(|row| row.training_seed).collect();
        seeds.dedup();
        let curves: Vec<Vec<f64>> = (seeds.iter())
            .map(|&seed| {
                let curve = rows().filter(|row| row.training_seed == seed).map(|row| row.reward);
                smoothed(&curve.collect::<Vec<_>>(), WINDOW)
            })
            .collect();
        let length = curves.iter().map(Vec::len).min().unwrap_or(0);
        // More points than the figure has pixels only make the file larger.
        let step = (length / 600).max(1);
        let points = (0..length).step_by(step).map(|index| {
            let values = curves.iter().map(|curve| curve[index]);
            let [low, high] = values
                .clone()
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
            let mean = values.sum::<f64>() / curves.len() as f64;
            ((index + WINDOW) as f64, [low, mean, high])
        });
        let episodes = (length + WINDOW - 1) as f64;
        Self { policy: policy.into(), episodes, points: points.collect() }
    }
}

fn draw(svg: &mut Svg, axes: &Axes, levels: &[(String, f64)], bands: &[Band]) {
    let end = bands.iter().map(|band| band.episodes).fold(1.0, f64::max);
    let x = Scale::linear([0.0, end], axes.across());
    let [low, high] = rewards(levels, bands);
    let y = Scale::linear([low, high], axes.upwards());
    axes.draw_x(svg, &x, "training episode");
    axes.draw_y(svg, &y, "reward per request");
    let mut ends = Vec::new();
    svg.clip([axes.left, axes.top], [axes.width, axes.height]);
    for (policy, reward) in levels.iter().filter(|(_, reward)| *reward >= low) {
        let (style, height) = (Style::of(policy), y.at(*reward));
        svg.line(&format!("level {}", style.colour), [axes.left, height], [axes.right(), height]);
        ends.push((height, style, format!("{policy}  {}", label(*reward, 1))));
    }
    for band in bands {
        let style = Style::of(&band.policy);
        let line = |which: usize| {
            band.points.iter().map(move |(episode, reward)| {
                // Far below the panel a renderer's numbers run out.
                [x.at(*episode), y.at(reward[which]).min(axes.bottom() + 2000.0)]
            })
        };
        let outline: Vec<_> = line(0).chain(line(2).rev()).collect();
        svg.polygon(&format!("band {}", style.colour), &outline);
        svg.polyline(&style.curve(), &line(1).collect::<Vec<_>>());
        let reward = band.points[band.points.len() - 1].1[1];
        ends.push((y.clamped(reward), style, format!("{}  {}", band.policy, label(reward, 1))));
    }
    svg.end();
    axes.labels(svg, &ends);
    let below: Vec<_> = (levels.iter().filter(|(_, reward)| *reward < low))
        .map(|(policy, reward)| format!("{policy} {}", label(*reward, 0)))
        .collect();
    if !below.is_empty() {
        let note = format!("below the panel: {}", below.join(", "));
        svg.text("note", [axes.right(), axes.top - 12.0], Anchor::End, &note);
    }
}

/// The range that shows how the best compare; what lies far below is named instead.
fn rewards(levels: &[(String, f64)], bands: &[Band]) -> [f64; 2] {
    let best = |band: &Band| band.points.iter().map(|p| p.1[1]).fold(f64::NEG_INFINITY, f64::max);
    let tops = levels.iter().map(|level| level.1).chain(bands.iter().map(best));
    let high = tops.clone().fold(f64::NEG_INFINITY, f64::max);
    let near = |value: &f64| *value > high - 26.0;
    let low = tops.filter(near).fold(high - 12.0, f64::min);
    let room = 0.06 * (high - low);
    [low - room, high + room]
}
