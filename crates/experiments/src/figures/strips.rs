//! One point per instance and policy, policies one below the other.

use simulation::Metrics;

use super::WIDTH;
use super::axes::Axes;
use super::scale::{Scale, range};
use super::style::Style;
use super::svg::{Anchor, Svg, text_width};
use crate::results::InstanceRow;
use crate::statistics::{Series, series};
use crate::study::Study;

const LANE: f64 = 30.0;
/// What lies further below the best is counted and not drawn.
const FAR: f64 = 40.0;

/// What is measured along a strip.
struct Column {
    name: String,
    value: fn(&Metrics) -> f64,
    /// Where a logarithmic axis would begin; none for an axis that is always linear.
    unit: Option<f64>,
}

/// Quality and tardiness of every instance.
pub(crate) fn instances(study: &Study, rows: &[InstanceRow]) -> Svg {
    let columns = [
        Column { name: "mean quality".into(), value: |m| m.quality, unit: None },
        Column { name: "mean tardiness (s)".into(), value: |m| m.tardiness, unit: Some(1.0) },
    ];
    draw(study, &columns, |panel| series(rows, panel))
}

/// Reward above the first policy's on the same instance.
pub(crate) fn gain(study: &Study, rows: &[InstanceRow]) -> Svg {
    let base = study.file.shown(&study.file.policies[0]);
    let above_base = |what: &str| format!("{what} above {base}’s");
    let columns = [
        Column { name: above_base("quality"), value: |m| m.quality, unit: None },
        Column { name: above_base("reward"), value: |m| m.reward, unit: None },
    ];
    draw(study, &columns, |panel| {
        let mut all = series(rows, panel);
        let Some(first) = all.iter().position(|series| series.policy == base) else {
            return Vec::new();
        };
        let first = all.remove(first);
        // The clairvoyant has fewer instances than what is subtracted from it.
        all.iter().map(|series| above(series, &first)).collect()
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

fn draw(study: &Study, columns: &[Column; 2], of: impl Fn(&str) -> Vec<Series>) -> Svg {
    let panels: Vec<_> = (study.file.panels.iter()).map(|p| (&p.title, of(&p.name))).collect();
    let heights: Vec<f64> = panels.iter().map(|(_, all)| all.len() as f64 * LANE).collect();
    let height = 24.0 + heights.iter().map(|height| height + 92.0).sum::<f64>();
    let mut svg = Svg::new(WIDTH, height, &study.file.title);
    let names = panels.iter().flat_map(|(_, all)| all.iter().map(|s| text_width(&s.policy, 12.0)));
    let left = 44.0 + names.fold(0.0, f64::max);
    let width = (WIDTH - left - 20.0 - 44.0) / 2.0;
    let mut top = 40.0;
    for ((title, all), height) in panels.iter().zip(heights) {
        svg.text("heading", [8.0, top - 14.0], Anchor::Start, title);
        for (lane, series) in all.iter().enumerate() {
            let y = top + (lane as f64 + 0.5) * LANE;
            let style = Style::of(&series.policy);
            style.draw(&mut svg, [16.0, y], 4.2, "");
            svg.text("key", [28.0, y + 4.0], Anchor::Start, &series.policy);
        }
        for (index, column) in columns.iter().enumerate() {
            let axes = Axes { left: left + index as f64 * (width + 44.0), top, width, height };
            strips(&mut svg, &axes, column, all);
        }
        top += height + 92.0;
    }
    svg
}

fn strips(svg: &mut Svg, axes: &Axes, column: &Column, all: &[Series]) {
    let values =
        || all.iter().flat_map(|s| s.seeds.iter().flatten()).map(|metrics| (column.value)(metrics));
    let [mut low, mut high] = range(values());
    // A policy that falls off by orders of magnitude would squeeze all others into a line.
    if column.unit.is_none() && low < best(all, column) - FAR {
        low = best(all, column) - FAR;
        high = range(values().filter(|value| *value >= low))[1];
    }
    let x = match column.unit {
        Some(unit) => Scale::spreading([low.min(0.0), high], unit, axes.across()),
        None => Scale::linear([low, high], axes.across()),
    };
    axes.draw_x(svg, &x, &column.name);
    if low < 0.0 && column.unit.is_none() {
        let zero = x.at(0.0);
        svg.line("zero", [zero, axes.top], [zero, axes.bottom()]);
    }
    for (lane, series) in all.iter().enumerate() {
        let y = axes.top + (lane as f64 + 0.5) * LANE;
        svg.line("grid", [axes.left, y], [axes.right(), y]);
        let style = Style::of(&series.policy);
        let count = series.seeds.iter().map(Vec::len).sum::<usize>().max(2);
        let mut off = 0;
        for (number, metrics) in series.seeds.iter().flatten().enumerate() {
            let value = (column.value)(metrics);
            if value < low {
                off += 1;
                continue;
            }
            // Spread over the lane by a fixed pattern, so that points do not hide one another.
            let shift = (number as f64 * 0.618_033_988_75).fract() - 0.5;
            let small = if count > 120 { 1.7 } else { 2.6 };
            style.draw(svg, [x.at(value), y + shift * LANE * 0.6], small, "dot");
        }
        let values = series.seeds.iter().flatten().map(|metrics| (column.value)(metrics));
        let mean = values.sum::<f64>() / series.seeds.iter().map(Vec::len).sum::<usize>() as f64;
        if off > 0 {
            let text = format!("← {off} of {count} further left, mean {}", super::label(mean, 0));
            let size = [text_width(&text, 11.0) + 6.0, 16.0];
            svg.rect("paper", [axes.left + 3.0, y - 8.0], size, "");
            svg.text("note", [axes.left + 6.0, y + 4.0], Anchor::Start, &text);
        }
        if mean >= low {
            let at = x.at(mean);
            svg.line("mean", [at, y - LANE * 0.36], [at, y + LANE * 0.36]);
        }
    }
}

/// The highest of the policies' medians.
fn best(all: &[Series], column: &Column) -> f64 {
    let median = |series: &Series| {
        let values = series.seeds.iter().flatten().map(|metrics| (column.value)(metrics));
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    all.iter().map(median).fold(f64::NEG_INFINITY, f64::max)
}
