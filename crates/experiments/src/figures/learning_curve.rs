//! Reward over training episodes: a mean, a band over seeds, and the levels of the other policies.

use super::Drawing;
use super::axes::{Axes, BELOW, heading};
use super::focus::{focus, with_room};
use super::legend::{Entry, legend};
use super::picture::{Picture, Point};
use super::scale::{Scale, label, rounded_down};
use super::style::{Palette, Style};
use super::weave::woven;
use crate::results::{CurveRow, InstanceRow};
use crate::statistics::{Finding, policies, series};

/// Episodes that are averaged for one point of the curve, where there are so many before it.
pub(crate) const WINDOW: usize = 50;
const REWARD: &str = "reward per request";
const HEIGHT: f64 = 260.0;
/// Room at the right for marks, and for names and levels behind them.
const MARKS: f64 = 30.0;

/// One panel below the other, each with its own range of rewards.
pub(crate) fn learning_curve(
    drawing: &Drawing<'_>,
    rows: &[InstanceRow],
    curves: &[CurveRow],
) -> Picture {
    let format = drawing.format;
    let mut picture = Picture::new(format, drawing.title);
    let mut names: Vec<String> = Vec::new();
    for panel in &drawing.study.file.panels {
        let all = series(rows, &panel.name);
        names.extend(policies(&all).into_iter().map(str::to_owned));
    }
    let mut unique: Vec<&str> = Vec::new();
    for name in &names {
        if !unique.contains(&name.as_str()) {
            unique.push(name);
        }
    }
    let palette = Palette::of(&unique);
    let mut top = 6.0;
    for (index, panel) in drawing.panels.iter().enumerate() {
        let bands: Vec<_> = (drawing.study.file.learned.iter())
            .map(|learned| Band::of(&learned.name, curves, &panel.name))
            .filter(|band| !band.points.is_empty())
            .collect();
        let levels: Vec<Level> = (series(rows, &panel.name).into_iter())
            .filter(|series| bands.iter().all(|band| band.policy != series.policy))
            .map(|series| Level {
                reward: series.mean(|m| m.reward, drawing.study.file.seed),
                policy: series.policy,
            })
            .collect();
        let view = View { levels, bands, palette: &palette };
        top += heading(&mut picture, [4.0, top], format.width - 8.0, &drawing.heading(index));
        top = view.draw(&mut picture, top + 6.0) + 14.0;
    }
    picture.height = top - 6.0;
    picture
}

/// A policy that does not learn.
struct Level {
    policy: String,
    reward: Finding,
}

/// The smoothed curves of one policy's seeds, point by point.
struct Band {
    policy: String,
    /// Episodes done, and the lowest, mean and highest seed.
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
                trailing(&curve.collect::<Vec<_>>(), WINDOW)
            })
            .collect();
        let length = curves.iter().map(Vec::len).min().unwrap_or(0);
        // More points than the figure has pixels only make the file larger; at the beginning, where
        // the curve is steep, none is left out.
        let step = (length / 600).max(1);
        let shown = (0..length).filter(|index| *index < WINDOW || index % step == 0);
        let points = shown.map(|index| {
            let values = curves.iter().map(|curve| curve[index]);
            let [low, high] = values
                .clone()
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
            let mean = values.sum::<f64>() / curves.len() as f64;
            ((index + 1) as f64, [low, mean, high])
        });
        Self { policy: policy.into(), points: points.collect() }
    }

    fn last(&self) -> (f64, f64) {
        let (episode, [_, mean, _]) = self.points[self.points.len() - 1];
        (episode, mean)
    }
}

/// Means of the last `window` values up to each, or of as many as there are.
fn trailing(values: &[f64], window: usize) -> Vec<f64> {
    let mean = |index: usize| {
        let part = &values[(index + 1).saturating_sub(window)..=index];
        part.iter().sum::<f64>() / part.len() as f64
    };
    (0..values.len()).map(mean).collect()
}

struct View<'a> {
    levels: Vec<Level>,
    bands: Vec<Band>,
    palette: &'a Palette,
}

