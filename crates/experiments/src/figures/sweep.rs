//! Means over what the panels sweep: quality, tardiness and reward, one panel each.

use simulation::Metrics;

use super::Drawing;
use super::axes::{Axes, BELOW, heading, heading_height};
use super::focus::{Shown, focus, widened, with_room};
use super::legend::{Entry, Towards, arrow, legend};
use super::picture::{Anchor, Picture, Point};
use super::scale::{Scale, brief, plain};
use super::style::{Palette, Style};
use super::trim::{trimmed_line, trimmed_polygon};
use super::weave::woven;
use crate::results::InstanceRow;
use crate::statistics::{Finding, Series, policies, series};
use crate::study::Point as Place;

const HEIGHT: f64 = 190.0;
/// Between panels that stand side by side.
const GAP: f64 = 14.0;
/// A panel with its axis is at least so wide.
const NARROWEST: f64 = 205.0;
/// A line of values that lie beyond the axis.
const LINE: f64 = 13.0;

/// Settings side by side, what is measured one below the other, under one legend.
pub(crate) fn sweep(drawing: &Drawing<'_>, rows: &[InstanceRow]) -> Picture {
    let (format, seed) = (drawing.format, drawing.study.file.seed);
    let all: Vec<Vec<Series>> =
        drawing.study.file.panels.iter().map(|panel| series(rows, &panel.name)).collect();
    // Of all panels, so that a policy looks alike wherever one of them is drawn alone.
    let palette = Palette::of(&policies(&all.concat()));
    let panels: Vec<Panel> = (drawing.panels.iter().enumerate())
        .map(|(index, panel)| {
            let all = series(rows, &panel.name);
            Panel {
                heading: drawing.heading(index),
                axis: &drawing.setting(index).axis,
                points: &drawing.setting(index).points,
                views: MEASURES.map(|measure| View::of(&all, measure, &palette, seed)),
            }
        })
        .collect();
    let mut picture = Picture::new(format, drawing.title);
    let mut top = 4.0;
    top += legend(&mut picture, [8.0, top], format.width - 16.0, &entries(&panels, &palette));
    let abreast = panels.len().min((format.width / NARROWEST) as usize).max(1);
    for panels in panels.chunks(abreast) {
        top = row_of_panels(&mut picture, panels, abreast, top + 12.0);
    }
    picture.height = top;
    picture
}

/// What of the legend is needed.
fn entries(panels: &[Panel<'_>], palette: &Palette) -> Vec<Entry> {
    let views = || panels.iter().flat_map(|panel| &panel.views);
    let shown = |style: Style| views().any(|view| view.lines.iter().any(|line| line.0 == style));
    let policies = palette.policies().filter(|(_, style)| shown(*style));
    let mut all: Vec<Entry> =
        policies.map(|(name, style)| Entry::Policy(style, name.to_owned())).collect();
    let findings = || views().flat_map(|v| v.lines.iter().flat_map(|line| &line.1));
    if findings().any(|(_, finding)| finding.estimate.ci95.is_some()) {
        all.push(Entry::Interval);
    }
    if findings().any(|(_, finding)| finding.seeds.is_some()) {
        all.push(Entry::Range);
    }
    if views().any(|view| !view.beyond.is_empty()) {
        all.push(Entry::Arrow);
    }
    all
}

struct Panel<'a> {
    heading: String,
    /// Name and unit of what is swept.
    axis: &'a str,
    /// The values of what is swept, and what they are called.
    points: &'a [Place],
    views: [View; 3],
}

