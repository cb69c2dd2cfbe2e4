//! One legend for all panels of a figure.

use super::picture::{Anchor, Picture};
use super::style::Style;

/// A line of the legend, or a word in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A policy, and what is to be said of it.
    Policy(Style, String),
    /// What a bar through a mean is.
    Interval,
    /// What the band around a curve is.
    Range,
    /// What an arrow at the edge is.
    Arrow,
}

/// Between lines.
const LINE: f64 = 17.0;
/// A piece of a curve.
const SAMPLE: f64 = 22.0;

impl Entry {
    fn text(&self) -> &str {
        match self {
            Self::Policy(_, text) => text,
            Self::Interval => "95 % interval over instances",
            Self::Range => "lowest to highest training seed",
            Self::Arrow => "beyond the axis, with its value",
        }
    }

    fn draw(&self, picture: &mut Picture, [x, y]: [f64; 2]) {
        let middle = x + SAMPLE / 2.0;
        match self {
            Self::Policy(style, _) => {
                picture.line(&format!("{} sample", style.curve()), [x, y], [x + SAMPLE, y]);
                style.draw(picture, [middle, y], 3.6, "");
            }
            Self::Interval => {
                picture.line("interval p-ink sample", [middle, y - 6.0], [middle, y + 6.0]);
            }
            Self::Range => picture.rect("band p-ink sample", [x, y - 5.0], [SAMPLE, 10.0]),
            Self::Arrow => arrow(picture, "p-ink", [middle, y + 4.0], Towards::Down),
        }
    }
}

/// Draws the entries from a corner on, in lines no wider than this; returns their height.
pub(crate) fn legend(
    picture: &mut Picture,
    [x, y]: [f64; 2],
    width: f64,
    entries: &[Entry],
) -> f64 {
    let widths: Vec<f64> = (entries.iter())
        .map(|entry| SAMPLE + 6.0 + picture.text_width("key", entry.text()) + 16.0)
        .collect();
    let (mut at, mut line) = (0.0, 0.0);
    for (entry, own) in entries.iter().zip(&widths) {
        // The space behind the last one may hang over.
        if at > 0.0 && at + own - 16.0 > width {
            (at, line) = (0.0, line + 1.0);
        }
        let place = [x + at, y + LINE * (line + 0.5)];
        entry.draw(picture, place);
        let text = [place[0] + SAMPLE + 6.0, place[1] + 4.0];
        picture.text("key", text, Anchor::Start, entry.text());
        at += own;
    }
    if entries.is_empty() { 0.0 } else { LINE * (line + 1.0) }
}

/// Where an arrow points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    Down,
    Left,
}

/// A small arrow with its tip at the point.
pub(crate) fn arrow(picture: &mut Picture, colour: &str, [x, y]: [f64; 2], towards: Towards) {
    let (long, wide) = (7.0, 3.4);
    let points = match towards {
        Towards::Down => [[x, y], [x - wide, y - long], [x + wide, y - long]],
        Towards::Left => [[x, y], [x + long, y - wide], [x + long, y + wide]],
    };
    picture.polygon(&format!("{colour} arrow"), &points);
}
