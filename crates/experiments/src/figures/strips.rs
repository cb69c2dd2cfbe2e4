//! One point per instance and policy, policies one below the other, their means beneath the points.

use simulation::Metrics;

use super::Drawing;
use super::axes::{Axes, BELOW, heading, heading_height};
use super::focus::{Shown, focus, widened, with_room};
use super::legend::{Towards, arrow};
use super::picture::{Anchor, Picture};
use super::scale::{Scale, brief};
use super::style::{Palette, Style};
use crate::results::InstanceRow;
use crate::statistics::{Finding, Series, policies, series};

const LANE: f64 = 34.0;
/// Panels that are shown with two measures.
const MOST: usize = 3;
/// Between columns.
const GAP: f64 = 22.0;

/// What is measured along a strip.
struct Column {
    name: String,
    value: fn(&Metrics) -> f64,
    shown: Shown,
    /// A value that others are compared with, beside those of the policies.
    base: Option<f64>,
}

/// Quality and tardiness of every instance.
pub(crate) fn instances(drawing: &Drawing<'_>, rows: &[InstanceRow]) -> Picture {
    let columns = [
        Column {
            name: "mean quality".into(),
            value: |m| m.quality,
            shown: Shown::Focused,
            base: None,
        },
        Column {
            name: "mean tardiness (s)".into(),
            value: |m| m.tardiness,
            shown: Shown::Spreading,
            base: None,
        },
    ];
    draw(drawing, &columns, rows, |panel| series(rows, panel))
}