/// Draws panels side by side and returns the height below them.
fn row_of_panels(picture: &mut Picture, panels: &[Panel<'_>], abreast: usize, top: f64) -> f64 {
    let share = (picture.format.width - GAP * (abreast - 1) as f64) / abreast as f64;
    let left = |index: usize| index as f64 * (share + GAP);
    let headings =
        panels.iter().map(|panel| heading_height(picture.format, share - 8.0, &panel.heading));
    let headings = headings.fold(0.0, f64::max);
    for (index, panel) in panels.iter().enumerate() {
        heading(picture, [left(index) + 4.0, top], share - 8.0, &panel.heading);
    }
    let mut top = top + headings + 10.0;
    let height = picture.format.height(HEIGHT);
    for measure in 0..MEASURES.len() {
        // The same for panels side by side, so that their axes stand at one height.
        let beyond = panels.iter().map(|panel| panel.views[measure].beyond.len()).max();
        let beyond = LINE * beyond.unwrap_or(0) as f64;
        for (index, panel) in panels.iter().enumerate() {
            let gutters = panel.views.iter().map(|view| {
                let scale = view.scale([height, 0.0]);
                Axes::gutter(picture.format, &scale, view.measure.name, height)
            });
            let gutter = gutters.fold(0.0, f64::max);
            let axes =
                Axes { left: left(index) + gutter, top, width: share - gutter - 4.0, height };
            panel.views[measure].draw(picture, &axes, beyond, panel);
        }
        top += height + beyond + BELOW + 14.0;
    }
    top - 8.0
}

#[derive(Clone, Copy)]
struct Measure {
    name: &'static str,
    value: fn(&Metrics) -> f64,
    shown: Shown,
}

const MEASURES: [Measure; 3] = [
    Measure { name: "mean quality", value: |m| m.quality, shown: Shown::Focused },
    Measure { name: "mean tardiness (s)", value: |m| m.tardiness, shown: Shown::Spreading },
    Measure { name: "reward per request", value: |m| m.reward, shown: Shown::Focused },
];

/// One measure of one panel.
struct View {
    measure: Measure,
    /// By policy: the value of what is swept, and what was found there.
    lines: Vec<(Style, Vec<(f64, Finding)>)>,
    /// All values of what is swept, in rising order.
    swept: Vec<f64>,
    range: [f64; 2],
    /// A line of values that lie below the range, each.
    beyond: Vec<Beyond>,
}

struct Beyond {
    style: Style,
    of: What,
    /// The value of what is swept, and the one beyond the axis.
    values: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Means,
    /// Of points whose mean is shown.
    LowestSeeds,
}

impl View {
    fn of(all: &[Series], measure: Measure, palette: &Palette, seed: u64) -> Self {
        let lines: Vec<(Style, Vec<(f64, Finding)>)> = (policies(all).into_iter())
            .map(|policy| {
                let points = all.iter().filter(|series| series.policy == policy);
                let point = |s: &Series| (s.x.unwrap_or(0.0), s.mean(measure.value, seed));
                let mut points: Vec<_> = points.map(point).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                (palette.style(policy), points)
            })
            .collect();
        let points = || lines.iter().flat_map(|(_, points)| points);
        let mut swept: Vec<f64> = points().map(|(x, _)| *x).collect();
        swept.sort_by(f64::total_cmp);
        swept.dedup();
        let ends = || points().flat_map(|(_, finding)| finding.range());
        let range = match measure.shown {
            Shown::Spreading => [0.0, with_room([0.0, ends().fold(0.0, f64::max)])[1]],
            Shown::Focused => {
                let at = |x: f64| points().filter(move |point| point.0 == x);
                let groups: Vec<Vec<f64>> = (swept.iter())
                    .map(|&x| at(x).map(|(_, finding)| finding.estimate.mean).collect())
                    .collect();
                with_room(widened(focus(&groups), ends()))
            }
        };
        let mut view = Self { measure, lines, swept, range, beyond: Vec::new() };
        view.beyond = view.beyond();
        view
    }

    fn beyond(&self) -> Vec<Beyond> {
        let low = self.range[0];
        let mut all = Vec::new();
        for (style, points) in &self.lines {
            let means = points.iter().map(|(x, finding)| (*x, finding.estimate.mean));
            let seeds = points.iter().filter(|(_, finding)| finding.estimate.mean >= low);
            let seeds = seeds.filter_map(|(x, finding)| Some((*x, finding.seeds?[0])));
            for (of, values) in
                [(What::Means, means.collect::<Vec<_>>()), (What::LowestSeeds, seeds.collect())]
            {
                let values: Vec<_> = values.into_iter().filter(|(_, value)| *value < low).collect();
                if !values.is_empty() {
                    all.push(Beyond { style: *style, of, values });
                }
            }
        }
        all
    }

    fn scale(&self, positions: [f64; 2]) -> Scale {
        self.measure.shown.scale(self.range, positions)
    }

    /// Draws the panel, above so much room for what lies beyond its axis.
    fn draw(&self, picture: &mut Picture, axes: &Axes, beyond: f64, panel: &Panel<'_>) {
        if self.swept.is_empty() {
            return;
        }
        let y = self.scale(axes.upwards());
        let inset = (0.09 * axes.width).clamp(8.0, 26.0);
        let x = Scale::through(&self.swept, [axes.left + inset, axes.right() - inset]);
        let whole = Axes { height: axes.height + beyond, ..*axes };
        let called = |&value: &f64| {
            let point = panel.points.iter().find(|point| point.x == Some(value));
            (value, point.map_or_else(|| plain(value), |point| point.label.clone()))
        };
        let ticks: Vec<_> = self.swept.iter().map(called).collect();
        whole.draw_x_at(picture, &x, ticks, panel.axis);
        axes.draw_y(picture, &y, self.measure.name);
        self.bands(picture, axes, &x, &y);
        let room = inset.min(0.45 * self.narrowest(&x)) - 2.0;
        let points = self.dodged(&x, &y, axes, room);
        let lines: Vec<Vec<Vec<Point>>> =
            points.iter().map(|line| trimmed_line(line, axes.inside())).collect();
        for ((style, _), pieces) in self.lines.iter().zip(woven(&lines)) {
            for piece in pieces {
                picture.polyline(&style.curve(), &piece);
            }
        }
        for ((style, findings), line) in self.lines.iter().zip(&points) {
            for ((_, finding), point) in findings.iter().zip(line) {
                if finding.estimate.mean < self.range[0] {
                    continue;
                }
                if let Some(ends) = finding.estimate.ci95 {
                    let ends = ends.map(|end| [point[0], y.clamped(end)]);
                    picture.line(&format!("interval {}", style.colour), ends[0], ends[1]);
                }
                style.draw(picture, *point, 3.4, "");
            }
        }
        self.draw_beyond(picture, axes, &x);
    }

    /// From the lowest to the highest training seed.
    fn bands(&self, picture: &mut Picture, axes: &Axes, x: &Scale, y: &Scale) {
        for (style, points) in &self.lines {
            let edge = |end: usize| {
                points.iter().filter_map(move |(at, finding)| {
                    finding.seeds.map(|seeds| [x.at(*at), y.at(seeds[end])])
                })
            };
            let outline: Vec<_> = edge(0).chain(edge(1).rev()).collect();
            let outline = trimmed_polygon(&outline, axes.inside());
            if !outline.is_empty() {
                picture.polygon(&format!("band {}", style.colour), &outline);
            }
        }
    }

    /// The least distance of two swept values, in pixels.
    fn narrowest(&self, x: &Scale) -> f64 {
        let gaps = self.swept.windows(2).map(|pair| x.at(pair[1]) - x.at(pair[0]));
        gaps.fold(f64::INFINITY, f64::min)
    }

    /// The points of each line. Those that would hide one another stand side by side, no further
    /// from their place than there is room.
    fn dodged(&self, x: &Scale, y: &Scale, axes: &Axes, room: f64) -> Vec<Vec<Point>> {
        let mut points: Vec<Vec<Point>> = (self.lines.iter())
            .map(|(_, points)| {
                points.iter().map(|(at, f)| [x.at(*at), y.at(f.estimate.mean)]).collect()
            })
            .collect();
        for &at in &self.swept {
            let mut here: Vec<(usize, usize)> = Vec::new();
            for (line, (_, findings)) in self.lines.iter().enumerate() {
                let index = findings.iter().position(|(x, _)| *x == at);
                here.extend(index.map(|index| (line, index)));
            }
            here.retain(|&(line, index)| points[line][index][1] <= axes.bottom());
            here.sort_by(|a, b| points[a.0][a.1][1].total_cmp(&points[b.0][b.1][1]));
            let heights: Vec<f64> = here.iter().map(|&(l, i)| points[l][i][1]).collect();
            let mut from = 0;
            for end in 1..=here.len() {
                if end < here.len() && heights[end] - heights[end - 1] < 6.5 {
                    continue;
                }
                let mut group = here[from..end].to_vec();
                // In the order of the legend.
                group.sort_unstable();
                let middle = (group.len() - 1) as f64 / 2.0;
                let step = if middle > 0.0 { (room / middle).clamp(0.0, 7.0) } else { 0.0 };
                for (place, (line, index)) in group.into_iter().enumerate() {
                    points[line][index][0] += step * (place as f64 - middle);
                }
                from = end;
            }
        }
        points
    }

    /// Values beyond the axis, a line for each policy, below the panel.
    fn draw_beyond(&self, picture: &mut Picture, axes: &Axes, x: &Scale) {
        for (index, Beyond { style, of, values }) in self.beyond.iter().enumerate() {
            let y = axes.bottom() + LINE * (index as f64 + 0.5) + 1.0;
            style.draw(picture, [axes.left - 8.0, y], 3.0, "");
            if *of == What::LowestSeeds {
                picture.text("note", [axes.left - 14.0, y + 3.4], Anchor::End, "seed");
            }
            let mut last = f64::NEG_INFINITY;
            for (at, value) in values {
                let text = brief(*value);
                let width = 9.0 + picture.text_width("note", &text);
                let left = (x.at(*at) - width / 2.0)
                    .clamp(axes.left + 2.0, (axes.right() - width - 1.0).max(axes.left + 2.0));
                // Where values stand too close, the arrow alone is left.
                let alone = left < last + 4.0;
                let tip = if alone { x.at(*at) } else { left + 3.4 };
                arrow(picture, style.colour, [tip, y + 3.5], Towards::Down);
                if !alone {
                    picture.text("note", [left + 9.0, y + 3.6], Anchor::Start, &text);
                    last = left + width;
                }
            }
        }
    }
}
