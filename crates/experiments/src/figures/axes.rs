//! A panel with its axes, and labels at the ends of its curves.

use super::format::Format;
use super::picture::{Anchor, Picture};
use super::scale::Scale;
use super::style::Style;

/// The rectangle of a panel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axes {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Below a panel: ticks and the name of its axis.
pub(crate) const BELOW: f64 = 42.0;
/// Between lines of a heading.
const HEADING: f64 = 16.0;
/// Between lines of the name of a vertical axis.
const NAME: f64 = 13.0;
/// Between ticks of a vertical axis.
const TICK_GAP: f64 = 30.0;

impl Axes {
    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Positions of a horizontal scale.
    pub(crate) fn across(&self) -> [f64; 2] {
        [self.left, self.right()]
    }

    /// Positions of a vertical scale.
    pub(crate) fn upwards(&self) -> [f64; 2] {
        [self.bottom(), self.top]
    }

    /// The heights between which shapes stay.
    pub(crate) fn inside(&self) -> [f64; 2] {
        [self.top, self.bottom()]
    }

    /// The horizontal axis with round values.
    pub(crate) fn draw_x(&self, picture: &mut Picture, scale: &Scale, name: &str) {
        // Labels are apart, whatever their length.
        let mut gap = 34.0;
        let ticks = loop {
            let ticks = scale.ticks(gap);
            let widths = ticks.iter().map(|(_, label)| picture.text_width("tick", label));
            let needed = widths.fold(0.0, f64::max) + 10.0;
            if needed <= gap {
                break ticks;
            }
            gap = needed;
        };
        self.mark_x(picture, scale, &ticks, name);
    }

    /// The horizontal axis with these values alone.
    pub(crate) fn draw_x_at(
        &self,
        picture: &mut Picture,
        scale: &Scale,
        values: Vec<(f64, String)>,
        name: &str,
    ) {
        let mut last = f64::NEG_INFINITY;
        let labelled = |(value, label): (f64, String)| {
            let half = picture.text_width("tick", &label) / 2.0;
            if scale.at(value) - half < last + 6.0 {
                return (value, String::new());
            }
            last = scale.at(value) + half;
            (value, label)
        };
        let ticks: Vec<_> = values.into_iter().map(labelled).collect();
        self.mark_x(picture, scale, &ticks, name);
    }

    fn mark_x(&self, picture: &mut Picture, scale: &Scale, ticks: &[(f64, String)], name: &str) {
        let bottom = self.bottom();
        for (value, label) in ticks {
            let x = scale.at(*value);
            picture.line("grid", [x, self.top], [x, bottom]);
            picture.line("axis", [x, bottom], [x, bottom + 4.0]);
            if !label.is_empty() {
                // The last label may be wider than what is left of the sheet.
                let half = picture.text_width("tick", label) / 2.0;
                let x = x.min(picture.format.width - half - 1.0);
                picture.text("tick", [x, bottom + 16.0], Anchor::Middle, label);
            }
        }
        picture.line("axis", [self.left, bottom], [self.right(), bottom]);
        let name = format!("{name}{}", scale.remark());
        // A long name may reach beyond a narrow panel, but never over the edge.
        let half = picture.text_width("name", &name) / 2.0;
        let middle = (self.left + self.width / 2.0).min(picture.format.width - half - 1.0);
        picture.text("name", [middle, bottom + 32.0], Anchor::Middle, &name);
    }

    /// The room that ticks and name of a vertical axis of this height take.
    pub(crate) fn gutter(format: Format, scale: &Scale, name: &str, height: f64) -> f64 {
        let lines = upright(format, scale, name, height).len() - 1;
        let ticks = scale.ticks(TICK_GAP);
        let widths = ticks.iter().map(|(_, label)| format.text_width("tick", label));
        widths.fold(0.0, f64::max) + 26.0 + NAME * lines as f64
    }

    pub(crate) fn draw_y(&self, picture: &mut Picture, scale: &Scale, name: &str) {
        let ticks = scale.ticks(TICK_GAP);
        for (value, label) in &ticks {
            let y = scale.at(*value);
            picture.line("grid", [self.left, y], [self.right(), y]);
            picture.line("axis", [self.left - 4.0, y], [self.left, y]);
            picture.text("tick", [self.left - 7.0, y + 3.8], Anchor::End, label);
        }
        if let Some(joint) = scale.joint() {
            picture.line("zero", [self.left, scale.at(joint)], [self.right(), scale.at(joint)]);
        }
        picture.line("axis", [self.left, self.top], [self.left, self.bottom()]);
        let first = self.left - Self::gutter(picture.format, scale, name, self.height) + 10.0;
        let middle = self.top + self.height / 2.0;
        let lines = upright(picture.format, scale, name, self.height);
        for (index, line) in lines.iter().enumerate() {
            picture.upward_text("name", [first + NAME * index as f64, middle], line);
        }
    }