/// Quality and reward above the first policy's on the same instance.
pub(crate) fn gain(drawing: &Drawing<'_>, rows: &[InstanceRow]) -> Picture {
    let base = drawing.study.file.shown(&drawing.study.file.policies[0]);
    let columns = [
        Column {
            name: format!("quality above {base}’s"),
            value: |m| m.quality,
            shown: Shown::Focused,
            base: Some(0.0),
        },
        Column {
            name: format!("reward above {base}’s"),
            value: |m| m.reward,
            shown: Shown::Focused,
            base: Some(0.0),
        },
    ];
    // Many panels leave room for the reward alone.
    let columns = if drawing.study.file.panels.len() > MOST { &columns[1..] } else { &columns };
    draw(drawing, columns, rows, |panel| {
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

fn draw(
    drawing: &Drawing<'_>,
    columns: &[Column],
    rows: &[InstanceRow],
    of: impl Fn(&str) -> Vec<Series>,
) -> Picture {
    let format = drawing.format;
    let whole: Vec<Vec<Series>> =
        drawing.study.file.panels.iter().map(|panel| series(rows, &panel.name)).collect();
    let palette = Palette::of(&policies(&whole.concat()));
    let panels: Vec<Vec<Series>> = drawing.panels.iter().map(|panel| of(&panel.name)).collect();
    let shown = panels.concat();
    let names: Vec<&str> = policies(&shown);
    let widths = names.iter().map(|name| format.text_width("key", name));
    let left = 26.0 + widths.fold(0.0, f64::max) + 10.0;
    // A panel's measures stand side by side, and many panels too.
    let cells: Vec<(usize, &Column)> =
        (0..panels.len()).flat_map(|index| columns.iter().map(move |c| (index, c))).collect();
    let abreast = match columns.len() {
        _ if !format.is_wide() => 1,
        1 => 3,
        several => several,
    };
    let width = (format.width - left - 10.0 - GAP * (abreast - 1) as f64) / abreast as f64;
    let lane = if format.is_wide() { format.height(LANE).max(28.0) } else { 27.0 };
    let height = names.len() as f64 * lane;
    let mut picture = Picture::new(format, drawing.title);
    let mut top = 4.0;
    for line in cells.chunks(abreast) {
        let at = |place: usize| left + place as f64 * (width + GAP);
        let mut headings: Vec<(f64, f64, usize)> = Vec::new();
        for (place, (index, column)) in line.iter().enumerate() {
            if abreast > columns.len() {
                headings.push((at(place), width, *index));
            } else if column.name == columns[0].name {
                headings.push((4.0, format.width - 8.0, *index));
            }
        }
        let tall = headings
            .iter()
            .map(|&(_, width, index)| heading_height(format, width, &drawing.heading(index)));
        let tall = tall.fold(0.0, f64::max);
        for &(x, width, index) in &headings {
            heading(&mut picture, [x, top], width, &drawing.heading(index));
        }
        top += tall + 6.0;
        for (place, name) in names.iter().enumerate() {
            let y = top + (place as f64 + 0.5) * lane;
            palette.style(name).draw(&mut picture, [12.0, y], 4.0, "");
            picture.text("key", [24.0, y + 4.0], Anchor::Start, name);
        }
        for (place, (index, column)) in line.iter().enumerate() {
            let axes = Axes { left: at(place), top, width, height };
            let own = |name: &&str| panels[*index].iter().find(|s| s.policy == **name);
            let lanes = (names.iter())
                .map(|name| {
                    own(name).map(|s| Lane::of(s, column, &palette, drawing.study.file.seed))
                })
                .collect();
            Strips { lanes, column }.draw(&mut picture, &axes, lane);
        }
        top += height + BELOW + 14.0;
    }
    picture.height = top - 10.0;
    picture
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
    /// One for each policy of the figure; none where the panel has not got it.
    lanes: Vec<Option<Lane>>,
    column: &'a Column,
}

impl Strips<'_> {
    fn range(&self) -> [f64; 2] {
        let lanes = || self.lanes.iter().flatten();
        let values = || lanes().flat_map(|lane| &lane.values).copied();
        let intervals = || lanes().flat_map(|lane| lane.mean.range());
        let highest = values().chain(intervals()).fold(f64::NEG_INFINITY, f64::max);
        if self.column.shown == Shown::Spreading {
            return [0.0, with_room([0.0, highest.max(0.0)])[1]];
        }
        let means = lanes().map(|lane| lane.mean.estimate.mean).chain(self.column.base).collect();
        let [low, high] = focus(&[means]);
        let [low, _] = widened([low, high], values().chain(intervals()));
        with_room([low, high.max(highest)])
    }

    fn draw(&self, picture: &mut Picture, axes: &Axes, height: f64) {
        if self.lanes.iter().all(Option::is_none) {
            return;
        }
        let [low, high] = self.range();
        let x = self.column.shown.scale([low, high], axes.across());
        axes.draw_x(picture, &x, &self.column.name);
        if low < 0.0 && high > 0.0 {
            picture.line("zero", [x.at(0.0), axes.top], [x.at(0.0), axes.bottom()]);
        }
        for (place, lane) in self.lanes.iter().enumerate() {
            let top = axes.top + place as f64 * height;
            if place > 0 {
                picture.line("grid", [axes.left, top], [axes.right(), top]);
            }
            let Some(lane) = lane else { continue };
            let size = if lane.values.len() > 120 { 1.6 } else { 2.3 };
            let (first, last) = (top + 4.0, top + 0.6 * height - 2.0);
            for (number, value) in lane.values.iter().enumerate().filter(|(_, v)| **v >= low) {
                // Spread over the lane by a fixed pattern, so that points do not hide one another.
                let share = (number as f64 * 0.618_033_988_75).fract();
                let at = [x.at(*value), first + share * (last - first)];
                lane.style.draw(picture, at, size, "dot");
            }
            mean(picture, lane, &x, axes, top + 0.8 * height);
        }
    }
}

/// The mean with its interval, below the points; at the left edge what lies beyond it.
fn mean(picture: &mut Picture, lane: &Lane, x: &Scale, axes: &Axes, y: f64) {
    let Finding { estimate, .. } = lane.mean;
    let (low, colour) = (x.values()[0], lane.style.colour);
    // What the mean and its interval take up.
    let mut taken = [axes.left, axes.left + 6.0];
    if estimate.mean >= low {
        let [from, to] = estimate.ci95.unwrap_or([estimate.mean; 2]).map(|end| x.clamped(end));
        picture.line(&format!("interval {colour}"), [from, y], [to, y]);
        let at = x.at(estimate.mean);
        picture.line(&format!("mean {colour}"), [at, y - 4.5], [at, y + 4.5]);
        taken = [from.min(at), to.max(at)];
    }
    let beyond = lane.values.iter().filter(|value| **value < low).count();
    if beyond == 0 {
        return;
    }
    arrow(picture, colour, [axes.left + 3.0, y], Towards::Left);
    let count = format!("{beyond} of {}", lane.values.len());
    let lowest = lane.values.iter().copied().fold(f64::INFINITY, f64::min);
    let texts = if estimate.mean < low {
        [
            format!("mean {}; {count}", brief(estimate.mean)),
            format!("mean {}", brief(estimate.mean)),
        ]
    } else {
        [format!("{count}, down to {}", brief(lowest)), count]
    };
    // Before the mean or behind it, whichever has the room.
    let spans = [[axes.left + 14.0, taken[0] - 6.0], [taken[1] + 8.0, axes.right()]];
    for text in texts {
        let width = picture.text_width("note", &text);
        if let Some([start, _]) = spans.iter().find(|[start, end]| end - start >= width) {
            picture.text("note", [*start, y + 3.6], Anchor::Start, &text);
            return;
        }
    }
}