impl View<'_> {
    /// Draws the panel, and returns the height below it.
    fn draw(&self, picture: &mut Picture, mut top: f64) -> f64 {
        let format = picture.format;
        let mut ends = self.ends();
        let texts = ends.iter().map(|(_, _, text)| picture.text_width("key", text));
        let mut right = MARKS + texts.fold(0.0, f64::max) + 2.0;
        if !format.is_wide() {
            // In a column names find no room at the ends of their curves.
            let entries: Vec<_> = (ends.iter_mut())
                .map(|(_, style, text)| Entry::Policy(*style, std::mem::take(text)))
                .collect();
            top += legend(picture, [4.0, top], format.width - 8.0, &entries) + 8.0;
            right = MARKS;
        }
        let height = format.height(HEIGHT);
        let y = self.scale([top + height, top]);
        let left = Axes::gutter(format, &y, REWARD, height);
        let axes = Axes { left, top, width: format.width - left - right, height };
        let episodes = self.bands.iter().map(|band| band.last().0).fold(1.0, f64::max);
        let x = Scale::linear([0.0, episodes], axes.across());
        axes.draw_x(picture, &x, "training episode");
        axes.draw_y(picture, &y, REWARD);
        self.curves(picture, &axes, &x, &y);
        let ends: Vec<_> =
            ends.into_iter().map(|(value, style, text)| (y.at(value), style, text)).collect();
        axes.labels(picture, &ends);
        axes.bottom() + BELOW
    }

    /// Where each line ends, and what is said there.
    fn ends(&self) -> Vec<(f64, Style, String)> {
        let levels = self.levels.iter().map(|level| (&level.policy, level.reward.estimate.mean));
        let bands = self.bands.iter().map(|band| (&band.policy, band.last().1));
        let mut all: Vec<_> = (levels.chain(bands))
            .map(|(policy, value)| {
                (value, self.palette.style(policy), format!("{policy}  {}", label(value, 1)))
            })
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all
    }

    /// Linear where the best differ, logarithmic below, so that the first episodes are seen too.
    fn scale(&self, positions: [f64; 2]) -> Scale {
        let ends: Vec<f64> = self.ends().iter().map(|end| end.0).collect();
        let [joint, best] = with_room(focus(&[ends]));
        let joint = rounded_down(joint, best - joint);
        let levels = self.levels.iter().flat_map(|level| level.reward.range());
        let bands = self.bands.iter().flat_map(|band| band.points.iter().flat_map(|p| p.1));
        let [low, high] = (levels.chain(bands))
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
        let room = 0.04 * (high - joint).max(1e-6);
        Scale::tailed([low - 0.02 * (joint - low).max(0.0) - room, high + room], joint, positions)
    }

    fn curves(&self, picture: &mut Picture, axes: &Axes, x: &Scale, y: &Scale) {
        for level in &self.levels {
            let [low, high] = level.reward.estimate.ci95.unwrap_or_default().map(|end| y.at(end));
            if level.reward.estimate.ci95.is_some() {
                let (left, right) = (axes.left, axes.right());
                let corners = [[left, low], [right, low], [right, high], [left, high]];
                let colour = self.palette.style(&level.policy).colour;
                picture.polygon(&format!("band {colour}"), &corners);
            }
        }
        for band in &self.bands {
            let edge = |which: usize| {
                band.points.iter().map(move |(episode, r)| [x.at(*episode), y.at(r[which])])
            };
            let outline: Vec<_> = edge(0).chain(edge(2).rev()).collect();
            let colour = self.palette.style(&band.policy).colour;
            picture.polygon(&format!("band {colour}"), &outline);
        }
        let levels = self.levels.iter().map(|level| {
            let height = y.at(level.reward.estimate.mean);
            vec![vec![[axes.left, height], [axes.right(), height]]]
        });
        let bands = self.bands.iter().map(|band| {
            let points: Vec<Point> =
                band.points.iter().map(|(e, [_, mean, _])| [x.at(*e), y.at(*mean)]).collect();
            vec![points]
        });
        let names = self.levels.iter().map(|level| (&level.policy, "level"));
        let names = names.chain(self.bands.iter().map(|band| (&band.policy, "curve")));
        let lines: Vec<Vec<Vec<Point>>> = levels.chain(bands).collect();
        for ((policy, class), pieces) in names.zip(woven(&lines)) {
            let colour = self.palette.style(policy).colour;
            for piece in pieces {
                picture.polyline(&format!("{class} {colour}"), &piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_begins_with_its_first_episode() {
        assert_eq!(trailing(&[8.0, 4.0, 0.0, 2.0], 3), [8.0, 6.0, 4.0, 2.0]);
        assert_eq!(trailing(&[], 3), [0.0; 0]);
    }
}