    /// Names what ends at these heights at the right edge, moved apart where they would overlap.
    pub(crate) fn labels(&self, picture: &mut Picture, ends: &[(f64, Style, String)]) {
        const GAP: f64 = 14.0;
        let mut ends: Vec<_> = ends.to_vec();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<_> = ends.iter().map(|end| end.0).collect();
        let heights = apart(&wanted, GAP, [self.top + 4.0, self.bottom() - 2.0]);
        for ((end, style, text), height) in ends.into_iter().zip(heights) {
            let (edge, x) = (self.right(), self.right() + 20.0);
            let leader = format!("leader {}", style.colour);
            picture.polyline(
                &leader,
                &[[edge + 1.0, end], [edge + 5.0, end], [x - 8.0, height], [x - 6.0, height]],
            );
            style.draw(picture, [x, height], 3.6, "");
            if !text.is_empty() {
                picture.text("key", [x + 8.0, height + 4.0], Anchor::Start, &text);
            }
        }
    }
}

/// The name of a vertical axis, in as many lines as its height asks for.
fn upright(format: Format, scale: &Scale, name: &str, height: f64) -> Vec<String> {
    wrapped(format, "name", &format!("{name}{}", scale.remark()), height)
}

/// The title of a panel, in as many lines as it takes; returns their height.
pub(crate) fn heading(picture: &mut Picture, [x, y]: [f64; 2], width: f64, text: &str) -> f64 {
    let lines = wrapped(picture.format, "heading", text, width);
    for (index, line) in lines.iter().enumerate() {
        let y = y + 12.0 + HEADING * index as f64;
        picture.text("heading", [x, y], Anchor::Start, line);
    }
    HEADING * lines.len() as f64
}

/// The height of [`heading`].
pub(crate) fn heading_height(format: Format, width: f64, text: &str) -> f64 {
    HEADING * wrapped(format, "heading", text, width).len() as f64
}

/// Lines of whole words that are no wider than this, where words allow it.
fn wrapped(format: Format, class: &str, text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if format.text_width(class, &format!("{line} {word}")) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
/// Positions at least `gap` apart and as near as can be to the sorted wanted ones, kept inside if
/// there is room.
fn apart(wanted: &[f64], gap: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    // Neighbours that would overlap form a block, which is centred on what its members want.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for &position in wanted {
        blocks.push((position, 1));
        while let [.., (before, n), (last, m)] = blocks[..]
            && last - before < gap * (n + m) as f64 / 2.0
        {
            blocks.pop();
            let merged = (before * n as f64 + last * m as f64) / (n + m) as f64;
            let end = blocks.len() - 1;
            blocks[end] = (merged, n + m);
        }
    }
    let mut positions: Vec<f64> = Vec::new();
    for (centre, count) in blocks {
        let first = centre - gap * (count - 1) as f64 / 2.0;
        positions.extend((0..count).map(|index| first + gap * index as f64));
    }
    let mut least = low;
    for position in &mut positions {
        *position = position.max(least);
        least = *position + gap;
    }
    let mut most = high;
    for position in positions.iter_mut().rev() {
        *position = position.min(most);
        most = *position - gap;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Generator, Purpose};

    #[test]
    fn labels_that_fit_stay_where_they_are() {
        assert_eq!(apart(&[10.0, 40.0], 15.0, [0.0, 100.0]), [10.0, 40.0]);
        assert_eq!(apart(&[20.0, 20.0], 10.0, [0.0, 100.0]), [15.0, 25.0]);
        assert_eq!(apart(&[0.0, 0.0, 0.0], 10.0, [0.0, 100.0]), [0.0, 10.0, 20.0]);
        assert_eq!(apart(&[], 10.0, [0.0, 100.0]), [0.0; 0]);
    }

    #[test]
    fn labels_never_overlap() {
        for case in 0..500 {
            let mut generator = Generator::new(11, Purpose::Search, case);
            let mut wanted: Vec<f64> =
                (0..generator.below(13)).map(|_| generator.between(-20.0, 220.0)).collect();
            wanted.sort_by(f64::total_cmp);
            let positions = apart(&wanted, 15.0, [0.0, 200.0]);
            for pair in positions.windows(2) {
                assert!(pair[1] - pair[0] >= 15.0 - 1e-9, "seed 11, case {case}: {positions:?}");
            }
            for position in &positions {
                assert!((-1e-9..200.1).contains(position), "seed 11, case {case}: {positions:?}");
            }
        }
    }
}
